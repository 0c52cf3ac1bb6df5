"""Workers in processes of this machine."""

import atexit
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

import numba
from threadpoolctl import threadpool_limits

from evolve.executors.base import MAX_DEATHS, Executor, R, T, too_many_deaths
from slicing.checks import at_least

_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class ProcessExecutor(Executor[T, R]):
    """Does tasks in spawned processes, each on one thread.

    A process that dies is replaced, and its task starts again. Each process imports the script
    that started it: a script keeps its own actions under ``if __name__ == "__main__":``.

    Parameters
    ----------
    workers : int, optional
        By default one for each thread that numba may use in this process: one a core.

    Raises
    ------
    InputError
        For fewer workers than one.
    """

    def __init__(self, workers: int | None = None) -> None:
        at_least("workers", workers, 1)
        self._wanted = workers or numba.get_num_threads()
        self._workers: list[_Worker] = []

    def start(self, work: Callable[[T], R], max_workers: int) -> None:
        """See :meth:`~evolve.executors.base.Executor.start`."""
        self.n_slots = min(self._wanted, max_workers)
        # Before the processes' own end, which would wait for workers that ignore SIGTERM.
        atexit.register(self.close)
        self._work = pickle.dumps(work, pickle.HIGHEST_PROTOCOL)
        self._workers = [_Worker() for _ in range(self.n_slots)]
        # Not before all have started: each takes a second or two until it listens.
        for worker in self._workers:
            worker.send(self._work)
        self._tasks: dict[int, bytes] = {}
        self._deaths = dict.fromkeys(range(self.n_slots), 0)

    def submit(self, slot: int, task: T) -> None:
        """See :meth:`~evolve.executors.base.Executor.submit`."""
        self._deaths[slot] = 0
        self.resubmit(slot, task)

    def resubmit(self, slot: int, task: T) -> None:
        """See :meth:`~evolve.executors.base.Executor.resubmit`."""
        self._tasks[slot] = pickle.dumps(task, pickle.HIGHEST_PROTOCOL)
        self._workers[slot].send(self._tasks[slot])

    def wait(self) -> tuple[int, R]:
        """See :meth:`~evolve.executors.base.Executor.wait`."""
        while True:
            ready = wait([self._workers[slot].connection for slot in self._tasks])
            slot = next(slot for slot in self._tasks if self._workers[slot].connection in ready)
            try:
                result = self._workers[slot].connection.recv()
            except (EOFError, OSError):
                self._replace(slot)
                continue
            if isinstance(result, BaseException):
                raise result
            del self._tasks[slot]
            return slot, result

    def _replace(self, slot: int) -> None:
        code = self._workers[slot].end()
        self._deaths[slot] += 1
        if self._deaths[slot] == MAX_DEATHS:
            raise too_many_deaths(f"exit code {code}")
        self._workers[slot] = _Worker()
        self._workers[slot].send(self._work)
        self._workers[slot].send(self._tasks[slot])

    def close(self) -> None:
        """See :meth:`~evolve.executors.base.Executor.close`."""
        for worker in self._workers:
            worker.end()
        self._workers = []
        atexit.unregister(self.close)


class _Worker:
    """A process and this end of the pipe to it."""

    def __init__(self) -> None:
        # TensorFlow and numba do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs,), daemon=True)
        # Ctrl-C, SIGHUP and SLURM's SIGTERM reach all processes, but only the one that started the
        # workers acts on them. They are blocked until the worker ignores them; the first start of
        # the resource tracker would unblock them.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        # So that the pipe ends when the process does.
        theirs.close()

    def send(self, message: bytes) -> None:
        # wait() finds out that the process has died.
        with suppress(OSError):
            self.connection.send_bytes(message)

    def end(self) -> int | None:
        """End the process; return its exit code."""
        self._process.kill()
        self._process.join()
        self.connection.close()
        return self._process.exitcode


def _portable(error: Exception) -> Exception:
    """Give an exception that can be sent, with its traceback as a note."""
    text = traceback.format_exc()
    try:
        error = pickle.loads(pickle.dumps(error))
    except Exception:  # an exception's own constructor may raise anything
        error = RuntimeError(repr(error))
    error.add_note(f"In a worker:\n{text}")
    return error


def _work(connection: "Connection[Any, Any]") -> None:
    """Do tasks until the pipe ends."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    numba.set_num_threads(1)
    threadpool_limits(1)
    try:
        work = pickle.loads(connection.recv_bytes())
        while True:
            task = pickle.loads(connection.recv_bytes())
            try:
                result = work(task)
            except Exception as error:  # wait() raises it
                result = _portable(error)
            connection.send(result)
    except (EOFError, OSError):
        return


def _end_with_parent() -> None:
    """End this process when the one that started it has: a task may take long."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
