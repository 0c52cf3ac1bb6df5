"""Lines that nobody reads any more."""

import os
from pathlib import Path

import pytest

from experiments.console import say
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
