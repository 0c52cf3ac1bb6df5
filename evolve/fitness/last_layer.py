"""Kernels of the last convolution: the case in which everything is incremental."""

import numpy as np
from numpy.typing import NDArray

from evolve.fitness.candidate_features import Stage
from evolve.fitness.incremental import IncrementalKNN
from slicing.neighbors.exact import Metric
from slicing.stack import ConvStack


class LastChannels:
    """The features of all images, kernel by kernel of the last convolution of a stack.

    Parameters
    ----------
    stack : ConvStack
    images : ndarray of shape (n_images, height, width, channels), float32
    """

    def __init__(self, stack: ConvStack, images: NDArray[np.float32]) -> None:
        self._stage = Stage(stack, len(stack.convs) - 1, len(images))
        self._stage.load_from(images)
        self._convs = stack.convs
        self._kernel_shape = stack.convs[-1].weights.shape[:3]
        self._out: NDArray[np.float32] | None = None

    def of_stack(self) -> NDArray[np.float32]:
        """Give the features of the stack's own kernels, one array for each image.

        Returns
        -------
        ndarray of shape (n_images, n_kernels, n_positions), float32
        """
        conv = self._convs[-1]
        channels = self._features(np.moveaxis(conv.weights, -1, 0), conv.bias)
        return np.ascontiguousarray(channels.swapaxes(0, 1))

    def __call__(self, candidates: NDArray[np.float64]) -> NDArray[np.float32]:
        """Give the features of candidates.

        Parameters
        ----------
        candidates : ndarray of shape (n, dim), float64
            Of blocks of this layer.

        Returns
        -------
        ndarray of shape (n * n_kernels, n_images, n_positions), float32
            Of each candidate's kernels. Valid until the next call with as many.
        """
        kernels = candidates.reshape(-1, int(np.prod(self._kernel_shape)) + 1)
        weights = kernels[:, :-1].reshape(-1, *self._kernel_shape).astype(np.float32)
        return self._features(weights, kernels[:, -1].astype(np.float32))

    def adopt(self, stack: ConvStack) -> tuple[NDArray[np.intp], NDArray[np.float32]] | None:
        """Go on from another stack, if nothing but its last convolution differs.

        Returns
        -------
        kernels : ndarray of shape (n,), intp
            Those that differ.
        features : ndarray of shape (n, n_images, n_positions), float32
            Theirs; valid until the next call.

        If more differs, nothing happens, and None is returned.
        """
        *before, conv = stack.convs
        *known, old = self._convs
        if not all(one.equals(two) for one, two in zip(before, known, strict=True)):
            return None
        kernels = np.flatnonzero(
            (conv.weights != old.weights).any(axis=(0, 1, 2)) | (conv.bias != old.bias)
        )
        self._convs = stack.convs
        weights = np.moveaxis(conv.weights, -1, 0)[kernels]
        return kernels, self._features(weights, conv.bias[kernels])

    def _features(
        self, weights: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Features of kernels (n, height, width, channels)."""
        if self._out is None or len(self._out) != len(weights):
            self._out = None  # let go of the old one first
        self._out = self._stage.convolve(weights, bias, self._out)
        maps = self._stage.finish(self._out)
        return maps.reshape(*maps.shape[:2], maps.shape[2] * maps.shape[3])


class LastLayer:
    """Evaluates candidates for one kernel of the last convolution of a stack.

    Parameters
    ----------
    stack : ConvStack
    images : ndarray of shape (n_images, height, width, channels), float32
        First the references, then the queries.
    labels, n_queries, n_neighbors, metric
        See :class:`evolve.fitness.incremental.IncrementalKNN`.
    """

    def __init__(
        self,
        stack: ConvStack,
        images: NDArray[np.float32],
        labels: NDArray[np.int64],
        n_queries: int | None,
        n_neighbors: int,
        metric: Metric,
    ) -> None:
        self._channels = LastChannels(stack, images)
        channels = self._channels.of_stack()
        self._knn = IncrementalKNN(channels, labels, n_queries, n_neighbors, metric)

    def bind(self, kernel: int) -> None:
        """Take kernel ``kernel`` as the one that candidates replace."""
        self._knn.bind(kernel)

    def query_losses(
        self, candidates: NDArray[np.float64], temperature: float
    ) -> tuple[NDArray[np.float64], int]:
        """Evaluate candidates of shape (n, dim) as ``IncrementalKNN.losses`` does."""
        return self._knn.losses(self._channels(candidates), temperature)

    def adopt(self, stack: ConvStack) -> bool:
        """Go on from another stack, if nothing but its last convolution differs; bind again after.

        Returns
        -------
        bool
            Whether that is so; if not, nothing happens.
        """
        changed = self._channels.adopt(stack)
        if changed is None:
            return False
        if len(changed[0]):
            self._knn.replace(*changed)
        return True
