"""Which trials go on after a rung."""

from collections.abc import Callable

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)

from slicing.checks import one_of

FACTOR = 3
"""A rung counts as so many times the one before; of each, one in so many trials goes on."""

# Trials that have passed a rung before the median of them ends others.
_BEFORE_MEDIAN = 4

PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    # Successive halving without waiting (Li et al., A system for massively parallel hyperparameter
    # tuning, 2020).
    "asha": lambda most: SuccessiveHalvingPruner(min_resource=1, reduction_factor=FACTOR),
    "hyperband": lambda most: HyperbandPruner(
        min_resource=1, max_resource=most, reduction_factor=FACTOR
    ),
    "median": lambda most: MedianPruner(n_startup_trials=_BEFORE_MEDIAN),
    "none": lambda most: NopPruner(),
}
"""All pruners, by the names that people choose them by; each takes the step of the last rung."""


def pruner(name: str, n_rungs: int) -> BasePruner:
    """Make a pruner for trials of at most so many rungs.

    Raises
    ------
    InputError
        For a name that is not of :data:`PRUNERS`.
    """
    one_of("pruner", name, tuple(PRUNERS))
    return PRUNERS[name](step_of(n_rungs - 1))


def step_of(rung: int) -> int:
    """Give the step of a rung, from 0: what it counts as."""
    return int(FACTOR**rung)
