"""The features of candidates for kernels of the last convolution, where each is a channel."""

import numpy as np
from numpy.typing import NDArray

from evolve.fitness.candidate_features import Stage
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
        self._kernel_shape = stack.convs[-1].weights.shape[:3]
        self._out = np.empty((0, len(images), self._stage.n_positions), np.float32)
        self.load(stack, images)

    def load(self, stack: ConvStack, images: NDArray[np.float32]) -> None:
        """Replace the stack and the images by others of the same shapes."""
        self._stage.load_from(stack, images)
        self._convs = stack.convs

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
            For a block of this layer.

        Returns
        -------
        ndarray of shape (n * n_kernels, n_images, n_positions), float32
            Of each candidate's kernels. Valid until the next call.
        """
        kernels = candidates.reshape(-1, int(np.prod(self._kernel_shape)) + 1)
        weights = kernels[:, :-1].reshape(-1, *self._kernel_shape).astype(np.float32)
        return self._features(weights, kernels[:, -1].astype(np.float32))

    def adopt(self, stack: ConvStack) -> tuple[NDArray[np.intp], NDArray[np.float32]] | None:
        """Replace the stack by another, if only its last convolution differs.

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
        n = len(weights)
        if len(self._out) < n:
            self._out = self._out[:0]  # let go of the old one first
            self._out = np.empty((n, *self._out.shape[1:]), np.float32)
        maps = self._stage.finish(self._stage.convolve(weights, bias, self._out[:n]))
        return maps.reshape(*maps.shape[:2], maps.shape[2] * maps.shape[3])
