"""Single kernels of the last convolution: the case in which everything is incremental."""

import numpy as np
from numpy.typing import NDArray

from evolve.candidate_convolution import CandidateConvolution
from evolve.incremental import IncrementalKNN
from slicing.knn import Metric
from slicing.stack import ConvStack, Pool, forward

# Images whose input to the layer is computed at a time.
_CHUNK = 4096


class LastLayer:
    """Evaluates candidates for one kernel of the last convolution of a stack.

    Parameters
    ----------
    stack : ConvStack
    images : ndarray of shape (n_images, height, width, channels), float32
        First the references, then the queries.
    labels, n_queries, n_neighbours, metric
        See :class:`evolve.incremental.IncrementalKNN`.
    """

    def __init__(
        self,
        stack: ConvStack,
        images: NDArray[np.float32],
        labels: NDArray[np.int64],
        n_queries: int | None,
        n_neighbours: int,
        metric: Metric,
    ) -> None:
        position = stack.conv_layers[-1]
        conv, tail = stack.convs[-1], stack.layers[position + 1 :]
        pool = tail[0] if tail and isinstance(tail[0], Pool) else None
        self._further_pools = tail[1:]
        before = stack.layers[:position]
        shape = forward(before, images[:1]).shape[1:]
        self._convolution = CandidateConvolution(
            (len(images), *shape),
            conv.weights.shape[:2],
            conv.strides,
            conv.padding,
            conv.relu,
            pool,
        )
        for start in range(0, len(images), _CHUNK):
            self._convolution.load(forward(before, images[start : start + _CHUNK]), start)
        self._out: NDArray[np.float32] | None = None
        channels = self._features(np.moveaxis(conv.weights, -1, 0), conv.bias).copy()
        self._knn = IncrementalKNN(channels, labels, n_queries, n_neighbours, metric)
        self._kernel_shape = conv.weights.shape[:3]

    @property
    def full_scans(self) -> int:
        """How many times a query had to visit all references."""
        return self._knn.full_scans

    def bind(self, kernel: int) -> None:
        """Take kernel ``kernel`` as the one that candidates replace."""
        self._knn.bind(kernel)

    def losses(self, candidates: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
        """Mean loss of every candidate, of shape (n,), for candidates of shape (n, dim).

        Infinite where features are not finite.
        """
        features = self._candidate_features(candidates)
        losses: NDArray[np.float64] = self._knn.losses(features, temperature).mean(axis=1)
        # One sum tells whether all is finite, in a fraction of the time of looking at each.
        losses[~np.isfinite(features.sum(axis=(1, 2)))] = np.inf
        return losses

    def accept(self, candidate: NDArray[np.float64]) -> None:
        """Put a candidate of shape (dim,) into the place of the bound kernel; bind again after."""
        self._knn.accept(self._candidate_features(candidate[None])[0])

    def _candidate_features(self, candidates: NDArray[np.float64]) -> NDArray[np.float32]:
        weights = candidates[:, :-1].reshape(-1, *self._kernel_shape).astype(np.float32)
        return self._features(weights, candidates[:, -1].astype(np.float32))

    def _features(
        self, weights: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Features of kernels (n, height, width, channels): (n, n_images, n_positions).

        Valid until the next call with as many kernels.
        """
        if self._out is None or len(self._out) != len(weights):
            self._out = None  # let go of the old one first
        self._out = self._convolution(weights, bias, self._out)
        if not self._further_pools:
            return self._out
        # Kernels times images, each of one channel.
        pooled = forward(
            self._further_pools, self._out.reshape(-1, *self._convolution.output_shape, 1)
        )
        return pooled.reshape(*self._out.shape[:2], -1)
