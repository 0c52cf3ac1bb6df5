"""How far a study is, by what it has written down."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from evolve.trials.results import SKIPPED
from experiments.app.job import Job, State
from experiments.statistics import Accuracy

# Minutes of a study where nobody has said how many.
_MINUTES = 10.0


@dataclass(frozen=True)
class Trial:
    """A trial that has ended.

    Attributes
    ----------
    number : int
    family : str
    accuracy : Accuracy
        On the choice images.
    bytes, milliseconds : float
        Of its engine, and what an image takes.
    seconds : float
        That it took.
    minutes : float
        When it ended, after the study began.
    training : tuple of tuple of (float or None)
        The fields of :class:`slicing.baselines.Epoch`, epoch by epoch.
    is_engine : bool
        Whether it gave a classifier to take; others are there to compare with.
    """

    number: int
    family: str
    accuracy: Accuracy
    bytes: float
    milliseconds: float
    seconds: float
    minutes: float
    training: tuple[tuple[float | None, ...], ...]
    is_engine: bool


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    state : State
    asked : str
        See :class:`experiments.app.job.Job`.
    trials : tuple of Trial
        Those with a result, in the order in which they ended.
    n_failed : int
        Those without one.
    message, now : str
        What it said last, and what it does.
    left : float or None
        Seconds until it ends; None: nobody knows.
    has_engine, has_report : bool
    reason : str
        Why it has failed; empty: it has not.
    """

    state: State
    asked: str
    trials: tuple[Trial, ...] = ()
    n_failed: int = 0
    message: str = ""
    now: str = ""
    left: float | None = None
    has_engine: bool = False
    has_report: bool = False
    reason: str = ""

    @property
    def best(self) -> Trial | None:
        """The most accurate trial that gave a classifier to take."""
        return max(self._engines(), key=lambda each: each.accuracy.value, default=None)

    def bests(self) -> list[Trial]:
        """List the trials that gave a classifier better than all before."""
        found = list[Trial]()
        for each in self._engines():
            if not found or each.accuracy.value > found[-1].accuracy.value:
                found.append(each)
        return found

    def _engines(self) -> Iterator[Trial]:
        return (each for each in self.trials if each.is_engine)


class Follower:
    """Reads what a job has written since it was last asked."""

    def __init__(self, job: Job) -> None:
        self._begin(job)

    def _begin(self, job: Job) -> None:
        self._since = 0
        self._begun = 0.0
        self._trials = dict[int, Trial | None]()
        self._message = self._now = ""
        self._started = job.started

    def follow(self, job: Job) -> Progress:
        """Give the progress of the job as it is now."""
        if job.started != self._started:
            self._begin(job)
        # First the state: what it wrote before its end is read after that.
        state = job.state
        events, since = job.events(self._since)
        if since < self._since:
            self._trials.clear()
        self._since = since
        for each in events:
            self._take(each)
        trials = sorted((each for each in self._trials.values() if each), key=lambda t: t.minutes)
        return Progress(
            state,
            job.asked,
            tuple(trials),
            sum(each is None for each in self._trials.values()),
            self._message if state == State.RUNNING else "",
            self._now if state == State.RUNNING else "",
            _left(job) if state == State.RUNNING else None,
            job.engine is not None,
            job.report is not None,
            job.reason if state == State.FAILED else "",
        )

    def _take(self, event: Mapping[str, Any]) -> None:
        when = datetime.fromisoformat(event["time"]).timestamp()
        self._begun = self._begun or when
        match event["type"]:
            case "message":
                self._message = event["text"]
            case "task":
                self._now = event["name"]
            case "progress":
                self._now = event["text"] or event["task"]
            # One that there was no time for has not failed.
            case "trial" if event["status"] != SKIPPED:
                self._trials[event["number"]] = _trial(event, self._begun)


def _trial(event: Mapping[str, Any], begun: float) -> Trial | None:
    if not event["values"]:
        return None
    details, metrics = event["details"], event["metrics"]
    return Trial(
        event["number"],
        event["family"],
        Accuracy(int(details["correct"]), int(details["total"])),
        metrics["bytes"],
        metrics["milliseconds"],
        event["seconds"],
        (event["ended"] - begun) / 60,
        tuple(map(tuple, details["training"])),
        details["engine"],
    )


def _left(job: Job) -> float | None:
    """Give the seconds of its budget that are left, if its budget is one of time."""
    given = dict(word.split("=", 1) for word in job.argv if "=" in word)
    minutes = given.get("budget.minutes", "null")
    if minutes != "null":
        budget = float(minutes)
    elif job.kind == "study" and not {"budget.trials", "budget.money"} & given.keys():
        budget = _MINUTES
    else:
        return None
    return max(0.0, (job.started or time.time()) + 60 * budget - time.time())
