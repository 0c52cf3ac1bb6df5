"""What a selector makes of a table: whom it asks, what is answered, what that takes."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slicing.adaptive.combination import Combination
from slicing.adaptive.selector import Decision, Selector, nobody, route
from slicing.adaptive.table import Table


class Outcome(NamedTuple):
    """What came of some images.

    Attributes
    ----------
    asked : ndarray of shape (n, n_members), bool
        Which members were asked about each image.
    answers : ndarray of shape (n,), int64
    milliseconds : ndarray of shape (n,), float64
    """

    asked: NDArray[np.bool_]
    answers: NDArray[np.int64]
    milliseconds: NDArray[np.float64]


def last_asked(asked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give the number of the largest member that was asked about each image, shape (n,)."""
    last: NDArray[np.int64] = asked.shape[1] - 1 - asked[:, ::-1].argmax(axis=1)
    return last


@dataclass(frozen=True, eq=False)
class Decisions:
    """What a selector decides about each image of a table: once, for all thresholds.

    Attributes
    ----------
    table : Table
    first : Decision
    after : tuple of Decision
        After the answer of each member, about every image.
    """

    table: Table
    first: Decision
    after: tuple[Decision, ...]

    @classmethod
    def of(cls, selector: Selector, looked: NDArray[np.float32], table: Table) -> "Decisions":
        """Let a selector decide.

        Parameters
        ----------
        selector : Selector
        looked : ndarray of shape (n, n_signals), float32
            What :meth:`.Selector.look` gave.
        table : Table
        """
        given = zip(table.answers[:-1], table.scores[:-1], strict=True)
        after = [selector.after(member, *each) for member, each in enumerate(given)]
        return cls(table, selector.first(looked), (*after, nobody(len(table))))

    def urgencies(self) -> NDArray[np.float64]:
        """Give all finite urgencies, sorted, each once."""
        every = np.concatenate([each.urgency for each in (self.first, *self.after)])
        return np.unique(every[np.isfinite(every)])

    def outcome(self, threshold: float, combination: Combination | None = None) -> Outcome:
        """Give the results of a threshold, see :func:`.route`."""
        table = self.table

        def ask(member: int, rows: NDArray[np.intp]) -> Decision:
            every = self.after[member]
            return Decision(every.member[rows], every.urgency[rows])

        asked = route(self.first, ask, threshold, table.costs)
        answers = table.answers[last_asked(asked), np.arange(len(table))]
        several = np.flatnonzero(asked.sum(axis=1) > 1)
        if combination is not None and len(several):
            mean = combination.combined(asked[several], table.scores[:, several])
            answers[several] = mean.argmax(axis=1)
        return Outcome(asked, answers, table.costs.of(asked, bool(np.isfinite(threshold))))


def oracle(table: Table) -> Outcome:
    """Ask the cheapest member that is right, else the cheapest: a ceiling that needs the labels.

    It is for evaluation alone, and no :class:`.Selector`.
    """
    right = table.right
    best = np.where(right.any(axis=0), right.argmax(axis=0), 0)
    asked = np.arange(table.n_members) == best[:, None]
    answers = table.answers[best, np.arange(len(table))]
    return Outcome(asked, answers, table.costs.of(asked, routed=False))
