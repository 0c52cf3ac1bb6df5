"""What a trial is to try: drawn by a proposer, and none that was tried before."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from evolve.trials.points import Labels
from evolve.trials.proposers import Proposer, given
from evolve.trials.results import LABELS
from evolve.trials.space import FAMILY, Parameter, Values, label

# Draws for one trial, before what is left is gone through.
_ATTEMPTS = 100


class Drawing:
    """Draws what trials are to try.

    The number of a trial decides what it is, and so do the trials before it, where what the number
    alone would give was tried before. With one worker, it is the same for a seed at any time. Two
    processes that draw at the same moment may draw the same.

    Parameters
    ----------
    study : optuna.Study
    proposer : Proposer
    starts : sequence of (str, Values)
        Families and values of the first trials.
    """

    def __init__(
        self, study: optuna.Study, proposer: Proposer, starts: Sequence[tuple[str, Values]]
    ) -> None:
        self._study, self._proposer, self._starts = study, proposer, tuple(starts)

    def is_ready(self, number: int) -> bool:
        """Say whether a trial can be drawn now; otherwise it waits for others to be told."""
        return number < len(self._starts) or self._proposer.is_ready(number - len(self._starts))

    def has_more(self, trials: Iterable[FrozenTrial]) -> bool:
        """Say whether there is anything that none of these has tried."""
        points = self._proposer.points()
        if points is None:
            return True
        tried = _tried(trials)
        return any(_key(each) not in tried for each in points)

    def labels(
        self, trial: FrozenTrial, trials: Iterable[FrozenTrial], fits: Callable[[str], bool]
    ) -> Labels | None:
        """Draw what a trial is to try and none of the others has; None where nothing is left.

        Parameters
        ----------
        trial : optuna.trial.FrozenTrial
        trials : iterable of optuna.trial.FrozenTrial
            The others.
        fits : callable
            Whether a family has time; others are only among the starts.
        """
        tried, drawn = _tried(trials), None
        for attempt in range(_ATTEMPTS):
            drawn = self._drawn(trial, attempt)
            if drawn is None:
                break
            is_start = not attempt and trial.number < len(self._starts)
            if _key(drawn) not in tried and (is_start or fits(drawn[FAMILY])):
                return drawn
        points = self._proposer.points()
        if points is None:
            return drawn if drawn is not None and fits(drawn[FAMILY]) else None
        return next((e for e in points if _key(e) not in tried and fits(e[FAMILY])), None)

    def keep(self, trial: FrozenTrial, labels: Labels) -> tuple[str, Values]:
        """Write down in the study what a trial is to try; give its family and its values."""
        storage, trial_id = self._study._storage, trial._trial_id
        # At once: a process that ends here does not change what is tried.
        storage.set_trial_user_attr(trial_id, LABELS, dict(labels))

        def write(name: str, parameter: Parameter) -> Any:
            if name not in trial.params:
                of = _distribution(parameter)
                storage.set_trial_param(trial_id, name, of.to_internal_repr(labels[name]), of)
            return parameter.value(labels[name])

        return self._proposer.space.proposal(write)

    def learn(self, trial: FrozenTrial, losses: Sequence[float]) -> None:
        """Let the proposer learn the losses of a trial that has ended."""
        proposal = trial.number - len(self._starts)
        if proposal >= 0:
            self._proposer.tell(proposal, trial.user_attrs.get(LABELS, {}), losses)

    def _drawn(self, trial: FrozenTrial, attempt: int) -> Labels | None:
        """Draw as a trial of Optuna does, without telling the study."""
        together = self._sampler(trial.number, 0, attempt)
        if together is None:
            return None
        study, drawn = self._study, dict[str, Any]()
        space = together.infer_relative_search_space(study, trial)
        # Those that depend on each other are drawn together.
        relative = together.sample_relative(study, trial, space)

        def draw(name: str, parameter: Parameter) -> Any:
            of = _distribution(parameter)
            if name in relative:
                value = relative[name]
            else:
                alone = self._sampler(trial.number, len(drawn) + 1, attempt) or together
                value = alone.sample_independent(study, trial, name, of)
            drawn[name] = label(parameter.value(value))
            return parameter.value(value)

        self._proposer.space.proposal(draw)
        return drawn

    def _sampler(self, number: int, place: int, attempt: int) -> BaseSampler | None:
        if number >= len(self._starts):
            return self._proposer.sampler(number - len(self._starts), place, attempt)
        if attempt:
            return self._proposer.chance(number, place, attempt)
        return given(*self._starts[number])


def _tried(trials: Iterable[FrozenTrial]) -> set[frozenset[tuple[str, Any]]]:
    return {_key(each.user_attrs[LABELS]) for each in trials if LABELS in each.user_attrs}


def _key(labels: Labels) -> frozenset[tuple[str, Any]]:
    return frozenset(labels.items())


def _distribution(parameter: Parameter) -> BaseDistribution:
    if parameter.choices:
        return CategoricalDistribution([*map(label, parameter.choices)])
    if parameter.is_whole:
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), parameter.log, step)
    return FloatDistribution(parameter.low, parameter.high, parameter.log, parameter.step)
