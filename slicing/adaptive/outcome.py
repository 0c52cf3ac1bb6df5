"""What a selector makes of a table: whom it asks, what is answered, what that takes."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slicing.adaptive.combination import Combination
from slicing.adaptive.selector import Selector, route
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

    @classmethod
    def of(
        cls,
        selector: Selector,
        threshold: float,
        looked: NDArray[np.float32],
        table: Table,
        combination: Combination | None = None,
    ) -> "Outcome":
        """Send the images of a table through, see :func:`.route`."""
        asked = route(selector, threshold, looked, table.ask, table.costs)
        answers = table.answers[last_asked(asked), np.arange(len(table))]
        several = np.flatnonzero(asked.sum(axis=1) > 1)
        if combination is not None and len(several):
            mean = combination.combined(asked[several], table.scores[:, several])
            answers[several] = mean.argmax(axis=1)
        return cls(asked, answers, table.costs.of(asked, bool(np.isfinite(threshold))))


def last_asked(asked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give the number of the largest member that was asked about each image, shape (n,)."""
    last: NDArray[np.int64] = asked.shape[1] - 1 - asked[:, ::-1].argmax(axis=1)
    return last


def urgencies(selector: Selector, looked: NDArray[np.float32], table: Table) -> NDArray[np.float64]:
    """Give all finite urgencies that a selector finds in a table, sorted, each once."""

    def found() -> Iterator[NDArray[np.float64]]:
        yield selector.first(looked).urgency
        for member in range(table.n_members - 1):
            yield selector.after(member, *table.ask(member, np.arange(len(table)))).urgency

    every = np.concatenate([*found()])
    return np.unique(every[np.isfinite(every)])


def oracle(table: Table) -> Outcome:
    """Ask the cheapest member that is right, else the cheapest: a ceiling that needs the labels.

    It is for evaluation alone, and no :class:`.Selector`.
    """
    right = table.right
    best = np.where(right.any(axis=0), right.argmax(axis=0), 0)
    asked = np.arange(table.n_members) == best[:, None]
    answers = table.answers[best, np.arange(len(table))]
    return Outcome(asked, answers, table.costs.of(asked, routed=False))
