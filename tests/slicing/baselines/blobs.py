"""Images that a small network learns at once, and damage for files."""

import numpy as np

from slicing.data.dataset import Images

CLASSES = ("left", "center", "right")


def blobs(n=300, side=10, channels=1, n_classes=3):
    """Images whose class is the third of the width that is bright."""
    rng = np.random.default_rng(0)
    labels = rng.integers(n_classes, size=n)
    images = rng.random((n, side, side, channels), dtype=np.float32) * 0.3
    for image, label in zip(images, labels, strict=True):
        image[:, label * side // n_classes : (label + 1) * side // n_classes] += 0.7
    return Images(images, labels)


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
