"""One image, from its pixels to the votes, in one compiled call: see :mod:`slicing.chain`."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from slicing.chain import forward_one
from slicing.neighbors import heap
from slicing.neighbors.exact import NeighborSearch, measure
from slicing.neighbors.short_form import square
from slicing.threads import single_threaded_blas

if TYPE_CHECKING:
    from slicing.engine.engine import Engine


class Answer(NamedTuple):
    """What an engine makes of one image.

    Attributes
    ----------
    features : ndarray of shape (1, n_features), float32
    votes : ndarray of shape (1, n_classes), int64
    scores : ndarray of shape (1, n_classes), float32
        See :meth:`.Engine.scores`.
    """

    features: NDArray[np.float32]
    votes: NDArray[np.int64]
    scores: NDArray[np.float32]


class SingleImage:
    """What an engine needs for one image: its layers, its references, and work space.

    Parameters
    ----------
    engine : Engine
    search : NeighborSearch
        Of its references.
    """

    def __init__(self, engine: "Engine", search: NeighborSearch) -> None:
        stack = engine.stack
        self._averages, self._input_shape = engine.average > 0, (1, *stack.input_shape)
        self._n_classes = len(engine.classes)
        self._n_features = int(np.prod(stack.feature_shape))
        self._chain = engine.stack.chain.arrays
        self._work = np.empty(engine.k), np.empty(engine.k, np.int64)
        known = search.references
        labels = np.ascontiguousarray(engine.labels)
        self._known = known.features, known.inverse_lengths, labels, search.cosine

    def __call__(self, image: NDArray[np.float32]) -> Answer | None:
        """Answer an image of shape (1, height, width, channels), float32, as the stack takes it.

        None for other images and more or fewer than one, where features are not finite, and where
        the engine averages copies.
        """
        if self._averages or image.shape != self._input_shape or not image.flags.c_contiguous:
            return None
        answer = Answer(
            np.empty((1, self._n_features), np.float32),
            np.zeros((1, self._n_classes), np.int64),
            np.empty((1, self._n_classes), np.float32),
        )
        with single_threaded_blas():
            is_finite = _answer(image, self._chain, self._known, self._work, *answer)
        return answer if is_finite else None


@njit(cache=True)
def _answer(image, chain, known, work, features, votes, scores):  # type: ignore[no-untyped-def]
    """Fill ``features``, ``votes``, which holds 0, and ``scores``; return whether all is finite."""
    features[0] = forward_one(image.reshape(-1), *chain)
    references, inverses, labels, cosine = known
    squared = square(features[0])
    if not squared < np.inf:
        return False
    inverse = 1.0 / np.sqrt(squared) if squared > 0.0 else 0.0
    distances, places = work
    heap.clear(distances, places)
    nearest = np.full(votes.shape[1], np.inf)
    for j in range(len(references)):
        distance = measure(features[0], references[j], inverse * inverses[j], cosine)
        heap.push(distances, places, distance, j)
        if distance < nearest[labels[j]]:
            nearest[labels[j]] = distance
    for place in places:
        votes[0, labels[place]] += 1
    for label in range(len(nearest)):
        scores[0, label] = np.float32(nearest[label])
    return True
