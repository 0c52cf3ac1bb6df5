"""What members answer to some images, and what it costs to ask them."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from slicing.errors import InputError


@dataclass(frozen=True, eq=False)
class Costs:
    """What a decision and its members take, in milliseconds an image, measured one at a time.

    Attributes
    ----------
    alone : ndarray of shape (n_members,), float64
        Of each member as an engine alone; in ascending order.
    after : ndarray of shape (n_members,), float64
        Of each, asked after a smaller one, some of whose work it may take over.
    look : float
        Of what the selector sees and decides before any member is asked.
    decide : float
        Of one decision after a member's answer.
    dispatch : float
        Of all that is around them.
    """

    alone: NDArray[np.float64]
    after: NDArray[np.float64]
    look: float = 0.0
    decide: float = 0.0
    dispatch: float = 0.0

    def __post_init__(self) -> None:
        times = np.concatenate([self.alone, self.after, [self.look, self.decide, self.dispatch]])
        if len(self.alone) != len(self.after) or not (times >= 0.0).all():
            raise InputError("Costs are times of 0 ms or more, one for each member.")

    def of(self, asked: NDArray[np.bool_], routed: bool = True) -> NDArray[np.float64]:
        """Add up what images took.

        Parameters
        ----------
        asked : ndarray of shape (n, n_members), bool
            Which members were asked about each image.
        routed : bool
            Whether a selector decided; otherwise one member was asked at once.

        Returns
        -------
        ndarray of shape (n,), float64
        """
        first = asked.argmax(axis=1)
        total = asked @ self.after + self.alone[first] - self.after[first]
        if routed:
            # After the largest member there is nothing to decide.
            total = total + self.look + self.dispatch + self.decide * asked[:, :-1].sum(axis=1)
        milliseconds: NDArray[np.float64] = total
        return milliseconds


@dataclass(frozen=True, eq=False)
class Table:
    """What each member makes of some images.

    Attributes
    ----------
    labels : ndarray of shape (n,), int64
        The true classes.
    answers : ndarray of shape (n_members, n), int64
        The members' answers, in ascending order of their costs.
    scores : ndarray of shape (n_members, n, n_classes), float32
        Distances to the nearest reference of each class, see :meth:`.Engine.scores`.
    costs : Costs
    """

    labels: NDArray[np.int64]
    answers: NDArray[np.int64]
    scores: NDArray[np.float32]
    costs: Costs

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: NDArray[np.intp]) -> "Table":
        """Give the table of some of the images."""
        return replace(
            self, labels=self.labels[rows], answers=self.answers[:, rows],
            scores=self.scores[:, rows],
        )  # fmt: skip

    @property
    def n_members(self) -> int:
        """Number of members."""
        return len(self.answers)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which member is right about which image, of shape (n_members, n), bool."""
        right: NDArray[np.bool_] = self.answers == self.labels
        return right

    def ask(
        self, member: int, rows: NDArray[np.intp]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Give a member's answers to some images and their scores, as a live member does."""
        return self.answers[member, rows], self.scores[member, rows]
