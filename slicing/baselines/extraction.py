"""What a shallow classifier sees of an image."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from slicing.baselines.hog import hog

FeatureKind = Literal["pixels", "hog", "maps"]


@dataclass(frozen=True)
class Extractor:
    """Computes the features of images.

    They are shifted and scaled by the same two numbers, so that those of the training images have a
    mean of 0 and a standard deviation of 1: it does not matter which range the pixels have.

    Attributes
    ----------
    cells : int or None
        Of :func:`~slicing.baselines.hog.hog`; None: the features are the pixels, or maps.
    mean, deviation : float
    """

    cells: int | None
    mean: float
    deviation: float

    @classmethod
    def fit(
        cls, images: NDArray[np.float32], cells: int | None
    ) -> tuple["Extractor", NDArray[np.float32]]:
        """Learn the two numbers from the training images; give their features, too."""
        features = _computed(images, cells)
        mean, deviation = features.mean(dtype=float), features.std(dtype=float)
        extract = cls(cells, float(mean), float(deviation) or 1.0)
        return extract, extract._scaled(features)

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute features of shape (n, n_features), float32."""
        return self._scaled(_computed(images, self.cells))

    def _scaled(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return (features - np.float32(self.mean)) / np.float32(self.deviation)


def _computed(images: NDArray[np.float32], cells: int | None) -> NDArray[np.float32]:
    return images.reshape(len(images), -1) if cells is None else hog(images, cells)
