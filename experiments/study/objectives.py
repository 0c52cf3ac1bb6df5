"""What a study optimizes, and what its classifier may be at most."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, fields

from evolve.trials.results import TRIED, Finished
from experiments.statistics import Accuracy
from slicing.checks import one_of, positive
from slicing.errors import InputError

NAMES = ("accuracy", "bytes", "parameters", "milliseconds")
"""What can be optimized: the first is maximized, the others are minimized."""

# What no classifier loses that breaks no limit, by the names of what is optimized.
_MOST = dict.fromkeys(NAMES, 1e12) | {"accuracy": 1.0}


@dataclass(frozen=True)
class Limits:
    """What an engine may be at most; None: anything.

    Attributes
    ----------
    bytes, parameters : int or None
    milliseconds : float or None
        An image.
    """

    bytes: int | None = None
    parameters: int | None = None
    milliseconds: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            positive(each.name, getattr(self, each.name))

    def excess(self, metrics: Mapping[str, float]) -> float:
        """Say by how much the worst of the limits is broken, 0 to 1; 0: none is."""
        found = [0.0]
        for each in fields(self):
            limit = getattr(self, each.name)
            if limit is not None and metrics[each.name] > limit:
                found.append(1 - limit / metrics[each.name])
        return max(found)


@dataclass(frozen=True)
class Objectives:
    """What is minimized for the metrics of a trial.

    Attributes
    ----------
    names : tuple of str
        Some of :data:`NAMES`.
    limits : Limits
        A classifier that breaks one loses against all that break none.

    Raises
    ------
    InputError
    """

    names: tuple[str, ...] = ("accuracy",)
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if not self.names or len({*self.names}) < len(self.names):
            raise InputError(
                f"objectives={list(self.names)} has none, or one twice: give each once.",
                "objectives",
            )
        for name in self.names:
            one_of("objectives", name, NAMES)

    def __call__(self, metrics: Mapping[str, float]) -> list[float]:
        """Give the values to minimize; the more a limit is broken, the farther above all others."""
        if excess := self.limits.excess(metrics):
            return [(1 + excess) * _MOST[name] for name in self.names]
        return [1 - metrics[name] if name == "accuracy" else metrics[name] for name in self.names]

    @property
    def worst(self) -> list[float]:
        """The values for a trial that failed: above those of all limits that can be broken."""
        return [2 * _MOST[name] for name in self.names]

    def reaches(self, trial: Finished, target: float) -> bool:
        """Say whether a trial can be handed over and has an error of at most a target, 0 to 1."""
        return bool(self.valid([trial])) and 1 - trial.metrics["accuracy"] <= target

    def best(self, trials: Iterable[Finished]) -> Finished | None:
        """Choose the trial whose first objective is best; of equals, the smallest and quickest."""
        return next(iter(self.valid(trials)), None)

    def valid(self, trials: Iterable[Finished]) -> list[Finished]:
        """Give the trials that break no limit and can be handed over, the best first."""
        kept = [
            each
            for each in trials
            if each.status == TRIED and each.is_engine and not self.limits.excess(each.metrics)
        ]
        return sorted(kept, key=self._order)

    def front(self, trials: Iterable[Finished]) -> list[Finished]:
        """Give those of the valid trials that none beats in accuracy, bytes and milliseconds."""
        valid = self.valid(trials)
        return [each for each in valid if not any(_beats(other, each) for other in valid)]

    def _order(self, trial: Finished) -> tuple[float, ...]:
        metrics = trial.metrics
        costs = (metrics["bytes"], metrics["milliseconds"])
        return (*self(metrics), 1 - metrics["accuracy"], *costs, trial.number)


def _beats(one: Finished, other: Finished) -> bool:
    pairs = [(-each.metrics["accuracy"], each.metrics["bytes"], each.metrics["milliseconds"])
             for each in (one, other)]  # fmt: skip
    return pairs[0] != pairs[1] and all(a <= b for a, b in zip(*pairs, strict=True))


def accuracy_of(trial: Finished) -> Accuracy:
    """Give the accuracy of a trial on the choice images."""
    return Accuracy(int(trial.details["correct"]), int(trial.details["total"]))


def described(options: Mapping[str, object], known: Container[str] = ()) -> str:
    """Write options in a few words, without those that are known."""
    return " ".join(
        f"{name.rpartition('.')[2]}={f'{value:.3g}' if isinstance(value, float) else value}"
        for name, value in options.items()
        if name not in known
    )
