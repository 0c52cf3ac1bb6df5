"""Find equal images: on both sides of a split, and in two classes."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slicing.data.dataset import Images


@dataclass(frozen=True)
class Duplicates:
    """Images whose pixels are equal, as they were read: resized and converted.

    Attributes
    ----------
    test_in_training : int
        Test images that equal a training image; they flatter every accuracy.
    contradictions : int
        Training images that equal one of another class; no classifier gets all of them right.
    """

    test_in_training: int = 0
    contradictions: int = 0

    @classmethod
    def of(cls, train: Images, test: Images) -> "Duplicates":
        """Count the duplicates of a split, by SHA-1 of the pixels: seconds for a gigabyte."""
        labels = defaultdict[bytes, list[int]](list)
        for digest, label in zip(_digests(train), train.labels.tolist(), strict=True):
            labels[digest].append(label)
        return cls(
            sum(digest in labels for digest in _digests(test)),
            sum(len(each) for each in labels.values() if len(set(each)) > 1),
        )

    @property
    def warnings(self) -> list[str]:
        """Say what there is, a clause each."""
        found = []
        if self.test_in_training:
            found.append(
                f"{self.test_in_training:,} test images equal training images, which flatters all "
                "accuracies"
            )
        if self.contradictions:
            found.append(
                f"{self.contradictions:,} training images equal one of another class, and cannot "
                "all be right"
            )
        return found


def _digests(images: Images) -> Iterator[bytes]:
    for image in images.images:
        yield hashlib.sha1(np.ascontiguousarray(image).data, usedforsecurity=False).digest()
