"""A system: several engines and a selector, as one classifier."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slicing import tensor_file
from slicing.adaptive import stored_system
from slicing.adaptive.combination import Combination
from slicing.adaptive.dial import Budget, Dial
from slicing.adaptive.members import Asking, Members
from slicing.adaptive.outcome import last_asked
from slicing.adaptive.selector import LARGEST, Decision, Selector, nobody, route
from slicing.adaptive.table import Costs
from slicing.data.image_file import MAX_MEGAPIXELS
from slicing.data.preparation import Preparation
from slicing.engine.engine import Engine
from slicing.engine.evidence import Evidence, margins_of
from slicing.errors import InputError, NotInstalledError
from slicing.pixels import Pixels, unit_pixels
from slicing.stack import Shape


class Answers(NamedTuple):
    """What a system answers.

    Attributes
    ----------
    shares : ndarray of shape (n, n_classes), float64
        Each row sums to 1: the share of the votes of the member that was asked, or the mean of the
        probabilities of several.
    asked : ndarray of shape (n, n_members), bool
        Which members were asked about each image.
    """

    shares: NDArray[np.float64]
    asked: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class System:
    """Several engines as one classifier: it asks about each image what it takes to be sure.

    It keeps :class:`~slicing.classifier.Classifier`. Images that go on to a larger member go on
    together, and an image's answer does not depend on the others.

    Attributes
    ----------
    engines : tuple of Engine
        The members, in ascending order of what they cost.
    selector : Selector
    dial : Dial
    costs : Costs
        As they were measured, with those of the selector.
    point : int
        Of the dial: how images are answered where no other budget is given.
    combination : Combination or None
        What makes one answer of several; None: it is that of the largest member that was asked.
    roles : mapping of str to int
        How many images made the members (``train``), the selector (``select``) and the bounds
        (``certify``).

    Raises
    ------
    InputError
        Where the parts do not fit each other.
    """

    engines: tuple[Engine, ...]
    selector: Selector
    dial: Dial
    costs: Costs
    point: int = 0
    combination: Combination | None = None
    roles: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.members)
        if len(self.costs.alone) != n:
            raise InputError(f"There are {n} members, and costs of {len(self.costs.alone)}.")
        if self.combination is not None and self.combination.exponents.shape != (n,):
            raise InputError(f"There are {n} members, and one answer is made of others.")
        if not 0 <= self.point < len(self.dial.thresholds):
            raise InputError(f"The dial has no point {self.point}.")

    @cached_property
    def members(self) -> Members:
        """The engines, as they are asked."""
        return Members(self.engines)

    def at(self, budget: Budget) -> "System":
        """Give the same system with another point of the dial: nothing is learned again.

        Parameters
        ----------
        budget : MaxLoss or MeanTime
        """
        return replace(self, point=self.dial.point(budget))

    def answers(
        self, images: Pixels, budget: Budget | None = None, deadline: float = np.inf
    ) -> Answers:
        """Answer, and tell who was asked.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)
            Of uint8 from 0 to 255, or of floats from 0 to 1.
        budget : MaxLoss or MeanTime, optional
            Chooses a point of the dial; by default that of the system.
        deadline : float
            Milliseconds that the members asked about an image may take together, as they were
            measured; the smallest is always asked. With one, nothing is certified.
        """
        threshold = self._threshold(budget)
        if (number := self._alone(threshold, deadline)) is not None:
            shares = self.engines[number].predict_proba(images)
            asked = np.zeros((len(shares), len(self.engines)), np.bool_)
            asked[:, number] = True
            return Answers(shares, asked)
        asking, asked = self._asked(images, threshold, deadline)
        shares = asking.votes / asking.votes.sum(axis=1, keepdims=True)
        if self.combination is not None:
            several = np.flatnonzero(asked.sum(axis=1) > 1)
            scores = asking.scores[:, several]
            shares[several] = self.combination.combined(asked[several], scores)
        return Answers(shares, asked)

    def _threshold(self, budget: Budget | None) -> float:
        point = self.point if budget is None else self.dial.point(budget)
        return float(self.dial.thresholds[point])

    def _alone(self, threshold: float, deadline: float) -> int | None:
        """Give the member that answers alone, with nothing around it; None where several may."""
        if np.isfinite(threshold) or deadline != np.inf:
            return None
        return len(self.engines) - 1 if threshold == LARGEST else 0

    def _asked(
        self, images: Pixels, threshold: float, deadline: float = np.inf
    ) -> tuple[Asking, NDArray[np.bool_]]:
        """Ask members, and tell which about each image."""
        asking = self.members.asking(images)
        decides = bool(np.isfinite(threshold))
        first = self._first(asking) if decides else nobody(len(asking.images))
        ask = partial(self._ask, asking, decides)
        return asking, route(first, ask, threshold, self.costs, deadline)

    def _first(self, asking: Asking) -> Decision:
        pixels = asking.images
        if self.engines[0].backbone is not None:
            pixels = unit_pixels(pixels)
        return self.selector.first(self.selector.look(pixels, self.engines))

    def _ask(self, asking: Asking, decides: bool, member: int, rows: NDArray[np.intp]) -> Decision:
        answers, scores = asking(member, rows)
        if decides and member < len(self.engines) - 1:
            return self.selector.after(member, answers, scores)
        return nobody(len(rows))

    def predict_labels(
        self, images: Pixels, budget: Budget | None = None, deadline: float = np.inf
    ) -> NDArray[np.int64]:
        """Classify images: indices of shape (n,), int64; see :meth:`answers`."""
        if (number := self._alone(self._threshold(budget), deadline)) is not None:
            return self.engines[number].predict_labels(images)
        labels: NDArray[np.int64] = self.predict_proba(images, budget, deadline).argmax(axis=1)
        return labels

    def predict_proba(
        self, images: Pixels, budget: Budget | None = None, deadline: float = np.inf
    ) -> NDArray[np.float64]:
        """Give each class's share, shape (n, n_classes), float64; see :meth:`answers`."""
        return self.answers(images, budget, deadline).shares

    def predict(
        self, images: Pixels, budget: Budget | None = None, deadline: float = np.inf
    ) -> NDArray[np.str_]:
        """Classify images: names of classes, of shape (n,); see :meth:`answers`."""
        return np.array(self.classes)[self.predict_labels(images, budget, deadline)]

    def evidence(self, images: Pixels) -> Evidence:
        """Say what each answer rests on: the distances are those of the largest member asked."""
        shares = self.predict_proba(images)
        labels = shares.argmax(axis=1)
        asking, asked = self._asked(images, float(self.dial.thresholds[self.point]))
        rows = np.arange(len(labels))
        distances = asking.scores[last_asked(asked), rows].astype(np.float64)
        margins = margins_of(labels, distances)
        return Evidence(labels, shares, distances[rows, labels], margins, None, None)

    @property
    def confidence(self) -> None:
        """It gives none: a system answers with members of several confidences."""
        return None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in label order."""
        return self.engines[0].classes

    @property
    def input_shape(self) -> Shape:
        """Height, width and channels of an image."""
        return self.engines[0].input_shape

    def for_files(self, max_megapixels: float = MAX_MEGAPIXELS) -> Preparation:
        """Say how a file becomes an image, see :meth:`.Engine.for_files`."""
        return self.engines[0].for_files(max_megapixels)

    @property
    def n_parameters(self) -> int:
        """Number of weights and biases of all members."""
        return sum(each.n_parameters for each in self.engines)

    @cached_property
    def total_bytes(self) -> int:
        """Bytes of the system's file, members included."""
        return len(stored_system.packed(self))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the system to one file, in the format safetensors; whole or not at all.

        Raises
        ------
        OSError
            Where it cannot be written.
        """
        tensor_file.write(Path(path), stored_system.packed(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "System":
        """Read a system that was saved; nothing in the file is executed.

        Raises
        ------
        InputError
            Where there is no such file, or it is damaged or something else.
        """
        settings, arrays = tensor_file.read(Path(path), stored_system.KIND)
        try:
            system = cls(**stored_system.parts_of(settings, arrays))
            stored_system.try_selector(system)
            return system
        except NotInstalledError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise InputError(f"{path} holds no system that fits together ({error}).") from error
