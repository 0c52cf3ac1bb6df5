"""What members and selectors make of the test images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.adaptive.candidates import Candidate, Looks
from experiments.reliability import auroc
from experiments.statistics import Accuracy, Comparison
from slicing.adaptive.outcome import Decisions, oracle
from slicing.adaptive.premodel import Premodel
from slicing.adaptive.table import Table

_SHARE = 0.3
"""Part of the largest member's time at which selectors are compared."""


@dataclass(frozen=True)
class SelectorFigures:
    """What a selector makes of the test images, and what was certified of it.

    Attributes
    ----------
    name : str
    bound : float
        Certified upper bound of the accuracy lost against the largest member, at the point chosen.
    flips, certify : int
        Harmful flips among the images of the *certify* role, and these.
    milliseconds : float
        Mean of an image at that point, the sum of its parts.
    times_faster : float
        Than the largest member alone.
    escalated : float
        Share of the test images about which the largest member was asked.
    test : Accuracy
    comparison : Comparison
        With the largest member.
    gap_closed : float or None
        Of the accuracy between a coin and the oracle, at 0.3 of the largest member's time, two
        points of the dial mixed by a coin; None where there is nothing between.
    auroc : float or None
        How well its urgency, where the smallest member would answer, tells images about which that
        is wrong and the largest right from the others: the area under the ROC curve; None where it
        has none.
    combined : bool
        Whether answers of several members are combined.
    own : float
        Milliseconds that the selector itself takes: what it sees first, and one decision.
    curve : tuple of (float, float)
        Mean milliseconds and accuracy on the test images, of each point of the dial.
    gave_up : Accuracy or None
        Of a premodel: what is right of its choices, where what it gives up never counts.
    cross_validated : tuple of float or None
        Of a premodel, on the *select* role: the share for which the member that it chose is right,
        and the share that it gave up.
    """

    name: str
    bound: float
    flips: int
    certify: int
    milliseconds: float
    times_faster: float
    escalated: float
    test: Accuracy
    comparison: Comparison
    gap_closed: float | None
    auroc: float | None
    combined: bool
    own: float
    curve: tuple[tuple[float, float], ...]
    gave_up: Accuracy | None = None
    cross_validated: tuple[float, float] | None = None


@dataclass(frozen=True)
class ClassOutcome:
    """What the system makes of the test images of one class.

    Attributes
    ----------
    name : str
    test : Accuracy
    largest : float
        Share about which the largest member is right.
    milliseconds : float
        Mean, the sum of its parts.
    escalated : float
        Share about which the largest member was asked.
    """

    name: str
    test: Accuracy
    largest: float
    milliseconds: float
    escalated: float


def by_class(candidate: Candidate, table: Table, looks: Looks) -> tuple[ClassOutcome, ...]:
    """Send the test images through a system, and tell classes apart; see :func:`evaluated`.

    Classes without test images are left out.
    """
    system = candidate.system
    decisions = candidate.decisions(table, looks.of(system.selector, system.engines))
    found = decisions.outcome(float(system.dial.thresholds[system.point]), system.combination)
    return tuple(
        ClassOutcome(
            name,
            Accuracy.of(found.answers[rows], table.labels[rows]),
            float(table.right[-1, rows].mean()),
            float(found.milliseconds[rows].mean()),
            float(found.asked[rows, -1].mean()),
        )
        for label, name in enumerate(system.classes)
        if (rows := table.labels == label).any()
    )


def evaluated(candidate: Candidate, table: Table, looks: Looks, loss: float) -> SelectorFigures:
    """Send the test images through a system, at each point of its dial.

    Parameters
    ----------
    candidate : Candidate
    table : Table
        Of the test images.
    looks : Looks
        At the same.
    loss : float
        That was asked for: what is certified is this, and not the bound of the point.
    """
    system, dial = candidate.system, candidate.system.dial
    selector = system.selector
    looked = looks.of(selector, system.engines)
    decisions = candidate.decisions(table, looked)
    outcomes = [decisions.outcome(float(each), system.combination) for each in dial.thresholds]
    at = outcomes[system.point]
    accuracies = [float((each.answers == table.labels).mean()) for each in outcomes]
    times = [float(each.milliseconds.mean()) for each in outcomes]
    largest = float(table.costs.alone[-1])
    gave_up = None
    if isinstance(selector, Premodel):
        is_chosen = selector.chosen_members(looked) < table.n_members
        right = (decisions.outcome(0.0).answers == table.labels) & is_chosen
        gave_up = Accuracy(int(right.sum()), len(table))
    return SelectorFigures(
        name=candidate.name,
        # The largest member alone loses nothing.
        bound=0.0 if system.point == 0 else loss,
        flips=int(dial.flips[system.point]),
        certify=dial.n,
        milliseconds=float(at.milliseconds.mean()),
        times_faster=largest / float(at.milliseconds.mean()),
        escalated=float(at.asked[:, -1].mean()),
        test=Accuracy.of(at.answers, table.labels),
        comparison=Comparison.of(table.answers[-1], at.answers, table.labels),
        gap_closed=_gap_closed(table, dial.milliseconds, dial.accuracies, accuracies),
        auroc=_auroc(decisions),
        combined=system.combination is not None,
        own=system.costs.look + system.costs.decide,
        curve=tuple(zip(times, accuracies, strict=True)),
        gave_up=gave_up,
        cross_validated=candidate.cross_validated,
    )


def _auroc(decisions: Decisions) -> float | None:
    """Judge the urgency to ask another member than the smallest, whichever decision has it."""
    urgency = np.maximum(decisions.first.urgency, decisions.after[0].urgency)
    if not np.isfinite(urgency).all():
        return None
    right = decisions.table.right
    return auroc(urgency, ~right[0] & right[-1])


def _gap_closed(
    table: Table,
    milliseconds: NDArray[np.float64],
    chosen_by: NDArray[np.float64],
    accuracies: Sequence[float],
) -> float | None:
    """Give the part of the gap between a coin and the oracle that is closed within a time.

    Two points of the dial are mixed by a coin, as members are for the floor. They are chosen by
    the *select* role, and their times are those of the *certify* role.
    """
    budget = _SHARE * float(table.costs.alone[-1])
    best = oracle(table)
    ends = float(best.milliseconds.mean()), float((best.answers == table.labels).mean())
    cheapest = float(table.costs.alone[0]), float(table.right[0].mean())
    ceiling = ends[1]
    if ends[0] > budget:
        ceiling = float(np.interp(budget, [cheapest[0], ends[0]], [cheapest[1], ends[1]]))
    own, right = mixed(milliseconds, chosen_by, budget), table.right.mean(axis=1)
    null = mixed(table.costs.alone, right, budget)
    if own is None or null is None:
        return None
    floor = float(null @ right)
    if ceiling - floor < 1 / len(table):
        return None
    return (float(own @ np.array(accuracies)) - floor) / (ceiling - floor)


def mixed(
    milliseconds: NDArray[np.float64], accuracies: NDArray[np.float64], budget: float
) -> NDArray[np.float64] | None:
    """Mix two points by a coin, so that they are most accurate within a mean time.

    Parameters
    ----------
    milliseconds, accuracies : ndarray of shape (n_points,), float64
    budget : float

    Returns
    -------
    ndarray of shape (n_points,), float64, or None
        Each one's share, which sum to 1. None where no point fits.
    """
    within = np.flatnonzero(milliseconds <= budget)
    if not len(within):
        return None
    shares, reached = np.zeros(len(milliseconds)), -1.0
    for low in within:
        for high in range(len(milliseconds)):
            rest, more = budget - milliseconds[low], milliseconds[high] - milliseconds[low]
            share = 0.0 if high == low else min(1.0, rest / more) if more > 0.0 else 1.0
            found = (1.0 - share) * accuracies[low] + share * accuracies[high]
            if found > reached:
                reached = found
                shares[:] = 0.0
                shares[high] = share
                shares[low] += 1.0 - share
    return shares
