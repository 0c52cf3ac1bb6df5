"""Runs as processes that can be killed, and begun again many times, without a new import."""

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["benchmarks.run_modules"])


def _run(
    project: Path, said: Path, program: str, arguments: Sequence[str], prepare: Callable[[], None]
) -> None:
    """Do what ``python -m`` does with a program, its output in files of the folder ``said``."""
    os.chdir(project)
    for number in (1, 2):
        os.dup2(os.open(said / f"std{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    # What was started in the background ignores a closed terminal, and would hand that on.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.argv = [program, *arguments]
    prepare()
    import_module(program).main()


def _as_it_is() -> None:
    """Prepare nothing."""


def begin(
    arguments: Sequence[str],
    project: Path,
    said: Path | None = None,
    prepare: Callable[[], None] = _as_it_is,
    program: str = "experiments.run",
) -> ForkServerProcess:
    """Start an experiment in a process of its own, with ``project`` as its directory.

    What it prints goes into ``std1`` and ``std2`` of the folder ``said``, by default the project.
    Before it starts, the process calls ``prepare``, a function of a module.
    """
    process = _FORKS.Process(
        target=_run, args=(project, said or project, program, arguments, prepare)
    )
    process.start()
    return process


def finish(
    process: ForkServerProcess, said: Path, seconds: float = 300.0
) -> tuple[int | None, str]:
    """Let an experiment end; its exit code, None if it did not in time, and what it printed."""
    process.join(seconds)
    code = process.exitcode
    process.kill()
    process.join()
    errors = said / "std2"
    return code, errors.read_text(errors="replace") if errors.exists() else ""


def wait_for(process: ForkServerProcess, said: Path, word: str) -> None:
    """Wait until an experiment has printed a word, or has ended."""
    errors = said / "std2"
    deadline = time.monotonic() + 120
    while process.is_alive() and not (errors.exists() and word in errors.read_text()):
        time.sleep(0.01)
        if time.monotonic() > deadline:
            break


def kill(process: ForkServerProcess, said: Path, seconds: float) -> bool:
    """Kill an experiment after so many seconds; tell whether it was still there."""
    process.join(seconds)
    process.kill()
    process.join()
    (said / "std2").unlink(missing_ok=True)
    return process.exitcode == -signal.SIGKILL
