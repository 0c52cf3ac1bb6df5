"""The examination of a network, on training images, before anything is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

from slicing.baselines.base import Baseline
from slicing.data.dataset import Images
from slicing.data.sampling import stratified_order
from slicing.errors import InputError
from slicing.stack import ConvStack, forward

PixelRange = tuple[float, float]
"""What stands for black and white, 0 and 1, in the inputs of a network."""

IMAGES = 1000
"""Training images that a network is examined on, at most."""

# Features of one chunk of images stay within a few tens of megabytes.
_CHUNK = 100
# Ranges that networks are trained on; each may be turned around, too.
_USUAL = ((0.0, 1.0), (0.0, 255.0), (-1.0, 1.0), (-0.5, 0.5))
# What chance explains less often than this has another reason.
_RARE = 1e-6
# With fewer mistakes, nothing can be that much better: one less is chance at every second time.
_MISTAKES = 20
# How far from chance (0) to perfect (1) a network must be for its answers to prove how it was
# trained: those of random kernels, too, depend on the class.
_TRAINED = 0.5
# Answers that chance gives more often than this are called no better.
_COMMON = 0.01


def check_features(stack: ConvStack, train: Images) -> None:
    """Refuse a network whose features cannot tell images apart.

    Parameters
    ----------
    stack : ConvStack
    train : Images
        Of which :data:`IMAGES` are looked at.

    Raises
    ------
    InputError
        Where features are not finite, or all are the same for every image.
    """
    images = _sample(train).images
    first = stack.forward(images[:1])
    is_constant = np.ones(first.shape[1], bool)
    for start in range(0, len(images), _CHUNK):
        features = stack.forward(images[start : start + _CHUNK])
        if not np.isfinite(features).all():
            raise InputError(
                "The network gives features that are not finite numbers: use another network, or "
                "train it again with a smaller learning rate."
            )
        is_constant &= (features == first).all(axis=0)
    if is_constant.all():
        raise InputError(
            f"The network is dead: its {len(is_constant):,} features are the same for all "
            f"{len(images):,} training images that were looked at{_where(stack, images[:_CHUNK])}. "
            "Use other images or another network, or train it again from another seed or with a "
            "smaller learning rate."
        )


def _where(stack: ConvStack, images: NDArray[np.float32]) -> str:
    """Name the convolution that makes all images the same."""
    for number, position in enumerate(stack.conv_layers, 1):
        maps = forward(stack.layers[: position + 1], images)
        if (maps == maps[:1]).all():
            values = "the same values" if maps.any() else "0 everywhere"
            return f", as all {maps.shape[3]} kernels of convolution {number} give {values}"
    return ""


def check_answers(
    baseline: Baseline, train: Images, pixels: PixelRange, order: Sequence[str]
) -> str | None:
    """Refuse a range of pixels, and an order of classes, that a network was not trained on.

    Parameters
    ----------
    baseline : Baseline
        With a head. It takes pixels in [0, 1], as all do.
    train : Images
        Of which :data:`IMAGES` are looked at.
    pixels : (float, float)
        The range that it gives to its model.
    order : sequence of str
        Names of the classes in the order in which it takes the model's outputs.

    Returns
    -------
    str or None
        A warning where its answers are no better than chance, or too bad to prove how it was
        trained.

    Raises
    ------
    InputError
        Where another range or order is better by more than chance explains; it names the parameter
        to set.
    """
    train = _sample(train)
    as_named = np.arange(len(order))

    def found(other: PixelRange) -> _Finding:
        low, high = ((each - pixels[0]) / (pixels[1] - pixels[0]) for each in other)
        images = (train.images * (high - low) + low).astype(np.float32)
        answers = baseline.shares(images).argmax(axis=1)
        return _Finding(other, answers, train.labels, as_named, answers == train.labels)

    given = best = found(pixels)
    if np.sum(~given.is_right) >= _MISTAKES:
        others = [found(other) for other in _ranges(train) if other != pixels]
        # The simplest explanation first: each must be better than the one before it.
        for explanations in (
            others,
            [given.in_best_order()],
            [other.in_best_order() for other in others],
        ):
            better = [each for each in explanations if each.beats(best)]
            best = max(better, key=lambda each: each.share, default=best)
    chance = 1 / len(order)
    names = f"The model names {_percent(given)} of {len(train):,} training images right"
    if best.beats(given):
        if best.share >= chance + _TRAINED * (1 - chance):
            raise _mistaken(given, best, baseline.classes, order)
        sets = " and ".join(_changes(given, best, baseline.classes, order).values())
        return f"{names}, and would name {_percent(best)} with {sets}"
    largest = np.bincount(train.labels).max() / len(train)
    n_right = int(np.sum(given.is_right))
    is_common = binomtest(n_right, len(train), largest, alternative="greater").pvalue > _COMMON
    return f"{names}, no better than chance" if is_common else None


@dataclass(frozen=True)
class _Finding:
    """How a network answers if its pixels have some range.

    Attributes
    ----------
    pixels : (float, float)
    answers, labels : ndarray of shape (n,), int64
        The classes that it names, and the true ones.
    meant : ndarray of shape (n_classes,), int64
        The class that is meant where it names each.
    is_right : ndarray of shape (n,), bool
        Whether the class that is meant is the true one.
    """

    pixels: PixelRange
    answers: NDArray[np.int64]
    labels: NDArray[np.int64]
    meant: NDArray[np.int64]
    is_right: NDArray[np.bool_]

    @property
    def share(self) -> float:
        """Share of the images that are named right."""
        return float(self.is_right.mean())

    def beats(self, other: "_Finding") -> bool:
        """Whether it is better by more than chance explains: an exact sign test on the images."""
        wins = int(np.sum(self.is_right & ~other.is_right))
        losses = int(np.sum(other.is_right & ~self.is_right))
        if wins <= losses:
            return False
        test = binomtest(wins, wins + losses, alternative="greater")
        return bool(test.pvalue < _RARE)

    def in_best_order(self) -> "_Finding":
        """Find what the classes may mean instead.

        Each half of the images is judged by what the other half says, so that chance finds nothing.
        """
        meant = np.empty_like(self.answers)
        even, odd = slice(0, None, 2), slice(1, None, 2)
        for half, other in ((even, odd), (odd, even)):
            meant[half] = self._meaning(other)[self.answers[half]]
        everything = self._meaning(slice(None))
        return replace(self, meant=everything, is_right=meant == self.labels)

    def _meaning(self, part: slice) -> NDArray[np.int64]:
        """Match the classes that are named with the true ones, one to one."""
        counts = np.zeros((len(self.meant), len(self.meant)))
        np.add.at(counts, (self.answers[part], self.labels[part]), 1)
        # Of equals, a class means itself.
        counts += np.eye(len(counts)) / (len(counts) + 1)
        meaning: NDArray[np.int64] = linear_sum_assignment(counts, maximize=True)[1]
        return meaning


def _sample(train: Images) -> Images:
    return train[stratified_order(train.labels, 0)[:IMAGES]]


def _ranges(train: Images) -> list[PixelRange]:
    """List the ranges that networks are trained on, with that of pixels standardized."""
    mean, deviation = float(train.images.mean()), float(train.images.std()) or 1.0
    standardized = round(-mean / deviation, 4), round((1 - mean) / deviation, 4)
    return [each for low, high in (*_USUAL, standardized) for each in ((low, high), (high, low))]


def _changes(
    given: _Finding, best: _Finding, names: Sequence[str], order: Sequence[str]
) -> dict[str, str]:
    """Give the parameters that make a network answer so, each with its value."""
    changes = {}
    if best.pixels != given.pixels:
        changes["pixels"] = f"pixels={_listed(best.pixels)}"
    if (best.meant != given.meant).any():
        meant = {names[answer]: names[label] for answer, label in enumerate(best.meant)}
        changes["classes"] = f"classes={_listed([meant[name] for name in order])}"
    return changes


def _mistaken(
    given: _Finding, best: _Finding, names: Sequence[str], order: Sequence[str]
) -> InputError:
    """Say what the network was trained on instead."""
    changes = _changes(given, best, names, order)
    wrong = {
        "pixels": f"pixels={_listed(given.pixels)} is not the range that the model was trained on",
        "classes": "classes are in another order in the model",
    }
    return InputError(
        f"{', and '.join(wrong[option] for option in changes)}: of {len(given.labels):,} training "
        f"images it names {_percent(given)} right, and would name {_percent(best)}; "
        f"{', and '.join(f'set {change}' for change in changes.values())}.",
        next(iter(changes)),
    )


def _listed(values: Sequence[object]) -> str:
    """Write a list without spaces, numbers as short as they are."""
    texts = (f"{each:g}" if isinstance(each, float) else repr(each) for each in values)
    return f"[{','.join(texts)}]"


def _percent(finding: _Finding) -> str:
    return f"{100 * finding.share:.1f} %"
