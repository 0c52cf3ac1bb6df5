"""Schedules: in which order blocks are optimised, and when each sees what the others found."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field
from itertools import groupby
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
        Loss of the network before and after; with :class:`Parallel`, before and after the group.
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


@dataclass(frozen=True)
class _Found:
    """What the search of one block came to.

    Attributes
    ----------
    vector : ndarray of shape (dim,), float64, or None
        What it hands over; None where it had no time for one generation.
    loss : float
        The loss of the network with it.
    non_finite : int
    reasons : tuple of str
        As in :class:`BlockEnd`.
    """

    vector: NDArray[np.float64] | None
    loss: float
    non_finite: int
    reasons: tuple[str, ...]


@dataclass(eq=False)
class Schedule(ABC):
    """Which blocks are optimised when, and when each sees what the others found.

    Iterating runs the evolution: it gives a :class:`Generation` after each generation and a
    :class:`BlockEnd` for each block. What was found so far is always ``fitness.stack``.

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

    fitness: Fitness
    blocks: Sequence[Block]
    make_optimizer: MakeOptimizer
    _: KW_ONLY
    generations: int = 14
    passes: int = 1
    order: Order = "random"
    step: float = 1.0
    hand_over: HandOver = "mean"
    seed: int = 0
    max_evaluations: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("generations", self.generations, 1),
            ("passes", self.passes, 1),
            ("max_evaluations", self.max_evaluations, 1),
        ):
            if value is not None and value < least:
                raise InputError(f"{name}={value} is not possible: give {least} or more.")
        for name, number in (("step", self.step), ("max_seconds", self.max_seconds)):
            if number is not None and not 0 < number < float("inf"):
                raise InputError(
                    f"{name}={number} is not possible: give a positive, finite number."
                )
        for name, choice, choices in (
            ("order", self.order, get_args(Order)),
            ("hand_over", self.hand_over, get_args(HandOver)),
        ):
            if choice not in choices:
                raise InputError(f"{name}={choice!r} is unknown: choose one of {choices}.")
        self.evaluations = 0
        self._stopping: str | None = None

    def stop(self, reason: str) -> None:
        """End after the generation under way; its block still hands over what it found."""
        self._stopping = reason

    def __iter__(self) -> Iterator[Generation | BlockEnd]:
        self._start = time.monotonic()
        for pass_number in range(self.passes):
            order = list(range(len(self.blocks)))
            if self.order == "random":
                self._stream(_ORDER_STREAM, pass_number).shuffle(order)
            # Stable: blocks of a layer stay in their order.
            order.sort(key=lambda index: self.blocks[index].layers)
            first = pass_number * len(self.blocks)
            turns = [
                _Turn(self.blocks[index], first + place, self._stream(*key))
                for place, index in enumerate(order)
                for key in [(_BLOCK_STREAM, pass_number, index)]
            ]
            yield from self._run_pass(turns)
            if self._stopping:
                return

    @abstractmethod
    def _run_pass(self, turns: list["_Turn"]) -> Iterator[Generation | BlockEnd]:
        """Go through all blocks once."""

    def _stream(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    @property
    def _n_blocks(self) -> int:
        return self.passes * len(self.blocks)

    def _search(self, turn: "_Turn", reserve: int = 0) -> Generator[Generation, None, _Found]:
        """Optimise a block on top of the network as it stands, and leave the network as it is.

        ``reserve`` evaluations are left over for what follows.
        """
        fitness, block = self.fitness, turn.block
        start = block.read(fitness.stack)
        # A block whose weights are all equal has no spread of its own; any step will do.
        step = self.step * (float(start.std()) or 1.0)
        optimizer = self.make_optimizer(start, step, turn.rng)
        fitness.bind(block)
        reasons: tuple[str, ...] = ("generations",)
        for generation in range(1, self.generations + 1):
            self._check_budget(optimizer.population + 1 + reserve)
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
                turn.number,
                self._n_blocks,
                generation,
                self.generations,
                optimizer.best_loss,
                float(finite.mean()) if len(finite) else float("nan"),
                optimizer.sigma,
                self.evaluations,
            )
            if optimizer.stop():
                reasons = tuple(optimizer.stop())
                break
        if not optimizer.evaluations:
            return _Found(None, float("inf"), 0, reasons)
        vector = optimizer.mean if self.hand_over == "mean" else optimizer.best
        loss = float(fitness.losses(vector[None])[0])
        self.evaluations += 1
        return _Found(vector, loss, optimizer.non_finite, reasons)

    def _end(self, turn: "_Turn", found: _Found, before: float, accepted: bool) -> BlockEnd:
        return BlockEnd(
            turn.block,
            turn.number,
            self._n_blocks,
            before,
            self.fitness.loss,
            accepted,
            self.evaluations,
            found.non_finite,
            found.reasons,
        )

    def _check_budget(self, needed: int) -> None:
        if self.evaluations + needed > (self.max_evaluations or float("inf")):
            if not self.evaluations:
                raise InputError(
                    f"max_evaluations={self.max_evaluations} does not suffice for one generation: "
                    f"give at least {needed}."
                )
            self._stopping = self._stopping or "max_evaluations"
        if self.evaluations and time.monotonic() - self._start > (self.max_seconds or float("inf")):
            self._stopping = self._stopping or "max_seconds"


@dataclass(frozen=True)
class _Turn:
    """A block's turn in a run: its position in the whole run, from 0, and its random stream."""

    block: Block
    number: int
    rng: np.random.Generator


@dataclass(eq=False)
class Serial(Schedule):
    """One block after the other, each on top of what the blocks before it found (Gauss-Seidel).

    A block is plugged in if it improves the loss of the network. The parameters are those of
    :class:`Schedule`.
    """

    def _run_pass(self, turns: list[_Turn]) -> Iterator[Generation | BlockEnd]:
        for turn in turns:
            before = self.fitness.loss
            found = yield from self._search(turn)
            accepted = found.vector is not None and found.loss < before
            if accepted and found.vector is not None:
                self.fitness.accept(found.vector)
            yield self._end(turn, found, before, accepted)
            if self._stopping:
                return


@dataclass(eq=False)
class Parallel(Schedule):
    """All blocks of a group start from the same network, none sees the others (Jacobi).

    At the end of a group what was found is plugged in, together. Blocks that improve the network
    each on its own may make it worse together: then the better half of them is tried, and so on
    down to the best one alone. What is left out is rejected.

    The parameters are those of :class:`Schedule`, and

    Parameters
    ----------
    synchronise : int, optional
        Blocks a group; by default all blocks of a layer are one.
    """

    synchronise: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.synchronise is not None and self.synchronise < 1:
            raise InputError(f"synchronise={self.synchronise} is not possible: give 1 or more.")

    def _run_pass(self, turns: list[_Turn]) -> Iterator[Generation | BlockEnd]:
        for _, layer in groupby(turns, key=lambda turn: turn.block.layers):
            together = list(layer)
            size = self.synchronise or len(together)
            for start in range(0, len(together), size):
                yield from self._run_group(together[start : start + size])
                if self._stopping:
                    return

    def _run_group(self, turns: list[_Turn]) -> Iterator[Generation | BlockEnd]:
        before = self.fitness.loss
        # Checks of all, of half, of a quarter ...
        reserve = len(turns).bit_length()
        found: dict[int, _Found] = {}
        for turn in turns:
            found[turn.number] = yield from self._search(turn, reserve)
            if self._stopping:
                break
        searched = [turn for turn in turns if turn.number in found]
        improved = [turn for turn in searched if found[turn.number].loss < before]
        improved.sort(key=lambda turn: found[turn.number].loss)
        accepted = self._plug_in(
            [
                (turn.block, vector)
                for turn in improved
                if (vector := found[turn.number].vector) is not None
            ],
            before,
        )
        plugged = {turn.number for turn in improved[:accepted]}
        for turn in searched:
            yield self._end(turn, found[turn.number], before, turn.number in plugged)

    def _plug_in(self, improved: list[tuple[Block, NDArray[np.float64]]], before: float) -> int:
        """Accept as many of the blocks, the best first, as together improve the network."""
        count = len(improved)
        while count:
            # A block's vector holds its kernels in ascending order.
            parts = sorted(improved[:count], key=lambda part: part[0].kernels)
            joint = Block(tuple(kernel for block, _ in parts for kernel in block.kernels))
            vector = np.concatenate([vector for _, vector in parts])
            self.fitness.bind(joint)
            self.evaluations += 1
            if self.fitness.losses(vector[None])[0] < before:
                self.fitness.accept(vector)
                return count
            count //= 2
        return 0
