"""The members of a system: engines that answer about the same images, in ascending order of cost.

What a member has computed of an image, a larger one takes over where it needs the same: layers with
which both begin, and an engine that averages shifted copies takes the features of the image as it
is from one that averages none.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicing.adaptive.table import Costs, Table
from slicing.adaptive.trunk import Key, parts_of
from slicing.engine import stored_stack
from slicing.engine.engine import Engine
from slicing.errors import InputError
from slicing.pixels import Pixels, unit_pixels
from slicing.shifts import averaged


class Members:
    """Engines that answer about the same images.

    Parameters
    ----------
    engines : sequence of Engine
        Two at least, in ascending order of cost.

    Attributes
    ----------
    engines : tuple of Engine
    builds_on : tuple of int or None
        Of each, the smaller one whose features it takes over.
    parts : tuple of Parts
        Of each, cut where it parts from others.

    Raises
    ------
    InputError
        For engines of other classes or other images.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = tuple(engines)
        if len(self.engines) < 2:
            raise InputError("A system has two members at least: give more engines.")
        first = self.engines[0]
        for number, each in enumerate(self.engines[1:], 2):
            if each.classes != first.classes:
                raise InputError(
                    f"Member {number} knows the classes {', '.join(each.classes)}, and member 1 "
                    f"{', '.join(first.classes)}: give engines of the same classes."
                )
            if each.input_shape != first.input_shape or each.preparation != first.preparation:
                raise InputError(
                    f"Member {number} takes images of shape {each.input_shape}, and member 1 of "
                    f"{first.input_shape}: give engines that take the same images."
                )
        self.builds_on = tuple(
            next((i for i in range(j) if _has_features_of(self.engines[i], each)), None)
            for j, each in enumerate(self.engines)
        )

        self.parts = parts_of(self.engines)

    def __len__(self) -> int:
        return len(self.engines)

    def asking(self, images: Pixels) -> "Asking":
        """Begin to ask about images of shape (n, height, width, channels)."""
        return Asking(self, images)

    def table(self, images: Pixels, labels: NDArray[np.int64], costs: Costs) -> Table:
        """Ask all members about all images."""
        asking = self.asking(images)
        every = np.arange(len(labels))
        answers = np.stack([asking(member, every)[0] for member in range(len(self))])
        return Table(labels, answers, asking.scores, costs)


def shift_members(engine: Engine) -> tuple[Engine, Engine]:
    """Make two members of an engine that averages shifted copies: one copy first, then all.

    Raises
    ------
    InputError
        For an engine that averages none.
    """
    if not engine.average:
        raise InputError(
            "The engine averages no shifted copies, of which one could come first: give one that "
            "was made with average=1.",
            "average",
        )
    return replace(engine, average=0), engine


class Asking:
    """Asks members about some images, and keeps what they answered.

    Attributes
    ----------
    images : ndarray of shape (n, height, width, channels)
        As the members take them.
    votes : ndarray of shape (n, n_classes), int64
        Of the member that was asked last about each image.
    scores : ndarray of shape (n_members, n, n_classes), float32
        Those of members that were not asked are 0.
    """

    def __init__(self, members: Members, images: Pixels) -> None:
        self._members = members
        first = members.engines[0]
        n_classes = len(first.classes)
        # Converted and checked once, for all members.
        self.images: Any = unit_pixels(images) if first.backbone is None else images
        n = len(self.images)
        self.votes = np.zeros((n, n_classes), np.int64)
        self.scores = np.zeros((len(members), n, n_classes), np.float32)
        # Features by the number of their member, and maps by the key of their layers.
        self._kept: dict[int | Key, tuple[NDArray[np.intp], NDArray[np.float32]]] = {}

    def __call__(
        self, member: int, rows: NDArray[np.intp]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Ask a member about the images of these rows, ascending: see :data:`.selector.Ask`."""
        keys, stacks, engine = self._members.parts[member]
        inputs, begin = None, len(keys)
        while begin and inputs is None:
            inputs = self._kept_for(keys[begin - 1], rows)
            begin -= inputs is None
        if inputs is None:
            inputs = self.images if len(rows) == len(self.images) else self.images[rows]
        for key, stack in zip(keys[begin:], stacks[begin:], strict=True):
            inputs = stack.forward(inputs).reshape(len(rows), *stack.feature_shape)
            self._kept[key] = rows, inputs
        # The pixels were checked: engine.features would do it again, for each member.
        if engine.backbone is not None:
            inputs = engine.backbone.maps(inputs)
        if alone := engine.single(inputs):
            features, votes, scores = alone
        else:
            unshifted = self._kept_for(self._members.builds_on[member], rows)
            features = averaged(engine.stack, inputs, engine.average, unshifted=unshifted)
            votes, scores = engine.votes_and_scores(features)
        if member in self._members.builds_on:
            self._kept[member] = rows, features
        if len(rows) == len(self.images):
            self.votes, self.scores[member] = votes, scores
        else:
            self.votes[rows], self.scores[member, rows] = votes, scores
        return votes.argmax(axis=1), scores

    def _kept_for(
        self, key: int | Key | None, rows: NDArray[np.intp]
    ) -> NDArray[np.float32] | None:
        """Give what was computed, if it was for all of these rows."""
        if key is None or key not in self._kept:
            return None
        known, kept = self._kept[key]
        places = np.searchsorted(known, rows)
        if not np.array_equal(known[places.clip(max=len(known) - 1)], rows):
            return None
        return kept[places]


def _has_features_of(smaller: Engine, larger: Engine) -> bool:
    """Whether an engine computes features that another one averages with those of copies."""
    if smaller.average or not larger.average or smaller.backbone or larger.backbone:
        return False
    one, two = smaller.stack, larger.stack
    return stored_stack.settings_of(one) == stored_stack.settings_of(two) and one.equals(two)
