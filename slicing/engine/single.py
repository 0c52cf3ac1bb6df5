"""One image, from its pixels to the votes, in one compiled call.

An engine is asked about single images where somebody waits for the answer. Then arrays that are
made, checks, and calls from Python to each layer take as long as a small network. Here all layers
and the neighbors are one call, whose work space is made once. It gives the bits that batches give,
for it does the same sums with the same functions. Numba's cache does not notice an edit in those:
after one, delete ``__pycache__`` in ``slicing``.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from slicing.convolution import convolve_one, pool_one
from slicing.neighbors import heap
from slicing.neighbors.exact import NeighborSearch, measure
from slicing.neighbors.short_form import square
from slicing.stack import Conv
from slicing.threads import single_threaded_blas

if TYPE_CHECKING:
    from slicing.engine.engine import Engine

# Kinds of layers, and how many numbers describe one.
_CONV, _AVERAGE, _MAXIMUM = range(3)
_COLUMNS = 14


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
    """What an engine needs for one image: the layers as numbers, the references, work space.

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
        rows, weights, biases, patches, most, shape = [], [], [], 1, 1, stack.input_shape
        for layer in stack.layers:
            out_shape = layer.output_shape(shape)
            if isinstance(layer, Conv):
                kind, relu = _CONV, layer.relu
                weights.append(layer.weights.ravel())
                biases.append(layer.bias)
                patches = max(patches, layer.numbers(shape) - int(np.prod(out_shape)))
            else:
                kind, relu = _AVERAGE if layer.kind == "average" else _MAXIMUM, False
            places = *layer.strides, *layer.pads(shape), *layer.size
            rows.append([*shape, *out_shape, *places, kind, relu])
            most, shape = max(most, int(np.prod(out_shape))), out_shape
        self._layers = np.array(rows, np.int64).reshape(-1, _COLUMNS)
        flat = np.zeros(0, np.float32)
        self._numbers = (
            np.concatenate([flat, *weights]), np.concatenate([flat, *biases])
        )  # fmt: skip
        # Numba's calls hold the interpreter: no other thread of Python has a part in these.
        self._work = (
            np.empty(patches, np.float32), np.empty(most, np.float32), np.empty(most, np.float32),
            np.empty(engine.k), np.empty(engine.k, np.int64),
        )  # fmt: skip
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
            is_finite = _answer(
                image, self._layers, self._numbers, self._known, self._work, *answer
            )
        return answer if is_finite else None


@njit(cache=True)
def _answer(image, layers, numbers, known, work, features, votes, scores):  # type: ignore[no-untyped-def]
    """Fill ``features``, ``votes``, which holds 0, and ``scores``; return whether all is finite."""
    features[0] = _forward(image.reshape(-1), layers, numbers, work)
    references, inverses, labels, cosine = known
    squared = square(features[0])
    if not squared < np.inf:
        return False
    inverse = 1.0 / np.sqrt(squared) if squared > 0.0 else 0.0
    distances, places = work[3], work[4]
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


@njit(cache=True)
def _forward(pixels, layers, numbers, work):  # type: ignore[no-untyped-def]
    """Send an image through the layers, from one half of the work space to the other."""
    weights, biases = numbers
    patches, source, target = work[:3]
    out, at, bias_at = pixels, 0, 0
    for layer in layers:
        height, width, channels, rows, columns, n_out = layer[:6]
        strides, pads, size = (layer[6], layer[7]), (layer[8], layer[9]), (layer[10], layer[11])
        kind, relu = layer[12], layer[13] == 1
        given = out.reshape(height, width, channels)
        out = target[: rows * columns * n_out]
        made = out.reshape(rows, columns, n_out)
        if kind == _CONV:
            n_patch = size[0] * size[1] * channels
            kernels = weights[at : at + n_patch * n_out]
            convolve_one(
                given,
                kernels.reshape(size[0], size[1], channels, n_out),
                biases[bias_at : bias_at + n_out],
                strides,
                pads,
                (rows, columns),
                relu,
                patches[: rows * columns * n_patch],
                made,
            )
            at += n_patch * n_out
            bias_at += n_out
        else:
            pool_one(given, size, strides, pads, (rows, columns), kind == _AVERAGE, made)
        source, target = target, source
    return out
