"""The one interface behind which every executor stands, and the one that needs no other process."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.fitness.base import Fitness
from slicing.errors import InputError
from slicing.stack import ConvStack

# A worker that dies so often over the same task will not survive it.
MAX_DEATHS = 3


@dataclass(frozen=True, eq=False)
class Task:
    """Candidates to evaluate in the place of a block of a network.

    Attributes
    ----------
    stack : ConvStack
    block : Block
    candidates : ndarray of shape (n, dim), float64
    selects : bool
        Whether the selection queries are asked, not those of the fitness.
    """

    stack: ConvStack
    block: Block
    candidates: NDArray[np.float64]
    selects: bool = False


class Evaluator:
    """What a worker holds: the images, within a fitness, and what was bound last.

    Parameters
    ----------
    fitness : Fitness
    selection : Fitness, optional
        Of the selection queries.
    """

    def __init__(self, fitness: Fitness, selection: Fitness | None) -> None:
        self._fitness, self._selection = fitness, selection

    def __call__(self, task: Task) -> tuple[NDArray[np.float64], int]:
        """Evaluate a task.

        Returns
        -------
        losses : ndarray of shape (n,), float64
            In the order of the candidates, the same bits in whatever process.
        full_scans : int
            How many ``full_scans`` of the fitness it took.
        """
        fitness = self._fitness
        if task.selects:
            assert self._selection is not None
            networks = (task.block.write(task.stack, each) for each in task.candidates)
            return np.array([self._selection.loss_of(network) for network in networks]), 0
        before = fitness.full_scans
        # Elsewhere than in the schedule's own process every task brings a copy of the network.
        if not fitness.stack.equals(task.stack):
            fitness.adopt(task.stack, np.nan)
        if fitness.block != task.block:
            fitness.bind(task.block)
        return fitness.losses(task.candidates), fitness.full_scans - before


class Executor(ABC):
    """Evaluates tasks, one in each of its slots at a time.

    ::

        with executor:
            executor.start(fitness, None, n_blocks)
            executor.submit(0, task)
            slot, losses, full_scans = executor.wait()

    A slot evaluates fastest what belongs to the same block as its last task.
    """

    n_slots = 1
    """Tasks that are evaluated at the same time; known once it has started."""

    @abstractmethod
    def start(self, fitness: Fitness, selection: Fitness | None, most: int) -> None:
        """Give every worker the images, once.

        Parameters
        ----------
        fitness : Fitness
        selection : Fitness, optional
            Of the selection queries.
        most : int
            Workers beyond this number would have nothing to do.
        """

    @abstractmethod
    def submit(self, slot: int, task: Task) -> None:
        """Begin a task in a slot, from 0 to ``n_slots - 1``, that has none."""

    @abstractmethod
    def wait(self) -> tuple[int, NDArray[np.float64], int]:
        """Wait for a task to be done.

        Returns
        -------
        slot : int
            Of the task; it is free again.
        losses, full_scans
            See :class:`~evolve.executors.base.Evaluator`.

        Raises
        ------
        InputError
            Where a worker dies over the same task again and again.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the workers, of what they do, and of the images."""

    def __enter__(self) -> "Executor":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class SerialExecutor(Executor):
    """Evaluates in this process, one task at a time, on all threads."""

    _evaluate: Evaluator | None = None

    def start(self, fitness: Fitness, selection: Fitness | None, most: int) -> None:
        """See :meth:`Executor.start`."""
        self._evaluate = Evaluator(fitness, selection)

    def submit(self, slot: int, task: Task) -> None:
        """See :meth:`Executor.submit`."""
        self._task = task

    def wait(self) -> tuple[int, NDArray[np.float64], int]:
        """See :meth:`Executor.wait`."""
        assert self._evaluate is not None
        return 0, *self._evaluate(self._task)

    def close(self) -> None:
        """See :meth:`Executor.close`."""
        self._evaluate = None


def check_workers(workers: int | None) -> None:
    """Raise an InputError about a number of workers that cannot be."""
    if workers is not None and workers < 1:
        raise InputError(f"workers={workers} is not possible: give 1 or more.")


def too_many_deaths(how: str) -> InputError:
    """Explain that a worker does not survive a task."""
    return InputError(
        f"A worker died {MAX_DEATHS} times over the same candidates ({how}): if memory ran out, "
        "give fewer workers (executor.workers=...)."
    )
