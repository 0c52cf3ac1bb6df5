"""The contract of what selects members, image by image, and the way of images through members.

Members are asked in ascending order of what they cost. Each decision names the member to ask next
and how urgent that is; the dial of a system is one threshold of urgency, see
:mod:`slicing.adaptive.dial`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from slicing.adaptive.table import Costs, Table
from slicing.engine.engine import Engine
from slicing.engine.evidence import margin

# Margins count as this at most: of 1, the logarithm is infinite.
_WIDEST = 0.9999

LARGEST, SMALLEST = -np.inf, np.inf
"""Thresholds of the ends of the dial: the largest member alone, and the smallest."""


class Decision(NamedTuple):
    """Which member to ask next about each image, and how urgent that is.

    Attributes
    ----------
    member : ndarray of shape (n,), int64
    urgency : ndarray of shape (n,), float64
        It is asked where this is above the threshold; otherwise the answer stands.
    """

    member: NDArray[np.int64]
    urgency: NDArray[np.float64]


class Selector(ABC):
    """Decides which members are asked about an image.

    A subclass learns from images of the *select* role alone, in its ``fit``. It says the same of an
    image whatever others stand beside it.

    Attributes
    ----------
    name : str
        Of the kind, in files and reports.
    """

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def fit(
        cls,
        table: Table,
        images: NDArray[np.float32],
        members: Sequence[Engine],
        **options: Any,
    ) -> Self:
        """Learn from the members' answers to the images of the *select* role.

        Parameters
        ----------
        table : Table
        images : ndarray of shape (n, height, width, channels), float32
            Those that the table is about.
        members : sequence of Engine
            Those that answered.
        **options
            Of the selector.
        """

    def look(self, images: NDArray[np.float32], members: Sequence[Engine]) -> NDArray[np.float32]:
        """Look at images before any member is asked; by default, at nothing.

        Returns
        -------
        ndarray of shape (n, n_signals), float32
        """
        return np.zeros((len(images), 0), np.float32)

    def first(self, looked: NDArray[np.float32]) -> Decision:
        """Decide whom to ask instead of the smallest member; by default, nobody."""
        return nobody(len(looked))

    def after(
        self, member: int, answers: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> Decision:
        """Decide whom to ask after a member has answered; by default, nobody.

        Parameters
        ----------
        member : int
            Not the largest.
        answers : ndarray of shape (n,), int64
        scores : ndarray of shape (n, n_classes), float32
        """
        return nobody(len(answers))

    def settings(self) -> dict[str, Any]:
        """Describe all but the arrays by what JSON can express."""
        return {}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Give what was learned, by name."""
        return {}

    @classmethod
    @abstractmethod
    def restored(
        cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], n_members: int
    ) -> Self:
        """Make a selector of what :meth:`settings` and :meth:`arrays` gave.

        Raises
        ------
        InputError, LookupError, TypeError, ValueError
            Where it does not fit together.
        """


def nobody(n: int) -> Decision:
    """Decide that the answers to n images stand."""
    return Decision(np.zeros(n, np.int64), np.full(n, -np.inf))


def route(
    first: Decision,
    ask: Callable[[int, NDArray[np.intp]], Decision],
    threshold: float,
    costs: Costs,
    deadline: float = np.inf,
) -> NDArray[np.bool_]:
    """Send images through members: those that go on to a member are asked about together.

    Parameters
    ----------
    first : Decision
        Of :meth:`Selector.first`, about all images.
    ask : callable
        Takes the number of a member and the rows of images, asks the member about them, and gives
        what :meth:`Selector.after` then decides.
    threshold : float
        Of urgency; :data:`LARGEST` and :data:`SMALLEST` ask one member alone.
    costs : Costs
    deadline : float
        Milliseconds that the members asked about an image may take together. Where not even the
        smallest fits, it is asked.

    Returns
    -------
    ndarray of shape (n, n_members), bool
        Which members were asked about each image.
    """
    n, n_members = len(first.member), len(costs.alone)
    # The largest that fits takes the place of one that does not.
    most = n_members - 1
    if deadline < np.inf:
        most = int(np.flatnonzero(costs.alone <= deadline).max(initial=0))
    if n == 1:
        return _route_one(first, ask, threshold, costs, (deadline, most))
    is_single = not np.isfinite(threshold)
    at = np.full(n, most if threshold == LARGEST else 0)
    if not is_single:
        at = np.minimum(np.where(first.urgency > threshold, first.member, at), most)
    spent = costs.alone[at]
    asked = np.zeros((n, n_members), np.bool_)
    for member in range(n_members):
        rows = np.flatnonzero(at == member)
        if not len(rows):
            continue
        following, urgency = ask(member, rows)
        asked[rows, member] = True
        if is_single:
            continue
        after = spent[rows] + costs.after[following]
        goes_on = (urgency > threshold) & (following > member) & (after <= deadline)
        at[rows[goes_on]], spent[rows[goes_on]] = following[goes_on], after[goes_on]
    return asked


def _route_one(
    first: Decision,
    ask: Callable[[int, NDArray[np.intp]], Decision],
    threshold: float,
    costs: Costs,
    limits: tuple[float, int],
) -> NDArray[np.bool_]:
    """Do the same for one image, without arrays: these would take as long as a small member."""
    deadline, most = limits
    is_single = threshold in (LARGEST, SMALLEST)
    asked, row = np.zeros((1, len(costs.alone)), np.bool_), np.zeros(1, np.intp)
    at = most if threshold == LARGEST else 0
    if not is_single and first.urgency[0] > threshold:
        at = min(int(first.member[0]), most)
    spent = float(costs.alone[at])
    while True:
        decision = ask(at, row)
        asked[0, at] = True
        following, urgency = int(decision.member[0]), decision.urgency[0]
        after = spent + float(costs.after[following])
        if is_single or not (urgency > threshold and following > at and after <= deadline):
            return asked
        at, spent = following, after


def log_ratios(answers: NDArray[np.int64], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give the logarithm of the ratio of distances, to another class and to the answer.

    It ranks images as their margins do, see :class:`slicing.engine.evidence.Evidence`, and is near
    to what a logistic regression takes: shape (n,), float64.
    """
    ratios = np.empty(len(answers))
    _fill_log_ratios(answers, scores, ratios)
    return ratios


@njit(cache=True)
def _fill_log_ratios(answers, scores, ratios):  # type: ignore[no-untyped-def]
    for i in range(len(answers)):
        ratios[i] = log_ratio(answers[i], scores[i])


@njit(cache=True)
def log_ratio(answer, scores):  # type: ignore[no-untyped-def]
    """Do the same for one image."""
    found = margin(answer, scores.astype(np.float64))
    return 2.0 * np.arctanh(min(max(found, -_WIDEST), _WIDEST))
