"""Lines that nobody reads any more, and sentences about files."""

import os
from pathlib import Path

import pytest

from experiments.console import no_access, say
from experiments.progress import Progress


def test_a_line(capsys):
    say("one")
    assert capsys.readouterr().err == "one\n"


def show(text, stream):
    progress = Progress(stream)
    with progress.task(text):
        progress.show(0.5, text)


@pytest.mark.parametrize("tell", [say, lambda text, stream: Progress(stream).say(text), show])
def test_whoever_read_it_has_gone(tell):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream, Path(os.devnull).open() as nobody:
        tell("nobody hears", stream)
        tell("nor this", stream)
        assert os.path.sameopenfile(stream.fileno(), nobody.fileno())
        # Nor is there anything left for closing it to fail at.


def test_the_file_and_the_reason_are_named():
    with pytest.raises(OSError, match="No such file") as raised:
        Path("/nowhere/kernels.npz").read_bytes()
    assert no_access(raised.value) == (
        "/nowhere/kernels.npz cannot be read or written: No such file or directory."
    )
    assert no_access(OSError("odd")) == "A file cannot be read or written: odd."


def test_a_full_disk_is_one_sentence():
    with pytest.raises(OSError, match="No space") as raised, Path("/dev/full").open("w") as disk:
        disk.write("kernels")
    assert no_access(raised.value) == ("A file cannot be read or written: No space left on device.")
