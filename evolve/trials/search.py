"""The search: it proposes trials, has them tried, and decides which go on."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from evolve.executors.base import Executor
from evolve.trials.proposers import WORST, Proposer, given, suggest
from evolve.trials.pruning import step_of
from evolve.trials.space import Space, Values
from slicing.checks import at_least, positive

TRIED = "tried"
"""Status of a trial that has a loss."""

# What a study keeps of a trial, besides its values.
_FAMILY, _OPTIONS, _PROPOSAL, _RUNG = "family", "options", "proposal", "rung"
_STATUS, _REASON, _METRICS, _DETAILS, _SECONDS = "status", "reason", "metrics", "details", "seconds"
_VALUES = "losses"
_KEPT = (_STATUS, _REASON, _METRICS, _DETAILS, _SECONDS, _RUNG, _OPTIONS)

_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Budget:
    """When a search ends.

    Attributes
    ----------
    seconds : float or None
        Time from its start.
    trials : int or None
        Trials that were told, those of earlier sessions included.
    target : float or None
        A loss at which it ends.

    Raises
    ------
    InputError
    """

    seconds: float | None = None
    trials: int | None = None
    target: float | None = None

    def __post_init__(self) -> None:
        positive("seconds", self.seconds)
        at_least("trials", self.trials, 1)


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
    seconds : float or None
        After which it is too late.
    """

    number: int
    family: str
    options: Mapping[str, Any]
    rung: int = 0
    seconds: float | None = None


@dataclass(frozen=True)
class Tried:
    """What came of a task.

    Attributes
    ----------
    status : str
        ``tried``, or what happened: ``refused``, ``failed``, ``memory``, ``time``, ``killed``.
    reason : str
        A sentence about what happened.
    metrics : mapping of str to float
    details : mapping of str to object
        Of the kinds of JSON.
    """

    status: str = TRIED
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Finished:
    """A trial as it stands in the study.

    Attributes
    ----------
    number : int
    family : str
    options : dict
        Of its last rung.
    rung : int
    status, reason, metrics, details
        See :class:`Tried`; of the last rung that was tried, where there is one.
    values : tuple of float
        Its losses; empty where it has none.
    is_pruned : bool
        Whether it could have gone on.
    seconds : float
        That it took, on all rungs.
    ended : float
        When it ended, in seconds since 1970.
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
    ended: float

    @property
    def is_engine(self) -> bool:
        """Whether there is an engine of it."""
        return bool(self.details.get("engine"))

    @classmethod
    def of(cls, trial: FrozenTrial) -> "Finished":
        """Read a trial of a study."""
        kept = trial.user_attrs
        is_tried = kept[_STATUS] == TRIED
        assert trial.datetime_complete is not None
        return cls(
            trial.number, kept[_FAMILY], kept[_OPTIONS], kept[_RUNG], kept[_STATUS],
            kept[_REASON], kept[_METRICS], kept[_DETAILS],
            tuple(kept[_VALUES]) if is_tried else (),
            is_tried and trial.state == TrialState.PRUNED, kept[_SECONDS],
            trial.datetime_complete.timestamp(),
        )  # fmt: skip


def finished(study: optuna.Study) -> list[Finished]:
    """Read the trials of a study that have ended, but for those that were interrupted."""
    return [Finished.of(each) for each in study.get_trials(deepcopy=False, states=_ENDED)]


class Search:
    """Iterating it tries what a space holds, and yields each trial that has ended.

    It ends by itself once the budget is used up, and by KeyboardInterrupt out of ``work``: what is
    under way is then forgotten. A later search with the same study goes on.

    Parameters
    ----------
    study : optuna.Study
        Keeps the trials.
    space : Space
    proposer : Proposer
    executor : Executor
    work : callable
        Gives a :class:`Tried` for a :class:`Task`. It does not raise but KeyboardInterrupt.
    losses : callable
        Gives the values to minimize for the metrics of a trial; the first decides who goes on.
    budget : Budget
    starts : sequence of (str, Values)
        Families and values that are tried first.
    reserve : callable
        Seconds of the budget that must be left for what comes after.
    workers : int
        Tasks at the same time, at most.

    Attributes
    ----------
    ended : str
        Why it ended: ``time``, ``trials``, ``target``, ``all tried`` or ``interrupted``.
    overhead : float
        Seconds that choosing what to try has taken.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Space,
        proposer: Proposer,
        executor: Executor[Task, Tried],
        work: Callable[[Task], Tried],
        losses: Callable[[Mapping[str, float]], Sequence[float]],
        budget: Budget,
        *,
        starts: Sequence[tuple[str, Values]] = (),
        reserve: Callable[[], float] = lambda: 0.0,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study, self._space, self._proposer = study, space, proposer
        self._executor, self._work, self._losses = executor, work, losses
        self._budget, self._reserve, self._workers = budget, reserve, workers
        self._clock, self._begun = clock, clock()
        self._starts = deque(enumerate(starts))
        self._n_starts = len(starts)
        self._n_proposed = 0
        self._again = deque[int]()
        self._running = dict[int, _Running]()
        self.ended = ""
        self.overhead = 0.0

    def __iter__(self) -> Iterator[Finished]:
        self._go_on()
        with self._executor as executor:
            executor.start(self._work, self._workers)
            try:
                while True:
                    self._fill()
                    if not self._running:
                        break
                    slot, tried = executor.wait()
                    if (ended := self._told(slot, tried)) is not None:
                        yield ended
            except KeyboardInterrupt:
                self.ended = "interrupted"
            finally:
                # They are repeated where the search goes on, and counted once.
                for running in self._running.values():
                    self._study.tell(running.trial, state=TrialState.FAIL)
        if not self.ended:
            self.ended = self._over() or "all tried"

    def _go_on(self) -> None:
        """Learn what an earlier search has found, and forget what it had under way."""
        told = dict[int, float]()
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING:
                self._study.tell(trial.number, state=TrialState.FAIL)
            elif trial.state in _ENDED:
                told[trial.user_attrs[_PROPOSAL]] = self._loss_of(trial)
        self._starts = deque(each for each in self._starts if each[0] not in told)
        own = {n - self._n_starts: loss for n, loss in told.items() if n >= self._n_starts}
        self._n_proposed = max(own, default=-1) + 1
        self._again = deque(n for n in range(self._n_proposed) if n not in own)
        for number in range(self._n_proposed):
            # A proposer of generations learns them in its own order.
            self._proposer.sampler(number)
            if number in own:
                self._proposer.tell(number, own[number])

    def _loss_of(self, trial: FrozenTrial) -> float:
        kept = trial.user_attrs
        return float(kept[_VALUES][0]) if kept[_STATUS] == TRIED else WORST

    def _over(self) -> str | None:
        """Say why nothing more is begun."""
        budget = self._budget
        ended = finished(self._study)
        if budget.seconds is not None and self._left() <= 0:
            return "time"
        if budget.trials is not None and len(ended) + len(self._running) >= budget.trials:
            return "trials"
        if budget.target is not None and any(
            each.values and each.values[0] <= budget.target for each in ended
        ):
            return "target"
        return None

    def _left(self) -> float:
        """Seconds until the last task must have ended."""
        assert self._budget.seconds is not None
        return self._budget.seconds - (self._clock() - self._begun) - self._reserve()

    def _fill(self) -> None:
        """Begin trials in the slots that are free."""
        for slot in range(self._executor.n_slots):
            if slot in self._running or self._over():
                continue
            began = self._clock()
            running = self._next()
            self.overhead += self._clock() - began
            if running is None:
                return
            self._running[slot] = running
            self._submit(slot)

    def _next(self) -> "_Running | None":
        if self._starts:
            number, (family, values) = self._starts.popleft()
            sampler = given(family, values)
        elif not self._again and not self._proposer.is_ready:
            return None
        else:
            own = self._again.popleft() if self._again else self._n_proposed
            self._n_proposed = max(self._n_proposed, own + 1)
            number, found = own + self._n_starts, self._proposer.sampler(own)
            if found is None:
                return None
            sampler = found  # type: ignore[assignment]
        self._study.sampler = sampler
        trial = self._study.ask()
        trial.set_user_attr(_PROPOSAL, number)
        family, values = self._space.proposal(partial(suggest, trial))
        trial.set_user_attr(_FAMILY, family)
        return _Running(trial, number, family, values)

    def _submit(self, slot: int) -> None:
        running = self._running[slot]
        seconds = None if self._budget.seconds is None else max(self._left(), 0.1)
        options = self._space.families[running.family].options(running.values, running.rung)
        running.options = options
        running.began = self._clock()
        number = running.trial.number
        self._executor.submit(slot, Task(number, running.family, options, running.rung, seconds))

    def _told(self, slot: int, tried: Tried) -> Finished | None:
        """Take a result; give the trial, if it has ended."""
        running = self._running[slot]
        trial, family = running.trial, self._space.families[running.family]
        running.seconds += self._clock() - running.began
        began = self._clock()
        is_single = len(self._study.directions) == 1
        if tried.status == TRIED:
            running.last = tried, running.rung, running.options
            running.losses = [*self._losses(tried.metrics)]
            goes_on = running.rung + 1 < family.n_rungs and not self._over_in_time()
            should_stop = False
            if is_single:
                trial.report(running.losses[0], step_of(running.rung))
                should_stop = goes_on and trial.should_prune()
            if goes_on and not should_stop:
                running.rung += 1
                self._submit(slot)
                self.overhead += self._clock() - began
                return None
        elif running.last is not None:
            # It fell on a later rung: what it was on the one before stays.
            tried = Tried(TRIED, tried.reason, running.last[0].metrics, running.last[0].details)
            should_stop = False
        else:
            running.losses = [WORST] * len(self._study.directions)
            running.last = tried, running.rung, running.options
            should_stop = is_single
            if is_single:
                trial.report(WORST, step_of(running.rung))
        kept = (
            tried.status, tried.reason, dict(tried.metrics), dict(tried.details), running.seconds,
            *running.last[1:],
        )  # fmt: skip
        for name, value in (*zip(_KEPT, kept, strict=True), (_VALUES, running.losses)):
            trial.set_user_attr(name, value)
        if should_stop:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, running.losses)
        if running.number >= self._n_starts:
            loss = running.losses[0] if tried.status == TRIED else WORST
            self._proposer.tell(running.number - self._n_starts, loss)
        del self._running[slot]
        self.overhead += self._clock() - began
        return Finished.of(self._study.get_trials(deepcopy=False)[trial.number])

    def _over_in_time(self) -> bool:
        return self._budget.seconds is not None and self._left() <= 0


@dataclass(eq=False)
class _Running:
    """A trial under way: ``last`` is what came of its last rung, which one, and its options."""

    trial: optuna.Trial
    number: int
    family: str
    values: Values
    rung: int = 0
    options: Values = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    last: tuple[Tried, int, Values] | None = None
    began: float = 0.0
    seconds: float = 0.0
