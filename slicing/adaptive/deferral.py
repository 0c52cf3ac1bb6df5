"""Deferral: the member that promises the most gain for its time is asked, whichever it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from slicing.adaptive.logistic import fitted
from slicing.adaptive.neighborhood import Neighborhood, count_right, place, placed
from slicing.adaptive.selector import Decision, Selector, log_ratio, log_ratios
from slicing.adaptive.table import Table
from slicing.engine.engine import Engine
from slicing.errors import InputError


@dataclass(frozen=True, eq=False)
class Deferral(Selector):
    """Asks the larger member that promises the most gain for its time; it may skip members.

    After a member has answered, a logistic regression says of it and of each larger one how
    probable it is to be right about the image. It sees the log-ratio of the distances, the share of
    the nearest images of the *select* role about which that member was right, and the class that
    was answered. What is gained is the difference of both probabilities. Source of the rule:
    W. Jitkrittum et al., "When does confidence-based cascade deferral suffice?", NeurIPS 2023.

    Attributes
    ----------
    known : tuple of Neighborhood
        Of each member but the largest: where images of the *select* role lie by its scores.
    weights : ndarray of shape (n_members - 1, n_members, n_classes + 3), float64
        For the member that answered and the one that may be right: the intercept, the weights of
        the log-ratio, of the neighbors, and of the classes.
    milliseconds : ndarray of shape (n_members,), float64
        What asking each member takes, after a smaller one.
    """

    name: ClassVar[str] = "deferral"
    known: tuple[Neighborhood, ...]
    weights: NDArray[np.float64]
    milliseconds: NDArray[np.float64]

    @classmethod
    def fit(
        cls, table: Table, images: NDArray[np.float32], members: Sequence[Engine], **options: Any
    ) -> Self:
        """Learn how probable each member is to be right, given the answer of a smaller one."""
        n_classes = table.scores.shape[2]
        weights = np.zeros((table.n_members - 1, table.n_members, n_classes + 3))
        known = []
        for member in range(table.n_members - 1):
            answers, scores = table.ask(member, np.arange(len(table)))
            points = placed(scores)
            near, own = Neighborhood.of(points, table.right)
            known.append(near)
            # An image that is its own neighbor would tell what is to be learned.
            local = near.local_accuracy(points, own)
            ratios, classes = log_ratios(answers, scores), np.eye(n_classes)[answers]
            for other in range(member, table.n_members):
                observed = np.column_stack([ratios, local[:, other], classes])
                weights[member, other] = fitted(observed, table.right[other])
        return cls(tuple(known), weights, table.costs.after)

    def after(
        self, member: int, answers: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> Decision:
        """Ask the larger member with the most gain for a millisecond, as urgently as that is."""
        if scores.shape[1] != self.weights.shape[2] - 3:
            raise InputError(
                f"It learned from {self.weights.shape[2] - 3} classes, and these are "
                f"{scores.shape[1]}."
            )
        following = np.empty(len(answers), np.int64)
        urgency = np.empty(len(answers))
        known = self.known[member]
        _decide(
            member, answers, scores, (known.points, known.by_image, known.k),
            self.weights[member], self._milliseconds, following, urgency,
        )  # fmt: skip
        return Decision(following, urgency)

    @cached_property
    def _milliseconds(self) -> NDArray[np.float64]:
        # Members that take no time would be infinitely urgent.
        return np.maximum(self.milliseconds, 1e-6)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See :meth:`.Selector.arrays`."""
        found: dict[str, NDArray[Any]] = {
            "weights": self.weights, "milliseconds": self.milliseconds,
            "right": self.known[0].right,
        }  # fmt: skip
        return found | {f"points{number}": each.points for number, each in enumerate(self.known)}

    @classmethod
    def restored(
        cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], n_members: int
    ) -> Self:
        """See :meth:`.Selector.restored`."""
        weights, times = arrays["weights"], arrays["milliseconds"]
        if (
            weights.ndim != 3
            or weights.shape[:2] != (n_members - 1, n_members)
            or times.shape != (n_members,)
        ):
            raise InputError(f"its weights have shape {weights.shape}")
        known = tuple(
            Neighborhood.restored(arrays[f"points{number}"], arrays["right"], n_members)
            for number in range(n_members - 1)
        )
        n_classes = weights.shape[2] - 3
        if any(each.points.shape[1] != n_classes for each in known):
            raise InputError(f"its images do not lie at {n_classes} numbers")
        return cls(known, weights.astype(np.float64), times.astype(np.float64))


@njit(cache=True)
def _decide(  # type: ignore[no-untyped-def]
    member, answers, scores, known, weights, milliseconds, following, urgency
):  # fmt: skip
    """Fill ``following`` and ``urgency``: each array more would take as long as a small layer."""
    points, right, k = known
    n_members = len(weights)
    point, counts = np.empty(scores.shape[1], np.float32), np.empty(n_members)
    for i in range(len(answers)):
        place(scores[i], point)
        counts[:] = 0.0
        count_right(point, points, right, k, -1, counts)
        ratio, own, best = log_ratio(answers[i], scores[i]), 0.0, -np.inf
        following[i] = member + 1
        for other in range(member, n_members):
            of_other = weights[other]
            logit = of_other[0] + of_other[1] * ratio + of_other[2] * (counts[other] / k)
            is_right = 0.5 + 0.5 * np.tanh(0.5 * (logit + of_other[3 + answers[i]]))
            if other == member:
                own = is_right
                continue
            rate = (is_right - own) / milliseconds[other]
            if rate > best:
                following[i], best = other, rate
        urgency[i] = best
