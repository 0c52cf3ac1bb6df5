"""Evolve blocks one after the other, and measure the seconds inside the optimizer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.events import BlockEnd, Generation
from evolve.fitness.knn import KNNFitness
from evolve.optimizers import Optimizer
from evolve.schedule import Serial
from evolve.schedule_options import ScheduleOptions
from evolve.search import HandOver

# Points of a curve that are kept beside the ends of blocks.
_CURVE_POINTS = 75


class Stopwatch:
    """Adds up the seconds that are spent within it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds += time.perf_counter() - self._start


class Timed:
    """An optimizer whose construction, methods and properties are timed.

    Parameters
    ----------
    stopwatch : Stopwatch
    kind : type of Optimizer
    start, sigma, rng
        As for `evolve.optimizers.Optimizer`.
    """

    def __init__(
        self,
        stopwatch: Stopwatch,
        kind: type[Optimizer],
        start: NDArray[np.float64],
        sigma: float,
        rng: np.random.Generator,
    ) -> None:
        self._stopwatch = stopwatch
        with stopwatch:
            self._optimizer = kind(start, sigma, rng)

    def __getattr__(self, name: str) -> Any:
        with self._stopwatch:
            value = getattr(self._optimizer, name)
        if not callable(value):
            return value

        def call(*arguments: Any) -> Any:
            with self._stopwatch:
                return value(*arguments)

        return call


@dataclass(frozen=True)
class Evolution:
    """What a schedule did.

    Attributes
    ----------
    events : list of Generation and BlockEnd
    seconds, optimizer_seconds : list of float
        Of each block: wall clock, and what of it was spent inside the optimizer.
    """

    events: list[Generation | BlockEnd]
    seconds: list[float]
    optimizer_seconds: list[float]

    @property
    def ends(self) -> list[BlockEnd]:
        """The blocks' ends."""
        return [event for event in self.events if isinstance(event, BlockEnd)]

    def curve(self) -> tuple[list[int], list[float]]:
        """Return evaluations and losses, as `benchmarks.optimizers_report.Run` keeps them."""
        step = -(-(len(self.events) - len(self.ends)) // _CURVE_POINTS)
        before = self.ends[0].loss_before
        evaluations, losses = [0], [before]
        for event in self.events:
            if isinstance(event, BlockEnd):
                before = loss = event.loss_after
            elif event.generation % step:
                continue
            else:
                loss = min(before, event.best_loss)
            evaluations.append(event.evaluations)
            losses.append(round(loss, 6))
        return evaluations, losses


def evolve(
    fitness: KNNFitness,
    blocks: Sequence[Block],
    kind: type[Optimizer],
    generations: int,
    hand_over: HandOver,
    seed: int = 0,
) -> Evolution:
    """Optimize blocks one after the other; the result is ``fitness.stack``."""
    stopwatch = Stopwatch()

    def make(start: NDArray[np.float64], sigma: float, rng: np.random.Generator) -> Optimizer:
        return cast(Optimizer, Timed(stopwatch, kind, start, sigma, rng))

    schedule = Serial(
        fitness,
        blocks,
        make,
        ScheduleOptions(generations, order="layer", hand_over=hand_over),
        seed=seed,
    )
    evolution = Evolution([], [], [])
    begin, inside = time.perf_counter(), 0.0
    for event in schedule:
        evolution.events.append(event)
        if isinstance(event, BlockEnd):
            now = time.perf_counter()
            evolution.seconds.append(now - begin)
            evolution.optimizer_seconds.append(stopwatch.seconds - inside)
            begin, inside = now, stopwatch.seconds
    return evolution
