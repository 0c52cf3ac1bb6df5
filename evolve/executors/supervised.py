"""Work that is done in a process of its own, which may die, hang or take too much memory.

``Supervised(work)`` is the work of any executor: it hands each task to its child process, and
watches it. The child stays from one task to the next, so that what it has imported and read serves
the next; a child that has ended is replaced.
"""

import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Seconds between two looks at the child.
_LOOK = 0.1
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Fallen:
    """What is known of a task that its process did not survive.

    Attributes
    ----------
    kind : {"memory", "time", "killed"}
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
        Gives the result of a task that its process did not survive, from a :class:`Fallen`.
    seconds : callable
        Gives the time that a task may take; None: any.
    max_bytes : int or None
        Memory that the process may take, where the system tells it (Linux).
    """

    def __init__(
        self,
        work: Callable[[T], R],
        fallen: Callable[[Fallen], R],
        seconds: Callable[[T], float | None] = lambda task: None,
        max_bytes: int | None = None,
    ) -> None:
        self._work, self._fallen, self._seconds = work, fallen, seconds
        self._max_bytes = max_bytes
        self._child: _Child | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_child": None}

    def __call__(self, task: T) -> R:
        """Do a task.

        Raises
        ------
        KeyboardInterrupt
            The process is then ended.
        """
        if self._child is None:
            self._child = _Child(self._work)
        child, limit = self._child, self._seconds(task)
        start = time.monotonic()
        try:
            child.send(task)
            while not child.connection.poll(_LOOK):
                if limit is not None and time.monotonic() - start > limit:
                    return self._ended(Fallen("time", f"It took more than {limit:.0f} s."))
                used = child.memory()
                if self._max_bytes is not None and used > self._max_bytes:
                    reason = f"It took more than {self._max_bytes / 1e9:.1f} GB of memory."
                    return self._ended(Fallen("memory", reason))
            result: R = child.connection.recv()
        except (EOFError, OSError):
            code = child.end()
            self._child = None
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            what = "Its process ended"
            more = ", perhaps for want of memory" if code == -9 else ""
            return self._fallen(Fallen("killed", f"{what} {how}{more}."))
        except BaseException:
            self.close()
            raise
        return result

    def _ended(self, fallen: Fallen) -> R:
        self.close()
        return self._fallen(fallen)

    def close(self) -> None:
        """End the process, if there is one."""
        if self._child is not None:
            self._child.end()
            self._child = None


class _Child:
    """A process that does tasks, and this end of the pipe to it."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self.connection, theirs = Pipe()
        # A fork would not survive numba and TensorFlow, and multiprocessing lets workers have no
        # processes. Signals of the terminal reach this process alone.
        self._process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        theirs.close()
        self.send(work)

    def send(self, message: object) -> None:
        # Whoever waits for the answer finds out that the process has died.
        with suppress(OSError):
            self.connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

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
    lock = threading.Lock()
    tasks: list[bytes] = []
    arrived = threading.Semaphore(0)

    def read() -> None:
        # Beside the work, so that this process ends with the one that started it.
        while True:
            try:
                message = connection.recv_bytes()
            except (EOFError, OSError):
                os._exit(1)
            with lock:
                tasks.append(message)
            arrived.release()

    threading.Thread(target=read, daemon=True).start()

    def received() -> Any:
        arrived.acquire()
        with lock:
            return pickle.loads(tasks.pop(0))

    work = received()
    while True:
        result = work(received())
        connection.send(result)
