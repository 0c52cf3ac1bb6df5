"""The contract of everything that classifies images."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from slicing.pixels import Pixels


class Classifier(Protocol):
    """Classifies images: a baseline with its head, an engine.

    Attributes
    ----------
    classes : tuple of str
        Names of the classes, in label order.
    n_parameters : int
        Numbers that were learned. References do not count.
    total_bytes : int
        Bytes of everything that classifying needs.
    """

    @property
    def classes(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def n_parameters(self) -> int: ...  # noqa: D102

    @property
    def total_bytes(self) -> int: ...  # noqa: D102

    def predict_labels(self, images: Pixels) -> NDArray[np.int64]:
        """Classify images.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)
            Of uint8 from 0 to 255, or of floats from 0 to 1.

        Returns
        -------
        ndarray of shape (n,), int64
            Indices in ``classes``: the argmax of :meth:`predict_proba`, ties to the smallest label.

        Raises
        ------
        InputError
            Where the images do not fit, or there is nothing to classify with.
        """

    def predict_proba(self, images: Pixels) -> NDArray[np.float64]:
        """Give each class's share.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)
            Of uint8 from 0 to 255, or of floats from 0 to 1.

        Returns
        -------
        ndarray of shape (n, n_classes), float64
            Each row sums to 1.

        Raises
        ------
        InputError
            As :meth:`predict_labels`.
        """
