"""Runs as processes that can be killed, and begun again two dozen times, without a new import."""

import os
import signal
import sys
import time
from multiprocessing import get_context

from experiments.run import main

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["experiments.pipeline", "mlflow.store.tracking.sqlalchemy_store"])


def _run(project, arguments):
    """Do what ``python -m experiments.run`` does, its output in files of the project."""
    os.chdir(project)
    for number in (1, 2):
        os.dup2(os.open(f"std{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["experiments.run", *arguments]
    main()


def begin(arguments, project):
    """Start an experiment in a process of its own."""
    process = _FORKS.Process(target=_run, args=(project, arguments))
    process.start()
    return process


def finish(process, project):
    """Let an experiment end; its exit code, None if it did not, and what it printed."""
    process.join(300)
    code = process.exitcode
    process.kill()
    process.join()
    return code, (project / "std2").read_text()


def kill(process, project, seconds):
    """Kill a process, so long after it has begun to evolve; tell whether it was still there."""
    said = project / "std2"
    deadline = time.monotonic() + 120
    while process.is_alive() and not (said.exists() and "evolving" in said.read_text()):
        time.sleep(0.01)
        if time.monotonic() > deadline:
            break
    time.sleep(seconds)
    process.kill()
    process.join()
    said.unlink()
    return process.exitcode == -signal.SIGKILL
