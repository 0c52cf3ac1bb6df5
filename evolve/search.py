"""The jobs of a schedule: the search of one block, and the loss without one."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.evaluation import Evaluated, Task
from evolve.events import Generation
from evolve.optimizers import Optimizer
from evolve.search_record import SearchRecord
from slicing.errors import InputError
from slicing.stack import ConvStack

HandOver = Literal["mean", "best"]

MakeOptimizer = Callable[[NDArray[np.float64], float, np.random.Generator], Optimizer]

CLOSING = 1
"""Evaluations after the last generation, of what the block hands over."""


@dataclass(frozen=True)
class Limits:
    """When the search of a block ends, and what it hands over.

    Attributes
    ----------
    generations : int
        Generations of the optimizer's first population; where it grows (restarts), fewer of the
        larger ones, for as many evaluations.
    hand_over : {"mean", "best"}
        The mean of the optimizer's distribution, or the best candidate.
    patience : int, optional
        Generations without a new best after which it ends.
    target_loss : float, optional
        Loss with which it ends.
    """

    generations: int
    hand_over: HandOver
    patience: int | None
    target_loss: float | None


class Search:
    """The optimization of one block of a network whose other kernels stand still.

    It is a :class:`~evolve.jobs.Job`: the losses of :meth:`next_task` go to :meth:`receive`, until
    it is ``done``. It depends on its arguments and these losses alone.

    Parameters
    ----------
    stack : ConvStack
        The network.
    block : Block
    number, n_blocks : int
        As in :class:`Generation`.
    make_optimizer : callable
        Gives the optimizer, from the same start and stream each time.
    limits : Limits
    remaining : float
        Evaluations that the budget leaves; infinite without one.

    Attributes
    ----------
    generations : list of Generation
        Their ``evaluations`` and ``counts`` are those of this block.
    evaluations : int
    non_finite : int
        Candidates whose loss was not finite.
    vector : ndarray of shape (dim,), float64, or None
        What the block hands over, once that is known.
    loss : float
        The loss of the network with it, once it is done; infinite before.
    reasons : tuple of str
        Why it ended.
    done : bool
    needed, reserved : int
        Evaluations that one generation and the end take, and that it takes at most.
    affordable : bool
        Whether the budget leaves ``needed``.
    network : str
        Digest of the network.
    """

    def __init__(
        self,
        stack: ConvStack,
        block: Block,
        number: int,
        n_blocks: int,
        make_optimizer: Callable[[], Optimizer],
        limits: Limits,
        remaining: float,
    ) -> None:
        self.block, self.number, self._n_blocks = block, number, n_blocks
        self.network = stack.digest
        self._make_optimizer, self._limits = make_optimizer, limits
        # Not kept: the optimizers of a whole group of blocks would fill the memory.
        population = make_optimizer().population
        self._optimizer: Optimizer | None = None
        wanted = limits.generations * population
        self._allowed = min(wanted, remaining - CLOSING)
        self._is_cut_short = self._allowed < wanted
        self.needed = population + CLOSING
        self.reserved = self._allowed + CLOSING
        self.affordable = self._allowed >= population
        self.generations: list[Generation] = []
        self.evaluations = self.non_finite = 0
        self._counts: Counter[str] = Counter()
        self.vector: NDArray[np.float64] | None = None
        self.loss = np.inf
        self.reasons: tuple[str, ...] = ()
        self.done = False
        self._best_at = 0  # generation
        self._asked: NDArray[np.float64] | None = None
        self._told = SearchRecord()

    def next_task(self) -> Task:
        """Give the candidates of the next generation, or at the end what the block hands over."""
        if self.vector is None:
            self._optimizer = self._optimizer or self._make_optimizer()
            candidates = self._asked = self._optimizer.ask()
        else:
            candidates = self.vector[None]
        self._told.candidates = crc32(candidates.tobytes(), self._told.candidates)
        return Task(self.block, self.network, candidates)

    def receive(self, result: Evaluated) -> None:
        """Go on with the losses of the task."""
        self._told.results.append(result)
        self.evaluations += len(result.losses)
        self._counts.update(result.counts)
        if self.vector is None:
            self._tell(result.losses)
        else:
            self.loss = float(result.losses[0])
            self.done = True
            self._optimizer = None

    def end(self, *reasons: str) -> None:
        """End the generations, if they have not ended; the result is still evaluated.

        Not while a task is being evaluated.
        """
        if self.reasons:
            return
        self.reasons = reasons
        if not self.generations:
            self.done = True
            return
        optimizer = self._optimizer
        assert optimizer is not None
        self.vector = optimizer.best if self._limits.hand_over == "best" else optimizer.mean

    def record(self) -> SearchRecord:
        """Give what it has received; not while a task is being evaluated."""
        return replace(self._told, reasons=self.reasons, done=self.done)

    def replay(self, record: SearchRecord) -> None:
        """Receive, at the start, what an equal search has received, without evaluating anything.

        It costs what the optimizer costs.

        Raises
        ------
        InputError
            Where it asks for other candidates than those that the losses are of: that search was
            another one, or this machine's arithmetic or libraries differ from those it ran with.
        """
        for number, result in enumerate(record.results, 1):
            if record.done and number == len(record.results):
                # It may have been ended by a clock.
                self.end(*record.reasons)
            self.next_task()
            self.receive(result)
        if (self._told.candidates, self.done) != (record.candidates, record.done):
            raise InputError("The losses are those of other candidates.")

    def _tell(self, losses: NDArray[np.float64]) -> None:
        optimizer, limits = self._optimizer, self._limits
        assert optimizer is not None
        assert self._asked is not None
        best = optimizer.best_loss
        optimizer.tell(self._asked, losses)
        self.non_finite = optimizer.non_finite
        finite = losses[np.isfinite(losses)]
        generation = len(self.generations) + 1
        self.generations.append(
            Generation(
                self.block,
                self.number,
                self._n_blocks,
                generation,
                limits.generations,
                optimizer.best_loss,
                float(finite.mean()) if len(finite) else float("nan"),
                optimizer.sigma,
                self.evaluations,
                dict(self._counts),
            )
        )
        if optimizer.best_loss < best:
            self._best_at = generation
        if optimizer.stop():
            self.end(*optimizer.stop())
        elif limits.target_loss is not None and optimizer.best_loss <= limits.target_loss:
            self.end("target_loss")
        elif limits.patience is not None and generation - self._best_at >= limits.patience:
            self.end("patience")
        elif self.evaluations + optimizer.population > self._allowed:
            self.end("max_evaluations" if self._is_cut_short else "generations")


class Ablation:
    """Measures the loss without a block: with its weights and biases zero.

    Parameters
    ----------
    stack : ConvStack
    block : Block

    Attributes
    ----------
    loss : float
        Once it is ``done``.
    """

    def __init__(self, stack: ConvStack, block: Block) -> None:
        self._task = Task(block, stack.digest, np.zeros_like(block.read(stack))[None])
        self.loss = np.inf
        self.done = False

    def next_task(self) -> Task:
        """Give the one task."""
        return self._task

    def receive(self, result: Evaluated) -> None:
        """Take its loss."""
        self.loss, self.done = float(result.losses[0]), True

    def end(self, reason: str) -> None:
        """End without a loss."""
        self.done = True
