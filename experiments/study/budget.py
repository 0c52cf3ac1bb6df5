"""The time that a study has."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evolve.trials import Finished
from evolve.trials.results import TRIED
from slicing.errors import InputError

# Seconds for the test and the report, and of a run for what a trial does not do: figures, copies,
# its images; that at least, and where nothing is measured.
REPORT, LEAST_OF_RUN, OF_RUN = 5.0, 3.0, 15.0
# Part of a budget that making the winner again may take at most.
_MOST = 1 / 3
# Of a study without a budget.
_MINUTES = 10.0
# Test images for each training image, at most as a rule.
_TEST = 1 / 4


@dataclass
class Clock:
    """What has passed of a time, and what is left.

    Attributes
    ----------
    seconds : float or None
        The whole; None: any.
    begun : float
        When it began, as :func:`time.monotonic` has it.
    """

    seconds: float | None
    begun: float

    @property
    def passed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.begun

    @property
    def left(self) -> float | None:
        """Seconds that are left; None: any."""
        return None if self.seconds is None else self.seconds - self.passed

    def reserve(self, best: Finished | None, n_train: int, of_run: float) -> float:
        """Give the seconds that the end takes.

        A budget in which making the winner again would take too large a part has no time for it.

        Parameters
        ----------
        best : Finished or None
        n_train : int
            Training images.
        of_run : float
            See :func:`run_seconds`.
        """
        if best is None:
            return REPORT
        # How many the test images are is not known before the end.
        test = _TEST * n_train * best.metrics["milliseconds"] / 1000
        again = refit_seconds(best, of_run)
        has_time = self.seconds is None or again <= _MOST * self.seconds
        return REPORT + test + (again if has_time else 0.0)


def seconds_of(budget: Mapping[str, Any]) -> float | None:
    """Give the seconds that the options of a budget allow; None: any.

    Raises
    ------
    InputError
    """
    money, price, minutes = (budget[name] for name in ("money", "price_per_hour", "minutes"))
    for name in ("minutes", "money", "price_per_hour"):
        if budget[name] is not None and not budget[name] > 0:
            raise InputError(f"budget.{name}={budget[name]} is out of range: choose more than 0.")
    if (money is None) != (price is None):
        raise InputError(
            "budget.money and budget.price_per_hour belong together: give both, or neither."
        )
    limits = [60 * minutes] if minutes is not None else []
    if money is not None:
        limits.append(3600 * money / price)
    if not limits and budget["trials"] is None:
        return 60 * _MINUTES
    return min(limits, default=None)


def target_of(budget: Mapping[str, Any]) -> float | None:
    """Give the loss at which a study ends; None: it does not.

    Raises
    ------
    InputError
    """
    target = budget["target_accuracy"]
    if target is None:
        return None
    if not 0 < target <= 1:
        raise InputError(f"budget.target_accuracy={target} is no share: choose 0.98 for 98 %.")
    return 1.0 - float(target)


def run_seconds(trials: Iterable[Finished]) -> float:
    """Estimate what a run takes beside its network: what the first trial took beside its own.

    That, too, started what computes and read the images, on this machine, with these images.
    """
    first = next((each for each in trials if each.number == 0), None)
    if first is None or first.status != TRIED or first.rung:
        return OF_RUN
    return max(first.seconds - first.metrics["seconds"], LEAST_OF_RUN)


def refit_seconds(winner: Finished, of_run: float) -> float:
    """Estimate the time of a run with all training images, from that of a trial."""
    return 1.4 * fold_seconds(winner) + of_run


def fold_seconds(trial: Finished) -> float:
    """Give the seconds that a trial took on one division of the images."""
    return trial.metrics["seconds"] / max(len(trial.details["folds"]), 1)
