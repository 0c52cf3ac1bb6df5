"""Layers for one image at a time, in one compiled call.

Arrays that are made, checks, and calls from Python to each layer take as long as a small network.
Here all layers are one call, whose work space is made once. It gives the bits that batches give,
for it does the same sums with the same functions. Numba's cache does not notice an edit in those:
after one, delete ``__pycache__`` in ``slicing``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.typing import NDArray

from slicing.convolution import convolve_one, pool_one
from slicing.threads import single_threaded_blas

if TYPE_CHECKING:
    from slicing.stack import Layer, Shape

# Kinds of layers, and how many numbers describe one.
_CONV, _AVERAGE, _MAXIMUM = range(3)
_COLUMNS = 14


class Chain:
    """Layers as numbers, and their work space.

    Parameters
    ----------
    layers : sequence of Conv and Pool
    shape : (int, int, int)
        Height, width and channels of an image.

    Attributes
    ----------
    arrays : tuple
        What :func:`forward_one` takes. Numba's calls hold the interpreter: no other thread of
        Python has a part in the work space.
    """

    def __init__(self, layers: "Sequence[Layer]", shape: "Shape") -> None:
        # Here, not above: it imports this module.
        from slicing.stack import Conv

        rows, weights, biases, patches, most = [], [], [], 1, 1
        for layer in layers:
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
        none = np.zeros(0, np.float32)
        self._n_features = int(np.prod(shape))
        self.arrays = (
            np.array(rows, np.int64).reshape(-1, _COLUMNS),
            (np.concatenate([none, *weights]), np.concatenate([none, *biases])),
            tuple(np.empty(n, np.float32) for n in (patches, most, most)),
        )

    def __call__(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute the features of one image.

        Parameters
        ----------
        image : ndarray of shape (1, height, width, channels), float32
            C-contiguous.

        Returns
        -------
        ndarray of shape (1, n_features), float32
        """
        features = np.empty((1, self._n_features), np.float32)
        with single_threaded_blas():
            _fill(image, *self.arrays, features)
        return features


@njit(cache=True)
def _fill(image, layers, numbers, work, features):  # type: ignore[no-untyped-def]
    features[0] = forward_one(image.reshape(-1), layers, numbers, work)


@njit(cache=True)
def forward_one(pixels, layers, numbers, work):  # type: ignore[no-untyped-def]
    """Send an image through the layers of a :class:`Chain`, and give what comes out, flat.

    It stands in the work space, where the next image takes its place.
    """
    weights, biases = numbers
    patches, source, target = work
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
