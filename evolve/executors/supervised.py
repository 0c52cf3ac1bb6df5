"""Work that is done in a process of its own, which may die, hang or take too much memory.

``Supervised(work)`` is the work of any executor: it hands each task to its child process, and
watches it. The child stays from one task to the next, so that what it has imported and read serves
the next; a child that has ended is replaced.
"""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from evolve.executors.base import MAX_DEATHS
from slicing.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

# Seconds between two looks at the child.
_WAIT = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Fallen:
    """What is known of a task without a result.

    Attributes
    ----------
    kind : {"failed", "memory", "time", "killed"}
        It raised an exception, took too much memory or time, or its process ended.
    reason : str
        A sentence.
    """

    kind: str
    reason: str


class Supervised(Generic[T, R]):
    """Does tasks in a process of its own.

    It can be pickled, without its process.

    Parameters
    ----------
    work : callable
        Gives a result for a task. It is pickled, as are both.
    fallen : callable
        Gives the result of a task that has none, from a :class:`Fallen`.
    seconds : callable or None
        Gives the time that a task may take, or None for any; None: all may take any.
    max_bytes : int or None
        Memory that the process may take, where the system tells it (Linux); None: any.
    log : Path or None
        File to which is added what the process prints; None: nobody reads it.

    Raises
    ------
    InputError
        When it is called, and its processes end before they can do anything.
    """

    def __init__(
        self,
        work: Callable[[T], R],
        fallen: Callable[[Fallen], R],
        seconds: Callable[[T], float | None] | None = None,
        max_bytes: int | None = None,
        log: Path | None = None,
    ) -> None:
        self._work, self._fallen, self._seconds = work, fallen, seconds
        self._max_bytes, self._log = max_bytes, log
        self._child: _Child | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_child": None}

    def __call__(self, task: T) -> R:
        """Do a task.

        Raises
        ------
        KeyboardInterrupt
            The process is then ended.
        InputError
        """
        limit = None if self._seconds is None else self._seconds(task)
        begun = time.monotonic()
        if self._child is not None and not self._child.is_alive():
            # It ended while it had nothing to do.
            self.close()
        try:
            for _ in range(MAX_DEATHS):
                if self._child is None:
                    self._child = _Child(self._work, self._log)
                came = self._answer(self._child, task, limit, begun)
                if came is not None:
                    break
                how = self._ended()
            else:
                raise _cannot_start(how, self._log)
        except BaseException:
            self.close()
            raise
        if isinstance(came, Fallen):
            if came.kind != "failed":
                self.close()
            return self._fallen(came)
        result: R = came[0]
        return result

    def _answer(
        self, child: "_Child", task: T, limit: float | None, begun: float
    ) -> "tuple[Any] | Fallen | None":
        """Give the result, alone in a tuple, or what happened; None: the child could not begin."""
        sent = False
        while True:
            if child.is_ready and not sent:
                child.send(task)
                sent = True
            try:
                answer: tuple[Any] | Fallen | None = None
                if child.connection.poll(_WAIT):
                    answer = child.connection.recv()
                    child.is_ready = True
            except (EOFError, OSError):
                return Fallen("killed", f"Its process ended {self._ended()}.") if sent else None
            if answer is not None:
                return answer
            if limit is not None and time.monotonic() - begun > limit:
                return Fallen("time", f"It took more than {limit:.0f} s.")
            if self._max_bytes is not None and child.memory() > self._max_bytes:
                reason = f"It took more than {self._max_bytes / 1e9:.1f} GB of memory."
                return Fallen("memory", reason)

    def _ended(self) -> str:
        """Say how the process has ended."""
        if self._child is None:
            return ""
        code = self._child.end()
        self._child = None
        if code >= 0:
            return f"with exit code {code}"
        more = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
        return f"by {signal.Signals(-code).name}{more}"

    def close(self) -> None:
        """End the process, if there is one."""
        self._ended()


def _cannot_start(how: str, log: Path | None) -> InputError:
    see = "" if log is None else f"{log} may say why; "
    return InputError(
        f"A process for the work ended {MAX_DEATHS} times before it could begin ({how}): {see}if "
        "memory ran out, give fewer workers."
    )


class _Child:
    """A process that does tasks, and this end of the pipe to it."""

    def __init__(self, work: Callable[[Any], Any], log: Path | None) -> None:
        self.connection, theirs = Pipe()
        self.is_ready = False
        paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        with open(os.devnull if log is None else log, "ab") as output:  # noqa: PTH123
            # A fork would not survive numba and TensorFlow, and multiprocessing lets workers have
            # no processes. Signals of the terminal reach this process alone.
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": paths},
            )
        theirs.close()
        self.send(work)

    def send(self, message: object) -> None:
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        # A process that has died is found out where its answer is waited for.
        with suppress(OSError):
            self.connection.send_bytes(data)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def memory(self) -> int:
        """Give the bytes of memory that the process takes; 0 where the system does not tell."""
        try:
            text = Path(f"/proc/{self._process.pid}/statm").read_text("ascii")
        except OSError:
            return 0
        _, resident, shared, *_ = text.split()
        return (int(resident) - int(shared)) * _PAGE

    def end(self) -> int:
        """End the process; return its exit code."""
        self._process.kill()
        code = self._process.wait()
        self.connection.close()
        return code


_PROGRAM = "import sys; from evolve.executors.supervised import main; main(int(sys.argv[1]))"


def main(descriptor: int) -> None:
    """Do tasks until the pipe ends: the program of the child."""
    connection: Connection[Any, Any] = Connection(descriptor)
    messages: SimpleQueue[bytes] = SimpleQueue()

    def read() -> None:
        # Beside the work, so that this process ends with the one that started it.
        while True:
            try:
                messages.put(connection.recv_bytes())
            except (EOFError, OSError):
                os._exit(1)

    Thread(target=read, daemon=True).start()
    work = pickle.loads(messages.get())
    connection.send(None)
    while True:
        try:
            answer: tuple[Any] | Fallen = (work(pickle.loads(messages.get())),)
            data = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
        except MemoryError:
            data = pickle.dumps(Fallen("memory", "There was not enough memory."))
        except Exception as error:  # the next task may succeed
            data = pickle.dumps(Fallen("failed", f"{type(error).__name__}: {error}"))
        connection.send_bytes(data)
