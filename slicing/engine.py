"""The inference engine: conv stack, reference set and k, all that it takes to classify."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slicing.data.dataset import Images
from slicing.knn import Metric, count_votes, kneighbors
from slicing.stack import ConvStack


@dataclass(frozen=True, eq=False)
class Engine:
    """A k-NN classifier on the features of a conv stack.

    Attributes
    ----------
    stack : ConvStack
    references : ndarray of shape (n_references, n_features), float32
        Features of the reference images.
    labels : ndarray of shape (n_references,), int64
    classes : tuple of str
        Names of the classes, in label order.
    k : int
        Number of neighbours that vote, each with the same weight.
    metric : {"euclidean", "cosine"}
    """

    stack: ConvStack
    references: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    k: int = 9
    metric: Metric = "euclidean"

    @classmethod
    def fit(
        cls,
        stack: ConvStack,
        images: Images,
        classes: tuple[str, ...],
        k: int = 9,
        metric: Metric = "euclidean",
    ) -> "Engine":
        """Make an engine whose reference set is ``images``."""
        return cls(stack, stack.forward(images.images), images.labels, classes, k, metric)

    def votes(self, images: NDArray[np.float32]) -> NDArray[np.int64]:
        """Count the neighbours' votes for every class.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels), float32
            Pixels in [0, 1].

        Returns
        -------
        ndarray of shape (n, n_classes), int64
        """
        features = self.stack.forward(images)
        _, indices = kneighbors(features, self.references, self.k, self.metric)
        return count_votes(self.labels[indices], len(self.classes))

    def predict(self, images: NDArray[np.float32]) -> NDArray[np.int64]:
        """Classify images of shape (n, height, width, channels): labels of shape (n,), int64."""
        labels: NDArray[np.int64] = self.votes(images).argmax(axis=1)
        return labels

    @property
    def conv_bytes(self) -> int:
        """Bytes of the kernels and biases in float32: the "engine size" of the slides."""
        return 4 * self.stack.n_parameters

    @property
    def total_bytes(self) -> int:
        """Bytes of all that classifying needs: kernels, references (float32), labels (one byte).

        More than 256 classes take two bytes a label.
        """
        label_bytes = 1 if len(self.classes) <= 256 else 2
        return self.conv_bytes + self.references.nbytes + label_bytes * len(self.labels)
