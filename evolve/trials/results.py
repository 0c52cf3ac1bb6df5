"""What a worker is given to try, its result, and what a study keeps of both."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import optuna
from optuna.trial import FrozenTrial, TrialState

from evolve.trials.space import FAMILY, Values

TRIED = "tried"
"""Status of a task that has a loss."""

TIME, SKIPPED = "time", "skipped"
"""Status of a task that took too long; of one that would not have ended within the budget, by an
estimate, and was not begun or soon ended."""

PROCESS, LABELS, RUNGS, PRUNED, UNTIMELY = "process", "labels", "rungs", "pruned", "untimely"
"""What a study keeps of a trial besides its values. Who tries it now (empty: nobody); all that was
drawn for it; what came of its rungs; whether others were better; the rung that was skipped."""


@dataclass(frozen=True)
class Task:
    """What a worker tries.

    Attributes
    ----------
    number : int
        Of the trial, within the study.
    family : str
    options : mapping of str to object
    rung : int
        From 0.
    seconds : float or None
        After which it is too late; None: any time will do.
    left : float or None
        Of the budget. The first trial may take more, and then does no more than it must.
    """

    number: int
    family: str
    options: Mapping[str, Any]
    rung: int = 0
    seconds: float | None = None
    left: float | None = None


@dataclass(frozen=True)
class Tried:
    """What came of a task.

    Attributes
    ----------
    status : str
        ``tried``, or what happened: ``refused``, ``failed``, ``memory``, ``time``, ``killed``; or
        ``skipped``, which is no failure.
    reason : str
        A sentence about what happened.
    metrics : mapping of str to float
        Of a skipped one ``seconds``, its estimate.
    details : mapping of str to object
        Of the kinds of JSON.
    """

    status: str = TRIED
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rung:
    """What came of a rung, as a study keeps it.

    Attributes
    ----------
    status, reason, metrics, details
        See :class:`Tried`.
    options : dict
        That were tried.
    losses : list of float
        Those of a failure are worse than all others.
    seconds : float
        That it took.
    process : str
        Who tried it, see :class:`~evolve.trials.search.Search`.
    ended : float
        When it ended, in seconds since 1970.
    """

    status: str
    reason: str
    metrics: Mapping[str, float]
    details: Mapping[str, Any]
    options: Values
    losses: list[float]
    seconds: float
    process: str
    ended: float = 0.0


@dataclass(frozen=True)
class Finished:
    """A trial that has ended, was left or was skipped, as it stands in the study.

    Attributes
    ----------
    number : int
    family : str
    options : dict
        Of its last rung that was tried, where there is one, otherwise of the one that failed.
    rung : int
        Which one that is, from 0.
    status, metrics, details, process
        Of that rung, see :class:`Rung`.
    reason : str
        What ended the trial, where it failed, on this rung or on the next.
    values : tuple of float
        Its losses; empty where it has none.
    is_pruned : bool
        Whether it could have gone on: others were better.
    seconds : float
        That it took, on all rungs.
    ended : float
        When its last rung ended, in seconds since 1970.
    is_left : bool
        Whether it could go on: the search ended before it.
    """

    number: int
    family: str
    options: Values
    rung: int
    status: str
    reason: str
    metrics: dict[str, float]
    details: dict[str, Any]
    values: tuple[float, ...]
    is_pruned: bool
    seconds: float
    ended: float = 0.0
    process: str = ""
    is_left: bool = False

    @property
    def is_engine(self) -> bool:
        """Whether there is an engine of it."""
        return bool(self.details.get("engine"))

    @classmethod
    def of(cls, trial: FrozenTrial) -> "Finished":
        """Read a trial of a study."""
        rungs = rungs_of(trial)
        if skipped := trial.user_attrs.get(UNTIMELY):
            rungs.append(Rung(**skipped))
        place = max(n_tried(rungs) - 1, 0)
        rung, last = rungs[place], rungs[-1]
        return cls(
            number=trial.number,
            family=trial.params[FAMILY],
            options=rung.options,
            rung=place,
            status=rung.status,
            reason=last.reason,
            metrics=dict(rung.metrics),
            details=dict(rung.details),
            values=tuple(rung.losses) if rung.status == TRIED else (),
            is_pruned=bool(trial.user_attrs.get(PRUNED)),
            seconds=sum(each.seconds for each in rungs),
            ended=last.ended,
            process=rung.process,
            is_left=not trial.state.is_finished(),
        )


class Goal(Protocol):
    """What a search minimizes."""

    @property
    def worst(self) -> Sequence[float]:
        """The losses of a trial that failed: each is above all that it has for metrics."""

    def __call__(self, metrics: Mapping[str, float]) -> Sequence[float]:
        """Give the losses for the metrics of a trial; the first decides who goes on."""

    def reaches(self, trial: Finished, target: float) -> bool:
        """Say whether a trial that was tried is as good as a target, so that it may be the last."""


def rungs_of(trial: FrozenTrial) -> list[Rung]:
    """Read what came of the rungs of a trial."""
    return [Rung(**each) for each in trial.user_attrs.get(RUNGS, [])]


def n_tried(rungs: list[Rung]) -> int:
    """Count the rungs that have a loss: all but one that failed, which is the last."""
    return sum(each.status == TRIED for each in rungs)


def finished(study: optuna.Study) -> list[Finished]:
    """Read the trials of a study that have ended, were left after a rung, or were skipped."""
    states = (TrialState.COMPLETE, TrialState.RUNNING)
    trials = study.get_trials(deepcopy=False, states=states)
    return [Finished.of(each) for each in trials if each.state.is_finished() or was_left(each)]


def was_left(trial: FrozenTrial) -> bool:
    """Say whether a trial that nobody tries now was left after a rung, or skipped."""
    known = trial.user_attrs
    return not known.get(PROCESS) and (n_tried(rungs_of(trial)) > 0 or bool(known.get(UNTIMELY)))


def quickest(trials: Iterable[FrozenTrial]) -> dict[str, float]:
    """Give, by families, the fewest seconds that a first rung took, or by an estimate would take.

    Families of which no trial tells it are not there.
    """
    found = dict[str, float]()
    for trial in trials:
        rungs, skipped = rungs_of(trial), trial.user_attrs.get(UNTIMELY)
        known = [rungs[0].seconds] if n_tried(rungs) else []
        if skipped and not rungs:
            known = [skipped["metrics"]["seconds"]]
        for seconds in known:
            family = trial.params[FAMILY]
            found[family] = min(seconds, found.get(family, seconds))
    return found
