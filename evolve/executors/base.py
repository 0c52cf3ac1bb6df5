"""The contract of every executor, and the executor that needs no other process."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

from slicing.errors import InputError

T = TypeVar("T")
R = TypeVar("R")

# A worker that has died so often over the same task will not survive it.
MAX_DEATHS = 3


class Executor(ABC, Generic[T, R]):
    """Does tasks side by side, one in each of its slots.

    ::

        with executor:
            executor.start(work, n_tasks)
            executor.submit(0, task)
            slot, result = executor.wait()

    A slot belongs to one worker, which holds its own copy of ``work``: what this keeps from one
    task to the next serves the next task of the same slot. It changes no result, and is lost where
    a worker is replaced. Results have the same bits in every process of machines with one kind of
    processor.

    Attributes
    ----------
    n_slots : int
        Tasks that are done at the same time; known after :meth:`start`.
    """

    n_slots: int = 1

    @abstractmethod
    def start(self, work: Callable[[T], R], max_workers: int) -> None:
        """Start the workers.

        Parameters
        ----------
        work : callable
            Does a task. It is pickled and sent to each worker once.
        max_workers : int
            More workers than this would have nothing to do.
        """

    @abstractmethod
    def submit(self, slot: int, task: T) -> None:
        """Begin a task in a free slot, from 0 to ``n_slots - 1``."""

    def resubmit(self, slot: int, task: T) -> None:
        """Begin the task that the slot had last again, in another form.

        Workers that died over it before count, where they are counted.
        """
        self.submit(slot, task)

    @abstractmethod
    def wait(self) -> tuple[int, R]:
        """Wait until a task is done; its slot is then free.

        Returns
        -------
        slot : int
        result : object
            What ``work`` gave.

        Raises
        ------
        InputError
            Where workers die over the same task ``MAX_DEATHS`` times.
        """

    @abstractmethod
    def close(self) -> None:
        """End the workers at once, and let go of the work."""

    def __enter__(self) -> "Executor[T, R]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class SerialExecutor(Executor[T, R]):
    """Does tasks in this process, one at a time, on all threads."""

    _work: Callable[[T], R] | None = None

    def start(self, work: Callable[[T], R], max_workers: int) -> None:
        """See :meth:`Executor.start`."""
        self._work = work

    def submit(self, slot: int, task: T) -> None:
        """See :meth:`Executor.submit`."""
        self._task = task

    def wait(self) -> tuple[int, R]:
        """See :meth:`Executor.wait`."""
        assert self._work is not None
        return 0, self._work(self._task)

    def close(self) -> None:
        """See :meth:`Executor.close`."""
        self._work = None


def too_many_deaths(how: str) -> InputError:
    """Explain that no worker survives a task."""
    return InputError(
        f"A worker died {MAX_DEATHS} times over the same task ({how}): if memory ran out, "
        "give fewer workers."
    )
