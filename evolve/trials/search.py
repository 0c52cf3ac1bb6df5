"""The search: it proposes trials, has them tried, and decides which go on."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from evolve.executors.base import Executor
from evolve.trials.budget import Budget
from evolve.trials.drawing import Drawing
from evolve.trials.proposers import Given, Proposer
from evolve.trials.pruning import Pruner
from evolve.trials.results import (
    LABELS,
    PROCESS,
    PRUNED,
    RUNGS,
    SKIPPED,
    TIME,
    TRIED,
    UNTIMELY,
    Finished,
    Goal,
    Rung,
    Task,
    Tried,
    n_tried,
    quickest,
    rungs_of,
    was_left,
)
from evolve.trials.space import Space, Values

# Seconds that the first trial has, whatever the budget: the shortest search finds something.
_FIRST = 300.0


@dataclass(frozen=True)
class _Seen:
    """How a study stands: its trials, those that count, and those of others that are under way."""

    trials: list[FrozenTrial]
    n_counted: int
    others: list[FrozenTrial]
    left: list[FrozenTrial]


class Search:
    """Iterating it tries what a space holds, and yields each trial that has ended.

    It ends by itself once the budget is used up, but not before it has tried something, and by
    KeyboardInterrupt out of ``work``. What would take longer than the time that is left, by what
    trials of its family have taken or by an estimate of ``work``, is *skipped*: it is yielded, too,
    and a later search with more time tries it. Trials that are then under way are *left*: those
    that have passed a rung are yielded, too, and a later search with the same study goes on with
    all of them, from the rung that comes next. What is proposed depends on a trial's number and on
    the trials before it alone (:class:`~evolve.trials.drawing.Drawing`), so that with one worker
    the trials are those of a search that nothing interrupted.

    Several processes, on several machines, may search in one study at the same time. Each proposes
    the next number. A process that has to wait for the trial of another tries it, too, and what is
    told first counts.

    Parameters
    ----------
    study : optuna.Study
        Keeps the trials; all of its directions are ``minimize``.
    space : Space
    proposer : Proposer
    executor : Executor
    work : callable
        Gives a :class:`~evolve.trials.results.Tried` for a :class:`~evolve.trials.results.Task`.
        It does not raise but KeyboardInterrupt.
    goal : Goal
        What is minimized.
    budget : Budget
    pruner : callable
        See :data:`evolve.trials.pruning.Pruner`.
    starts : sequence of (str, Values)
        Families and values that are tried first.
    reserve : callable
        Seconds of the budget that must be left for what comes after.
    workers : int
        Tasks at the same time, at most.
    process : str
        Names this process in the trials that it tries.
    has_ended : callable
        Whether the process of a name has ended, as far as is known here: trials that it left are
        tried again. The default is right where no other process searches in the study.
    begins : callable
        Is told each task as it begins.
    clock : callable
        Gives the time in seconds.

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
        goal: Goal,
        budget: Budget,
        *,
        pruner: Pruner,
        starts: Sequence[tuple[str, Values]] = (),
        reserve: Callable[[], float] = lambda: 0.0,
        workers: int = 1,
        process: str = "this",
        has_ended: Callable[[str], bool] = lambda name: True,
        begins: Callable[[Task], None] = lambda task: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study, self._space = study, space
        self._drawing = Drawing(study, proposer, starts)
        self._executor, self._work, self._goal = executor, work, goal
        self._budget, self._reserve, self._workers = budget, reserve, workers
        self._pruner, self._begins = pruner, begins
        self._process, self._has_ended = process, has_ended
        self._clock, self._begun = clock, clock()
        self._running = dict[int, _Running]()
        self._learned, self._skipped = set[int](), set[int]()
        self._lacks_time = False
        self._has_reached = False
        self.ended = ""
        self.overhead = 0.0

    def __iter__(self) -> Iterator[Finished]:
        for trial in self._seen().left:
            if trial.user_attrs.get(PROCESS):
                self._leave(trial._trial_id)
        left = list[Finished | None]()
        with self._executor as executor:
            executor.start(self._work, self._workers)
            try:
                while True:
                    yield from self._fill()
                    if not self._running:
                        break
                    slot, tried = executor.wait()
                    began = self._clock()
                    ended = self._told(slot, tried)
                    self.overhead += self._clock() - began
                    if ended is not None:
                        yield ended
            except KeyboardInterrupt:
                self.ended = "interrupted"
            finally:
                left += [self._let_go(slot) for slot in tuple(self._running)]
        yield from filter(None, left)

    def _fill(self) -> Iterator[Finished]:
        """Begin trials in the slots that are free; give those that need no more work."""
        for slot in range(self._executor.n_slots):
            while slot not in self._running:
                began = self._clock()
                seen = self._seen()
                self.ended = self._over(seen) or ""
                running = None if self.ended else self._next(seen)
                ended = None
                if running is not None:
                    self._running[slot] = running
                    ended = self._after(slot)
                self.overhead += self._clock() - began
                if ended is not None:
                    yield ended
                if running is None:
                    self.ended = self.ended or ("time" if self._lacks_time else "all tried")
                    return

    def _seen(self) -> _Seen:
        """Look at the trials of the study, and learn from those that have ended."""
        trials = self._study.get_trials(deepcopy=False)
        running = [each for each in trials if each.state == TrialState.RUNNING]
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._learned:
                self._learned.add(trial.number)
                self._learn(trial)
        own = {each.number for each in self._running.values()}
        others = [each for each in running if each.number not in own]
        left = [each for each in others if self._is_left(each)]
        n_failed = sum(each.state == TrialState.FAIL for each in trials)
        return _Seen(trials, len(trials) - n_failed - len(left), others, left)

    def _learn(self, trial: FrozenTrial) -> None:
        rungs = rungs_of(trial)
        n = n_tried(rungs)
        losses = rungs[max(n - 1, 0)].losses if rungs else self._goal.worst
        if n and self._budget.target is not None:
            self._has_reached |= self._goal.reaches(Finished.of(trial), self._budget.target)
        self._drawing.learn(trial, losses)

    def _is_left(self, trial: FrozenTrial) -> bool:
        process = trial.user_attrs.get(PROCESS, "")
        return not process or self._has_ended(process)

    def _over(self, seen: _Seen) -> str | None:
        """Say why nothing more is begun."""
        budget = self._budget
        if self._is_over_in_time() and seen.trials:
            return "time"
        if self._has_reached:
            return "target"
        if budget.trials is not None and seen.n_counted >= budget.trials:
            return "trials"
        return None

    def _left(self) -> float:
        """Seconds until the last task must have ended."""
        if self._budget.seconds is None:
            return math.inf
        return self._budget.seconds - (self._clock() - self._begun) - self._reserve()

    def _is_over_in_time(self) -> bool:
        return self._left() <= 0

    def _next(self, seen: _Seen) -> "_Running | None":
        """Begin a trial: one that was left, or the next; None where there is none now."""
        for trial in seen.left:
            if trial.number not in self._skipped and self._can_begin(trial):
                return self._begun_trial(trial)
        if not self._drawing.has_more(seen.trials):
            return None
        if not self._drawing.is_ready(len(seen.trials)):
            waits_for = [] if self._running else filter(self._can_begin, seen.others)
            return next(map(self._begun_trial, waits_for), None)
        self._study.sampler = Given({})
        trial = self._study._storage.get_trial(self._study.ask()._trial_id)
        # Where another process has taken the last of a generation, this one waits for the next.
        return self._begun_trial(trial) if self._can_begin(trial) else self._next(self._seen())

    def _can_begin(self, trial: FrozenTrial) -> bool:
        return LABELS in trial.user_attrs or self._drawing.is_ready(trial.number)

    def _begun_trial(self, trial: FrozenTrial) -> "_Running | None":
        """Draw what a trial is to try, where that is not known."""
        self._keep(trial._trial_id, PROCESS, self._process)
        self._keep(trial._trial_id, UNTIMELY, None)
        labels = trial.user_attrs.get(LABELS)
        if labels is None:
            trials = self._study.get_trials(deepcopy=False)
            known = quickest(trials)
            labels = self._drawing.labels(trial, trials, lambda name: self._fits(known.get(name)))
        if labels is None:
            self._study.tell(trial.number, state=TrialState.FAIL)
            return None
        family, values = self._drawing.keep(trial, labels)
        return _Running(trial.number, trial._trial_id, family, values, rungs=rungs_of(trial))

    def _fits(self, seconds: float | None) -> bool:
        """Say whether there is so much time; any is enough for what is not known."""
        fits = seconds is None or seconds <= self._left()
        self._lacks_time |= not fits
        return fits

    def _submit(self, slot: int) -> Finished | None:
        """Have the next rung of a trial tried; give the trial where there is no time for it."""
        running, limit = self._running[slot], self._budget.trial_seconds
        left, rung = self._left(), len(running.rungs)
        options = self._space.families[running.family].options(running.values, rung)
        running.options, running.began = options, self._clock()
        is_first = running.number == 0 and not rung
        if left < math.inf and not is_first:
            # A rung takes no less than the one before.
            known = quickest(self._study.get_trials(deepcopy=False)).get(running.family)
            needs = running.rungs[-1].seconds if rung else known
            if needs is not None and not self._fits(needs):
                of = "Its rung before" if rung else f"The quickest of {running.family}"
                reason = f"{of} took {needs:.0f} s, and {max(left, 0):.0f} s were left."
                return self._skip(slot, Tried(SKIPPED, reason, {"seconds": needs}))
        whole = max(left, _FIRST) if is_first else left
        if limit is not None:
            whole = min(whole, limit - sum(each.seconds for each in running.rungs))
        task = Task(
            running.number, running.family, options, rung,
            None if whole == math.inf else max(whole, 0.1), None if left == math.inf else left,
        )  # fmt: skip
        self._executor.submit(slot, task)
        self._begins(task)
        return None

    def _told(self, slot: int, tried: Tried) -> Finished | None:
        """Take a result; give the trial, if it has ended."""
        running = self._running[slot]
        if tried.status == TIME and self._is_over_in_time():
            # It has not failed: there was no time for it.
            return self._let_go(slot)
        if tried.status == SKIPPED:
            return self._skip(slot, tried)
        losses = [*self._goal.worst]
        if tried.status == TRIED:
            found = [float(each) for each in self._goal(tried.metrics)]
            if any(map(math.isnan, found)):
                tried = Tried("failed", "Its loss is not a number.")
            else:
                losses = found
        running.rungs.append(self._rung(running, tried, losses))
        return self._after(slot)

    def _rung(self, running: "_Running", tried: Tried, losses: list[float]) -> Rung:
        return Rung(
            tried.status, tried.reason, dict(tried.metrics), dict(tried.details), running.options,
            losses, self._clock() - running.began, self._process, time.time(),
        )  # fmt: skip

    def _skip(self, slot: int, tried: Tried) -> Finished | None:
        """Leave a trial to who has more time, and go on with others."""
        running, worst = self._running[slot], [*self._goal.worst]
        self._lacks_time = True
        self._skipped.add(running.number)
        self._keep(running.trial_id, UNTIMELY, asdict(self._rung(running, tried, worst)))
        trial = self._study.get_trials(deepcopy=False)[running.number]
        # A generation does not wait for it.
        self._drawing.learn(trial, worst)
        return self._let_go(slot)

    def _after(self, slot: int) -> Finished | None:
        """Keep what came of a trial; end it, leave it for want of time, or let it go on."""
        running = self._running[slot]
        if not running.rungs:
            return self._submit(slot)
        # Another process that tried it, too, may have told it.
        with suppress(UpdateFinishedTrialError):
            self._keep(running.trial_id, RUNGS, [asdict(each) for each in running.rungs])
            if self._goes_on(running):
                if self._is_over_in_time():
                    return self._let_go(slot)
                return self._submit(slot)
            self._end(running)
        del self._running[slot]
        return Finished.of(self._study.get_trials(deepcopy=False)[running.number])

    def _has_more(self, running: "_Running") -> bool:
        """Say whether a trial has not failed, and not passed its last rung."""
        n_rungs = self._space.families[running.family].n_rungs
        return n_tried(running.rungs) == len(running.rungs) < n_rungs

    def _goes_on(self, running: "_Running") -> bool:
        rung, number = len(running.rungs) - 1, running.number
        if not self._has_more(running):
            return False
        others = dict[int, float]()
        for trial in self._study.get_trials(deepcopy=False):
            rungs = trial.user_attrs.get(RUNGS, [])
            if len(rungs) > rung and rungs[rung]["status"] == TRIED and trial.number != number:
                others[trial.number] = rungs[rung]["losses"][0]
        return self._pruner(number, rung, running.rungs[rung].losses[0], others)

    def _end(self, running: "_Running") -> None:
        """Tell the study the losses of the last rung that was tried."""
        self._keep(running.trial_id, PRUNED, self._has_more(running))
        # Not as pruned, as Optuna has it: to its samplers those are worse than all others, however
        # small their losses, and of several losses they learn nothing.
        losses = running.rungs[max(n_tried(running.rungs) - 1, 0)].losses
        self._study.tell(running.number, losses, skip_if_finished=True)

    def _let_go(self, slot: int) -> Finished | None:
        """Leave a trial to who goes on; give it, if it has passed a rung."""
        running = self._running.pop(slot)
        self._leave(running.trial_id)
        trial = self._study.get_trials(deepcopy=False)[running.number]
        return Finished.of(trial) if was_left(trial) else None

    def _leave(self, trial_id: int) -> None:
        with suppress(UpdateFinishedTrialError):
            self._keep(trial_id, PROCESS, "")

    def _keep(self, trial_id: int, name: str, value: Any) -> None:
        self._study._storage.set_trial_user_attr(trial_id, name, value)


@dataclass(eq=False)
class _Running:
    """A trial under way: ``rungs`` is what came of it so far."""

    number: int
    trial_id: int
    family: str
    values: Values
    options: Values = field(default_factory=dict)
    rungs: list[Rung] = field(default_factory=list)
    began: float = 0.0
