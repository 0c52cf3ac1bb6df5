"""The search of one block, from the network as it stands to what the block hands over."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.executors.base import Task
from evolve.optimizers import Optimizer
from slicing.stack import ConvStack

HandOver = Literal["mean", "best", "selection"]

MakeOptimizer = Callable[[NDArray[np.float64], float, np.random.Generator], Optimizer]

# Evaluations that it takes to find out what a block hands over, and how good that is.
_CLOSING: dict[HandOver, int] = {"mean": 1, "best": 1, "selection": 3}


@dataclass(frozen=True)
class Generation:
    """What one generation of one block came to.

    Attributes
    ----------
    block : Block
    block_number : int
        Position of the block in the whole run, from 0.
    n_blocks : int
        Blocks in the whole run, over all passes.
    generation, n_generations : int
        Number of the generation within the block, from 1, and how many there may be.
    best_loss : float
        The least loss that the block's optimizer has found so far.
    mean_loss : float
        Mean loss of this generation's candidates, of those that are finite.
    sigma : float
        Spread of the next candidates.
    evaluations : int
        Candidates evaluated in the whole run so far, counted block after block.
    full_scans : int
        As of :class:`evolve.fitness.base.Fitness`, for this block.
    """

    block: Block
    block_number: int
    n_blocks: int
    generation: int
    n_generations: int
    best_loss: float
    mean_loss: float
    sigma: float
    evaluations: int
    full_scans: int


@dataclass(frozen=True)
class Limits:
    """When the search of a block ends, and what it hands over.

    Attributes
    ----------
    generations : int
        Generations of the optimizer's first population; where it grows (restarts), fewer of the
        larger ones, for as many evaluations.
    hand_over : {"mean", "best", "selection"}
        The mean of the optimizer's distribution, the best candidate, or whichever of the two has
        the smaller loss on the selection queries.
    patience : int, optional
        Generations without a new best after which it ends.
    target_loss : float, optional
        Loss with which it ends.
    """

    generations: int
    hand_over: HandOver
    patience: int | None
    target_loss: float | None

    @property
    def closing(self) -> int:
        """Evaluations after the last generation."""
        return _CLOSING[self.hand_over]


class Search:
    """The optimization of one block on top of a network that stands still meanwhile.

    Whoever runs it evaluates :attr:`task` and hands the losses to :meth:`receive`, until it is
    ``done``. It depends on its arguments and these losses alone.

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
        Their ``evaluations`` and ``full_scans`` are those of this block.
    evaluations : int
    non_finite : int
        How many candidates had a loss that was not finite.
    vector : ndarray of shape (dim,), float64, or None
        What is handed over, once that is known.
    loss : float
        The loss of the network with it, once it is done; infinite before.
    reasons : tuple of str
        Why it ended.
    done : bool
    needed, reserved : int
        Evaluations that one generation and the end take, and that it takes at most.
    affordable : bool
        Whether the budget leaves ``needed``.
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
        self.stack, self.block, self.number, self._n_blocks = stack, block, number, n_blocks
        self._make_optimizer, self._limits = make_optimizer, limits
        # Not kept: the optimizers of a group of blocks would fill the memory before they begin.
        population = make_optimizer().population
        self._optimizer: Optimizer | None = None
        wanted = limits.generations * population
        self._allowed = min(wanted, remaining - limits.closing)
        self._is_cut_short = self._allowed < wanted
        self.needed = population + limits.closing
        self.reserved = self._allowed + limits.closing
        self.affordable = self._allowed >= population
        self.generations: list[Generation] = []
        self.evaluations = self.non_finite = self._full_scans = 0
        self.vector: NDArray[np.float64] | None = None
        self.loss = np.inf
        self.reasons: tuple[str, ...] = ()
        self.done = False
        self._best_at = 0  # generation
        self._asked: NDArray[np.float64] | None = None

    @property
    def task(self) -> Task:
        """What is to be evaluated next."""
        if not self.reasons:
            self._optimizer = self._optimizer or self._make_optimizer()
            self._asked = self._optimizer.ask()
            return Task(self.stack, self.block, self._asked)
        if self.vector is None:
            return Task(self.stack, self.block, self._choices(), selects=True)
        return Task(self.stack, self.block, self.vector[None])

    def receive(self, losses: NDArray[np.float64], full_scans: int = 0) -> None:
        """Go on, with the losses of :attr:`task` and how many full scans they took."""
        self.evaluations += len(losses)
        self._full_scans += full_scans
        if not self.reasons:
            self._tell(losses)
        elif self.vector is None:
            self.vector = self._choices()[int(np.argmin(losses))]
        else:
            self.loss = float(losses[0])
            self.done = True
            self._optimizer = None

    def end(self, *reasons: str) -> None:
        """End the generations, if they have not ended; what is handed over is evaluated still.

        Not while a task is being evaluated.
        """
        if self.reasons:
            return
        self.reasons = reasons
        if not self.generations:
            self.done = True
        elif self._limits.hand_over != "selection":
            self.vector = self._choices()[int(self._limits.hand_over == "best")]

    def state(self) -> dict[str, Any]:
        """Return all that is not an argument; not while a task is being evaluated."""
        optimizer = None if self._optimizer is None else self._optimizer.state()
        return {"optimizer": optimizer} | {name: getattr(self, name) for name in _STATE}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` returned for a search of the same arguments."""
        if state["optimizer"] is not None:
            self._optimizer = self._make_optimizer()
            self._optimizer.restore(state["optimizer"])
        vars(self).update({name: state[name] for name in _STATE})

    def _choices(self) -> NDArray[np.float64]:
        assert self._optimizer is not None
        return np.stack([self._optimizer.mean, self._optimizer.best])

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
                self._full_scans,
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


_STATE = (
    "generations", "evaluations", "non_finite", "_full_scans", "vector", "loss", "reasons", "done",
    "_best_at",
)  # fmt: skip
