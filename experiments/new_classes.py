"""New classes without training: a few images of each become references of the finished engine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.statistics import Accuracy
from slicing.baselines import Baseline
from slicing.data.dataset import Dataset, Images
from slicing.engine.engine import Engine
from slicing.errors import InputError

# Repetitions whose median is the time to add classes.
_REPEATS = 5


@dataclass(frozen=True)
class TaughtClassifier:
    """A classifier after it was taught the new classes.

    Attributes
    ----------
    seconds : float
        Until it could classify: of the engine with its first answer, of the baseline its training.
    old, new : Accuracy or None
        On the test images of the classes that it knew before, and of the new ones; None where
        there are none.
    """

    seconds: float
    old: Accuracy | None
    new: Accuracy | None


@dataclass(frozen=True)
class ClassAddition:
    """The result of adding classes from some images of each.

    Attributes
    ----------
    images : int
        Images of each new class, at most.
    engine : TaughtClassifier
        The engine with the new references.
    cnn : TaughtClassifier or None
        The baseline, trained again on all images of the old classes and these; None for one that is
        not trained here.
    """

    images: int
    engine: TaughtClassifier
    cnn: TaughtClassifier | None


def check_options(dataset: Dataset[Images], names: Sequence[str], counts: Sequence[int]) -> None:
    """Refuse new classes that the dataset does not have.

    Raises
    ------
    InputError
    """
    unknown = [name for name in names if name not in dataset.classes]
    if unknown:
        raise InputError(
            f"new.classes names {unknown[0]}, and the classes are {', '.join(dataset.classes)}."
        )
    if len(set(names)) < len(names):
        raise InputError(f"new.classes={list(names)} names a class twice: name it once.")
    if len(dataset.classes) - len(names) < 2:
        raise InputError("new.classes leaves fewer than two classes to evolve with: name fewer.")
    if not counts or min(counts) < 1:
        raise InputError(f"new.images={list(counts)} is not possible: give numbers of at least 1.")


def add(
    engine: Engine,
    whole: Dataset[Images],
    names: Sequence[str],
    counts: Sequence[int],
    train: Callable[[Images, tuple[str, ...]], Baseline] | None,
    seed: int,
) -> list[ClassAddition]:
    """Teach an engine new classes from few images, and the baseline from the same.

    Parameters
    ----------
    engine : Engine
        It knows the other classes.
    whole : Dataset
        With the new classes, which come after the others.
    names : sequence of str
        The new classes.
    counts : sequence of int
        Images of each class, one addition for each count; all where there are fewer.
    train : callable, optional
        Trains the baseline, given the images and the names of the classes.
    seed : int
        Of the choice of the images; fewer are the first of more.
    """
    n_old = len(whole.classes) - len(names)
    order = np.random.default_rng(seed).permutation(len(whole.train))
    shuffled = whole.train.labels[order]
    members = {
        name: order[shuffled == label] for label, name in enumerate(whole.classes[n_old:], n_old)
    }
    old_images = np.flatnonzero(whole.train.labels < n_old)
    test = whole.read_test()

    def taught(seconds: float, predicted: NDArray[np.int64]) -> TaughtClassifier:
        is_old = test.labels < n_old
        old, new = (
            Accuracy.of(predicted[part], test.labels[part]) if part.any() else None
            for part in (is_old, ~is_old)
        )
        return TaughtClassifier(seconds, old, new)

    additions = []
    most = max(map(len, members.values()))
    for count in sorted({min(count, most) for count in counts}):
        chosen = {name: members[name][:count] for name in names}
        times = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            wider = engine
            for name, indices in chosen.items():
                wider = wider.add_class(whole.train.images[indices], name)
            wider.predict(test.images[:1])
            times.append(time.perf_counter() - start)
        cnn = None
        if train is not None:
            known = np.concatenate([old_images, *chosen.values()])
            baseline = train(whole.train[known], whole.classes)
            cnn = taught(baseline.train_seconds, baseline.predict_labels(test.images))
        by_engine = taught(float(np.median(times)), wider.predict_labels(test.images))
        additions.append(ClassAddition(count, by_engine, cnn))
    return additions
