"""Schedules: in which order blocks are optimised, and when each sees what the others found."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.fitness import Fitness
from evolve.optimizers import Optimizer
from slicing.errors import InputError

Order = Literal["layer", "random"]
HandOver = Literal["mean", "best"]

# The same streams for the same (pass, block), whatever else happens: see Serial.seed.
_ORDER_STREAM, _BLOCK_STREAM = 0, 1

MakeOptimizer = Callable[[NDArray[np.float64], float, np.random.Generator], Optimizer]


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
        The least loss that the block's optimiser has found so far.
    mean_loss : float
        Mean loss of this generation's candidates, of those that are finite.
    sigma : float
        Spread of the next candidates.
    evaluations : int
        Candidates evaluated in the whole run so far.
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


@dataclass(frozen=True)
class BlockEnd:
    """How the optimisation of one block ended.

    Attributes
    ----------
    block : Block
    block_number, n_blocks : int
        As in :class:`Generation`.
    loss_before, loss_after : float
        Loss of the network before and after; equal where the block was rejected.
    accepted : bool
        Whether what was found improved the network and was plugged in.
    evaluations : int
        Candidates evaluated in the whole run so far.
    non_finite : int
        How many of the block's candidates had a loss that was not finite.
    reasons : tuple of str
        Why the block ended.
    """

    block: Block
    block_number: int
    n_blocks: int
    loss_before: float
    loss_after: float
    accepted: bool
    evaluations: int
    non_finite: int
    reasons: tuple[str, ...]


class Serial:
    """One block after the other, each on top of what the blocks before it found (Gauss-Seidel).

    Iterating runs the evolution: it gives a :class:`Generation` after each generation and a
    :class:`BlockEnd` after each block. What was found so far is always ``fitness.stack``.

    Parameters
    ----------
    fitness : Fitness
        Changed by the run: it holds the network.
    blocks : sequence of Block
    make_optimizer : callable
        Gives an :class:`~evolve.optimizers.Optimizer` from a start of shape (dim,), a step size and
        a random generator.
    generations : int
        Generations a block.
    passes : int
        How often all blocks are gone through.
    order : {"layer", "random"}
        Layer by layer as in the slides; within a layer kernel by kernel, or shuffled anew in every
        pass.
    step : float
        Initial step size, in standard deviations of the block's own weights.
    hand_over : {"mean", "best"}
        What a block hands over if it improves the loss: the mean of the optimiser's distribution
        or the best candidate.
    seed : int
        Every block of every pass draws from a stream of its own, so that its candidates depend on
        nothing but the seed, its place and its losses.
    max_evaluations : int, optional
        No generation begins that, with the check of what its block hands over, would pass this
        number of evaluations.
    max_seconds : float, optional
        No generation but the first begins after this time. What a run finds that it ends depends on
        the machine's speed.

    Raises
    ------
    InputError
        For options out of their range.
    """

    def __init__(
        self,
        fitness: Fitness,
        blocks: Sequence[Block],
        make_optimizer: MakeOptimizer,
        *,
        generations: int = 14,
        passes: int = 1,
        order: Order = "random",
        step: float = 1.0,
        hand_over: HandOver = "mean",
        seed: int = 0,
        max_evaluations: int | None = None,
        max_seconds: float | None = None,
    ) -> None:
        for name, value, least in (
            ("generations", generations, 1),
            ("passes", passes, 1),
            ("max_evaluations", max_evaluations, 1),
        ):
            if value is not None and value < least:
                raise InputError(f"{name}={value} is not possible: give {least} or more.")
        for name, number in (("step", step), ("max_seconds", max_seconds)):
            if number is not None and not 0 < number < float("inf"):
                raise InputError(
                    f"{name}={number} is not possible: give a positive, finite number."
                )
        for name, choice, choices in (
            ("order", order, get_args(Order)),
            ("hand_over", hand_over, get_args(HandOver)),
        ):
            if choice not in choices:
                raise InputError(f"{name}={choice!r} is unknown: choose one of {choices}.")
        self.fitness = fitness
        self.evaluations = 0
        self._blocks = list(blocks)
        self._make_optimizer = make_optimizer
        self._generations = generations
        self._passes = passes
        self._order = order
        self._step = step
        self._hand_over = hand_over
        self._seed = seed
        self._max_evaluations = max_evaluations or float("inf")
        self._max_seconds = max_seconds or float("inf")
        self._stopping: str | None = None

    def stop(self, reason: str) -> None:
        """End after the generation under way; its block still hands over what it found."""
        self._stopping = reason

    def __iter__(self) -> Iterator[Generation | BlockEnd]:
        self._start = time.monotonic()
        n_blocks = self._passes * len(self._blocks)
        for pass_number in range(self._passes):
            order = list(range(len(self._blocks)))
            if self._order == "random":
                self._stream(_ORDER_STREAM, pass_number).shuffle(order)
            # Stable: blocks of a layer stay in their order.
            order.sort(key=lambda index: self._blocks[index].layers)
            for place, index in enumerate(order):
                number = pass_number * len(self._blocks) + place
                rng = self._stream(_BLOCK_STREAM, pass_number, index)
                yield from self._run_block(self._blocks[index], number, n_blocks, rng)
                if self._stopping:
                    return

    def _stream(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=key))

    def _run_block(
        self, block: Block, number: int, n_blocks: int, rng: np.random.Generator
    ) -> Iterator[Generation | BlockEnd]:
        fitness = self.fitness
        start = block.read(fitness.stack)
        # A block whose weights are all equal has no spread of its own; any step will do.
        optimizer = self._make_optimizer(start, self._step * (float(start.std()) or 1.0), rng)
        fitness.bind(block)
        reasons: tuple[str, ...] = ("generations",)
        for generation in range(1, self._generations + 1):
            self._check_budget(optimizer.population)
            if self._stopping:
                reasons = (self._stopping,)
                break
            candidates = optimizer.ask()
            losses = fitness.losses(candidates)
            optimizer.tell(candidates, losses)
            self.evaluations += len(losses)
            finite = losses[np.isfinite(losses)]
            yield Generation(
                block,
                number,
                n_blocks,
                generation,
                self._generations,
                optimizer.best_loss,
                float(finite.mean()) if len(finite) else float("nan"),
                optimizer.sigma,
                self.evaluations,
            )
            if optimizer.stop():
                reasons = tuple(optimizer.stop())
                break
        before = fitness.loss
        accepted = False
        if optimizer.evaluations:
            found = optimizer.mean if self._hand_over == "mean" else optimizer.best
            accepted = bool(fitness.losses(found[None])[0] < before)
            self.evaluations += 1
            if accepted:
                fitness.accept(found)
        yield BlockEnd(
            block,
            number,
            n_blocks,
            before,
            fitness.loss,
            accepted,
            self.evaluations,
            optimizer.non_finite,
            reasons,
        )

    def _check_budget(self, population: int) -> None:
        if self.evaluations + population + 1 > self._max_evaluations:
            if not self.evaluations:
                raise InputError(
                    f"max_evaluations={self._max_evaluations} does not suffice for one generation: "
                    f"give at least {population + 1}."
                )
            self._stopping = self._stopping or "max_evaluations"
        if self.evaluations and time.monotonic() - self._start > self._max_seconds:
            self._stopping = self._stopping or "max_seconds"
