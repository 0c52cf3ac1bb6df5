"""Evaluating candidates on an executor: what a task is, and how a network gets to a worker."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.executors.base import Executor
from evolve.fitness.base import Fitness
from slicing.stack import ConvStack


@dataclass(frozen=True, eq=False)
class Task:
    """Candidates to evaluate instead of a block of a network.

    Attributes
    ----------
    block : Block
    network : str
        Digest of the network.
    candidates : ndarray of shape (n, dim), float64
    stack : ConvStack, optional
        The network itself, where the worker has asked for it.
    """

    block: Block
    network: str
    candidates: NDArray[np.float64]
    stack: ConvStack | None = None


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Result of a task.

    Attributes
    ----------
    losses : ndarray of shape (n,), float64
        In the order of the candidates; the same bits in every process of machines with one kind of
        processor.
    counts : mapping of str to int
        What the fitness counted for these candidates: see ``Fitness.counts``.
    """

    losses: NDArray[np.float64]
    counts: Mapping[str, int] = field(default_factory=dict)


class Evaluator:
    """The work of a worker: a fitness with its images, its network and its bound block.

    Parameters
    ----------
    fitness : Fitness
    """

    def __init__(self, fitness: Fitness) -> None:
        self._fitness = fitness
        self._stack: ConvStack | None = None
        self._network = ""

    def __call__(self, task: Task) -> Evaluated | None:
        """Evaluate a task.

        Returns
        -------
        Evaluated or None
            None where the fitness has another network, and the task does not bring its own: it
            must be submitted again with the network.
        """
        fitness = self._fitness
        if task.network != self._digest():
            if task.stack is None:
                return None
            fitness.adopt(task.stack, np.nan)
        if fitness.block != task.block:
            fitness.bind(task.block)
        before = dict(fitness.counts)
        losses = fitness.losses(task.candidates)
        counts = {name: n - before.get(name, 0) for name, n in fitness.counts.items()}
        return Evaluated(losses, counts)

    def _digest(self) -> str:
        # In the process of the schedule, the fitness gets its networks from there.
        if self._fitness.stack is not self._stack:
            self._stack = self._fitness.stack
            self._network = self._stack.digest
        return self._network


class NetworkExecutor(Executor[Task, Evaluated]):
    """Evaluates tasks on another executor, and sends a network to each worker only once.

    A worker that does not have the network of its task asks for it; a worker that replaces a dead
    one asks again.

    Parameters
    ----------
    executor : Executor
    network : callable
        Gives the network that the tasks name.
    """

    def __init__(
        self, executor: Executor[Task, Evaluated | None], network: Callable[[], ConvStack]
    ) -> None:
        self._executor, self._network = executor, network
        self._tasks: dict[int, Task] = {}

    def start(self, work: Callable[[Task], Evaluated | None], max_workers: int) -> None:
        """See :meth:`.Executor.start`; ``work`` is an :class:`Evaluator`."""
        self._executor.start(work, max_workers)
        self.n_slots = self._executor.n_slots

    def submit(self, slot: int, task: Task) -> None:
        """See :meth:`.Executor.submit`."""
        self._tasks[slot] = task
        self._executor.submit(slot, task)

    def wait(self) -> tuple[int, Evaluated]:
        """See :meth:`.Executor.wait`."""
        while True:
            slot, result = self._executor.wait()
            if result is not None:
                return slot, result
            self._executor.resubmit(slot, replace(self._tasks[slot], stack=self._network()))

    def close(self) -> None:
        """See :meth:`.Executor.close`."""
        self._executor.close()
