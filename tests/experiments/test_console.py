"""Lines after the reader has gone, and sentences about files."""

import io
import logging
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from experiments.console import Formatter, exit_on_mistake, no_access, say
from experiments.progress import Terminal
from slicing.errors import InputError

THREADS = """
from experiments.console import exit_on_mistake

with exit_on_mistake():
    from experiments.environment import set_threads

    set_threads(None)
"""


PRINTS = """
import sys
from experiments.console import exit_on_mistake
from slicing.errors import InputError

with exit_on_mistake():
    print("a result")
    if sys.argv[1] == "stderr":
        raise InputError("k=0 is out of range.")
"""


def test_a_line(capsys):
    say("one")
    assert capsys.readouterr().err == "one\n"


CONTROLS = "\x1b\x07\r\b\x9b\u202e\u2066\udcff\x00\x7f\u2028"


@given(st.text(st.characters() | st.sampled_from(CONTROLS)))
@example("\x1b[2J\x1b]0;title\x07\x9b31m\u202egpj.exe")
def test_nothing_printed_reaches_the_terminal_as_a_command(name):
    for encoding in ("utf-8", "ascii"):
        shown = io.TextIOWrapper(io.BytesIO(), encoding, newline="")
        say(name, shown)
        text = shown.buffer.getvalue().decode(encoding)
        assert not set(text) & set(CONTROLS)
        assert text.count("\n") == name.count("\n") + 1


def test_names_in_any_language_stay(capsys):
    say("née 日本 🧑\u200d🔬 \t|")
    Terminal(sys.stderr).say("kittens\x1b[31m")
    log = logging.makeLogRecord({"msg": "class %s", "args": ("\x1b[31mcat",)})
    assert Formatter().format(log) == "class \\u001b[31mcat"
    assert capsys.readouterr().err == "née 日本 🧑\u200d🔬 \t|\nkittens\\u001b[31m\n"


def show(text, stream):
    terminal = Terminal(stream)
    with terminal.task(text):
        terminal.show(0.5, text)


@pytest.mark.parametrize("tell", [say, lambda text, stream: Terminal(stream).say(text), show])
def test_whoever_read_it_has_gone(tell):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream, Path(os.devnull).open() as nobody:
        tell("nobody hears", stream)
        tell("nor this", stream)
        assert os.path.sameopenfile(stream.fileno(), nobody.fileno())
        # Nor is there anything left for closing it to fail at.


@pytest.mark.parametrize(
    ("error", "more", "code", "line"),
    [
        (InputError("k=0 is out of range.", "k"), None, 2, "k=0 is out of range.\n"),
        (FileNotFoundError(2, "No such file", "a.png"), None, 2,
         "a.png cannot be read or written: No such file.\n"),
        (KeyboardInterrupt(), None, 130, "Interrupted.\n"),
        (KeyboardInterrupt("Interrupted. Go on."), None, 130, "Interrupted. Go on.\n"),
        (KeyboardInterrupt(), {KeyboardInterrupt: lambda error: "Go on."}, 130, "Go on.\n"),
        (ZeroDivisionError("x"), {ArithmeticError: str}, 2, "x\n"),
    ],
)  # fmt: skip
def test_a_mistake_ends_a_program_with_one_sentence(error, more, code, line, capsys):
    @exit_on_mistake(more)
    def program():
        raise error

    with pytest.raises(SystemExit) as end:
        program()
    assert end.value.code == code
    assert capsys.readouterr().err == line


def test_what_nobody_can_mend_is_raised():
    with pytest.raises(ZeroDivisionError), exit_on_mistake():
        raise ZeroDivisionError
    with pytest.raises(RuntimeError), exit_on_mistake({RuntimeError: lambda error: None}):
        raise RuntimeError


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("NUMBA_THREADING_LAYER", "tbb", "Intel TBB is required"),
        ("NUMBA_THREADING_LAYER", "nonsense", "'nonsense' is unknown to Numba"),
        ("NUMBA_THREADING_LAYER_PRIORITY", "x", "must be a permutation of"),
        ("NUMBA_NUM_THREADS", "0", "must be > 0"),
    ],
)
def test_threads_that_numba_cannot_start(variable, value, reason):
    found = subprocess.run(
        [sys.executable, "-c", THREADS],
        capture_output=True, text=True, env=os.environ | {variable: value},
    )  # fmt: skip
    if value == "tbb" and find_spec("tbb") and not found.returncode:
        pytest.skip("TBB is installed")
    assert found.returncode == 2
    assert found.stderr.startswith("Numba cannot start its threads (")
    assert reason in found.stderr
    assert found.stderr.endswith(f": unset or correct {variable}.\n")
    assert found.stderr.count("\n") == 1


def test_the_file_and_the_reason_are_named():
    with pytest.raises(OSError, match="No such file") as raised:
        Path("/nowhere/kernels.npz").read_bytes()
    assert no_access(raised.value) == (
        "/nowhere/kernels.npz cannot be read or written: No such file or directory."
    )
    assert no_access(OSError("odd")) == "A file cannot be read or written: odd."


FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


def fill(write):
    with pytest.raises(OSError, match="No space") as raised:
        write()
    return no_access(raised.value)


@needs_full
def test_a_full_disk_is_one_sentence_that_names_the_file(tmp_path):
    (tmp_path / "given").write_bytes(b"x" * 100_000)
    (tmp_path / "taken").symlink_to(FULL)
    said = "/dev/full cannot be read or written: No space left on device."
    taken = said.replace(str(FULL), str(tmp_path / "taken"))
    assert fill(lambda: FULL.write_text("kernels")) == said
    assert fill(lambda: shutil.copy(tmp_path / "given", tmp_path / "taken")) == taken
    with (tmp_path / "given").open("rb") as source:
        assert fill(lambda: copy_to(source, tmp_path / "taken")) == taken


def copy_to(source, path):
    with path.open("wb") as target:
        shutil.copyfileobj(source, target)


@needs_full
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_where_nothing_can_be_said_the_exit_code_still_tells(stream):
    """Of what was printed without being flushed, too."""
    with FULL.open("w") as full:
        found = subprocess.run(
            [sys.executable, "-c", PRINTS, stream],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}, text=True,
            env=os.environ | {"PYTHONUNBUFFERED": ""},
        )  # fmt: skip
    assert found.returncode == 2
    if stream == "stdout":
        assert found.stderr == (
            "standard output cannot be read or written: No space left on device.\n"
        )


ENDS = """
import atexit, gc
atexit.register(lambda: print(gc.get_freeze_count() > 1000))
from experiments.console import exit_on_mistake
with exit_on_mistake():
    pass
"""


def test_an_end_looks_through_nothing_that_it_frees_anyway():
    found = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True)
    assert found.stdout == "True\n"
