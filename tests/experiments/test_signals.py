"""Ctrl-C, SIGTERM and SIGHUP before and after a program's work, and next to its own handlers."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from experiments import signals
from experiments.console import exit_on_mistake
from experiments.schema.docs import CONF
from slicing.errors import InputError

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
PROGRAMS = [
    "experiments.run", "experiments.predict", "experiments.export", "benchmarks.engine_size",
    "benchmarks.fitness_speed", "benchmarks.inference", "benchmarks.optimizers",
    "benchmarks.paper_tables",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_signal_before(monkeypatch):
    monkeypatch.setattr(signals, "_last", signal.SIGINT)


def program(folder, module, *arguments, before=()):
    """Start a program that finds the modules in a folder before all others."""
    return subprocess.run(
        [*before, sys.executable, "-m", module, *arguments],
        capture_output=True, text=True, cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{CONF.parent}"},
        preexec_fn=lambda: [signal.signal(number, signal.SIG_DFL) for number in NUMBERS],
    )  # fmt: skip


@pytest.mark.parametrize("module", PROGRAMS)
def test_a_signal_while_a_program_is_imported_is_one_sentence(module, tmp_path):
    number = NUMBERS[PROGRAMS.index(module) % 3]
    for name in ("hydra", "numpy", "omegaconf"):
        (tmp_path / f"{name}.py").write_text(f"import signal\nsignal.raise_signal({number:d})\n")
    found = program(tmp_path, module)
    assert (found.returncode, found.stdout, found.stderr) == (128 + number, "", "Interrupted.\n")


@pytest.mark.parametrize("module", ["experiments.run", "experiments.export"])
def test_a_signal_when_all_is_done_changes_nothing(module, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, signal\natexit.register(lambda: signal.raise_signal(signal.SIGINT))\n"
    )
    found = program(tmp_path, module, "--help")
    assert (found.returncode, found.stderr) == (0, "Interrupted when all was done.\n")
    assert "Usage: python -m" in found.stdout


def test_what_the_user_has_ignored_stays_ignored(tmp_path):
    (tmp_path / "hydra.py").write_text(
        "import os, signal\nsignal.raise_signal(signal.SIGHUP)\nprint('goes on')\nos._exit(5)\n"
    )
    found = program(tmp_path, "experiments.run", before=("nohup",))
    assert (found.returncode, found.stderr.replace("nohup: ignoring input\n", "")) == (5, "")


@contextmanager
def handler(number, given):
    before = signal.signal(number, given)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_is_heard_and_then_handled_as_before(number):
    default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    heard = []
    with handler(number, default):
        with signals.heard(lambda: heard.append("outer")):
            with signals.heard(lambda: heard.append("inner")):
                signal.raise_signal(number)
            signals._last = signal.SIGINT  # a second SIGHUP is that of the same terminal
            signal.raise_signal(number)
        assert heard == ["inner", "outer"]
        assert signals.exit_code() == 128 + number
        assert signal.getsignal(number) is default


def test_a_terminal_that_is_closed_says_so_twice():
    heard = []
    with handler(signal.SIGHUP, signal.SIG_DFL), signals.heard(lambda: heard.append("closed")):
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
    assert heard == ["closed"]


def test_handlers_of_others_are_left_alone():
    theirs, ours = [], []
    their_handler = handler(signal.SIGTERM, lambda *_: theirs.append(1))
    with their_handler, signals.heard(lambda: ours.append(1)):
        signal.raise_signal(signal.SIGTERM)
    assert (theirs, ours) == ([1], [])


def test_other_threads_hear_nothing():
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def listen():
        with signals.heard(lambda: None):
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_signal_waits_for_the_end_of_what_it_would_break():
    steps = []
    with handler(signal.SIGTERM, signal.SIG_DFL), signals.heard(lambda: steps.append("heard")):
        with signals.deferred():
            signal.raise_signal(signal.SIGTERM)
            steps.append("imported")
        steps.append("after")
        with signals.deferred():
            steps.append("nothing came")
    assert steps == ["imported", "heard", "after", "nothing came"]


def test_the_second_does_not_wait(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import signal\nfrom experiments import signals\n"
        "with signals.deferred():\n"
        "    for _ in range(2):\n        signal.raise_signal(signal.SIGTERM)\n"
        "print('never')\n"
    )
    found = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(CONF.parent)},
    )  # fmt: skip
    assert (found.returncode, found.stdout, found.stderr) == (143, "", "Interrupted.\n")


@pytest.mark.parametrize("error", [RecursionError("numpy"), InputError("No."), TypeError("None")])
def test_libraries_raise_other_errors_where_ctrl_c_comes_to_them(error, capsys):
    @exit_on_mistake()
    def program():
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise error from None

    with handler(signal.SIGTERM, signal.SIG_DFL), pytest.raises(SystemExit) as end:
        program()
    assert end.value.code == 143
    assert capsys.readouterr().err == "Interrupted.\n"
