"""Which trials go on after a rung.

A pruner is told a trial's number, its rung from 0, its loss there, and the losses of others there,
by their numbers. Those of Optuna are not used: they count a trial that was interrupted and tried
again twice, and they know one objective alone.
"""

import math
from collections.abc import Callable, Mapping
from statistics import median
from zlib import crc32

from slicing.checks import one_of

Pruner = Callable[[int, int, float, Mapping[int, float]], bool]
"""``pruner(number, rung, loss, others)`` says whether a trial goes on."""

FACTOR = 3
"""A rung counts as so many times the one before; of each, one in so many trials goes on."""

# Trials that have passed a rung before the median of them ends others.
_BEFORE_MEDIAN = 4


def asha(number: int, rung: int, loss: float, others: Mapping[int, float]) -> bool:
    """Let the best third go on, of those that have come so far: it waits for nobody.

    Li et al., A system for massively parallel hyperparameter tuning, 2020, algorithm 2; as there
    is no going back to a trial that has ended, each is judged once, when it arrives.
    """
    n_better = sum(each < loss for each in others.values())
    return n_better < max((len(others) + 1) // FACTOR, 1)


def best_half(number: int, rung: int, loss: float, others: Mapping[int, float]) -> bool:
    """Let go on what is not above the median of the others (Golovin et al., Vizier, 2017)."""
    return len(others) < _BEFORE_MEDIAN or loss <= median(others.values())


def everyone(number: int, rung: int, loss: float, others: Mapping[int, float]) -> bool:
    """Let every trial go on."""
    return True


class Hyperband:
    """Judges some trials from their first rung on, others later, each among its own kind.

    Li et al., Hyperband, 2018, algorithm 1: a *bracket* is judged from its own rung on, and the
    later that is, the fewer trials it has.

    Parameters
    ----------
    n_rungs : int
        Of the trials, at most.
    """

    def __init__(self, n_rungs: int) -> None:
        after = [n_rungs - 1 - bracket for bracket in range(n_rungs)]
        self._sizes = [math.ceil(n_rungs * FACTOR**left / (left + 1)) for left in after]

    def bracket(self, number: int) -> int:
        """Give the bracket of a trial, from 0: the rung from which on it is judged."""
        # Its checksum stands for chance, and is the same when the trial is tried again.
        place = crc32(str(number).encode()) % sum(self._sizes)
        bracket = 0
        while place >= self._sizes[bracket]:
            place -= self._sizes[bracket]
            bracket += 1
        return bracket

    def __call__(self, number: int, rung: int, loss: float, others: Mapping[int, float]) -> bool:
        """See :data:`Pruner`."""
        bracket = self.bracket(number)
        like = {each: other for each, other in others.items() if self.bracket(each) == bracket}
        return rung < bracket or asha(number, rung, loss, like)


PRUNERS: dict[str, Callable[[int], Pruner]] = {
    "asha": lambda n_rungs: asha,
    "hyperband": Hyperband,
    "median": lambda n_rungs: best_half,
    "none": lambda n_rungs: everyone,
}
"""All pruners, by the names that people choose them by; each is made for a number of rungs."""


def pruner(name: str, n_rungs: int) -> Pruner:
    """Make a pruner for trials of at most so many rungs.

    Raises
    ------
    InputError
        For a name that is not of :data:`PRUNERS`.
    """
    one_of("pruner", name, tuple(PRUNERS))
    return PRUNERS[name](n_rungs)
