"""Small engines and tables whose optimum is known."""

import numpy as np

from slicing.adaptive.table import Costs, Table
from slicing.data import Images
from slicing.engine.recipe import Recipe
from slicing.stack import Conv, ConvStack, Pool

CLASSES = ("a", "b", "c")


def blobs(n, seed, noise=0.25):
    """Images of three classes, each a bright corner; the noise makes some hard."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    images = rng.random((n, 10, 10, 1), np.float32) * np.float32(2 * noise)
    for number, (row, column) in enumerate(((0, 0), (0, 6), (6, 0))):
        strength = rng.random(n) * (labels == number)
        images[:, row : row + 4, column : column + 4, 0] += strength[:, None, None] * (
            1 - 2 * noise
        )
    return Images(images.clip(0, 1).astype(np.float32), labels)


def engines(train, average=0):
    """A member that sees one weak kernel and few prototypes, and one with more of both."""
    rng = np.random.default_rng(1)

    def stack(n):
        conv = Conv(rng.normal(size=(3, 3, 1, n)).astype(np.float32), np.zeros(n, np.float32))
        return ConvStack((conv, Pool()), (10, 10, 1))

    small = Recipe(k=1, references="prototypes", per_class=1, projection="none")
    large = Recipe(k=5, projection="lda", shift=0, average=average)
    return (
        small.build(stack(1), train, CLASSES),
        large.build(stack(6), train, CLASSES),
    )


def planted(n=600, n_classes=3, seed=0, times=(1.0, 3.0, 10.0)):
    """A table of three members: right where images are easy, middling, or not impossible.

    The margin of each tells without error where it is right.
    """
    rng = np.random.default_rng(seed)
    labels, hardness = rng.integers(0, n_classes, n), rng.random(n)
    answers, scores = [], []
    for reach in (0.6, 0.8, 0.95):
        is_right = hardness < reach
        answered = np.where(is_right, labels, (labels + 1) % n_classes)
        margin = (0.9 - 0.8 * hardness) * np.where(is_right, 1.0, 0.02)
        distances = np.full((n, n_classes), 1.0)
        distances[np.arange(n), answered] = (1 - margin) / (1 + margin)
        answers.append(answered)
        scores.append(distances.astype(np.float32))
    times = np.array(times)
    return Table(labels, np.stack(answers), np.stack(scores), Costs(times, times))
