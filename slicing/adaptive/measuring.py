"""What members, selectors and whole systems take for one image at a time, on one thread.

Each is timed several times with each image, and the least counts: what the machine does besides
only adds to it, and adds other times to each. Over images, it is the median.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from slicing.adaptive.members import Members
from slicing.adaptive.selector import Selector
from slicing.adaptive.system import System
from slicing.adaptive.table import Costs
from slicing.classifier import Classifier
from slicing.threads import one_thread

# How often each image is timed, beside the first time, which compiles and loads.
_ROUNDS = 5
# How often a batch is.
_BATCHES = 2


def member_costs(members: Members, images: NDArray[np.float32]) -> Costs:
    """Measure members, each alone and asked after a smaller one.

    All are in memory, and asked in turn, as a system does.

    Parameters
    ----------
    members : Members
    images : ndarray of shape (n, height, width, channels), float32
        Some tens: each is timed by itself, several times.
    """
    n_members, row = len(members), np.zeros(1, np.int64)
    alone = np.zeros((_ROUNDS + 1, len(images), n_members))
    after = np.zeros_like(alone)
    with one_thread():
        for times, later in zip(alone, after, strict=True):
            for number in range(len(images)):
                image = images[number : number + 1]
                chain = members.asking(image)
                for member in range(n_members):
                    engine = members.engines[member]
                    times[number, member] = _milliseconds(engine.predict_labels, image)
                    later[number, member] = _milliseconds(chain, member, row)
    return Costs(*(np.median(each[1:].min(axis=0), axis=0) for each in (alone, after)))


def selector_costs(
    costs: Costs, selector: Selector, members: Members, images: NDArray[np.float32]
) -> Costs:
    """Add what a selector takes to what its members take; see :func:`member_costs`."""
    n_decisions, row = len(members) - 1, np.zeros(1, np.int64)
    looks = np.zeros((_ROUNDS + 1, len(images)))
    decisions = np.zeros((_ROUNDS + 1, len(images), n_decisions))
    with one_thread():
        for look, decide in zip(looks, decisions, strict=True):
            for number in range(len(images)):
                image = images[number : number + 1]
                look[number] = _milliseconds(_look, selector, members, image)
                asking = members.asking(image)
                for member in range(n_decisions):
                    given = asking(member, row)
                    decide[number, member] = _milliseconds(selector.after, member, *given)
    found = [float(np.median(each[1:].min(axis=0))) for each in (looks, decisions)]
    return replace(costs, look=found[0], decide=found[1])


def dispatch_cost(system: System, images: NDArray[np.float32]) -> float:
    """Measure what a system takes besides its members and its selector; see :func:`member_costs`.

    It is the median of what is left of each image's time, at the most permissive point between the
    ends of the dial.
    """
    inner = replace(system, point=len(system.dial.thresholds) - 2)
    parts = replace(system.costs, dispatch=0.0).of(inner.answers(images).asked)
    [took] = single_milliseconds([inner], images)
    return max(0.0, float(np.median(took - parts)))


def single_milliseconds(
    classifiers: Sequence[Classifier], images: NDArray[np.float32], seed: int = 0
) -> NDArray[np.float64]:
    """Measure what each image takes, alone, from its pixels to its label, in random order.

    The classifiers take turns, so that what the machine does besides befalls all of them.

    Returns
    -------
    ndarray of shape (n_classifiers, n), float64
        The least of several times, in the order of ``images``.
    """
    rng = np.random.default_rng(seed)
    times = np.zeros((_ROUNDS + 1, len(classifiers), len(images)))
    with one_thread():
        for of_round in times:
            for number in rng.permutation(len(images)):
                image = images[number : number + 1]
                for row, each in zip(of_round, classifiers, strict=True):
                    row[number] = _milliseconds(each.predict_labels, image)
    found: NDArray[np.float64] = times[1:].min(axis=0)
    return found


def batch_milliseconds(classifier: Classifier, images: NDArray[np.float32]) -> float:
    """Measure what an image takes in a batch, on one thread: the least of several times."""
    with one_thread():
        times = [_milliseconds(classifier.predict_labels, images) for _ in range(_BATCHES + 1)]
    return min(times[1:]) / len(images)


def _look(selector: Selector, members: Members, image: NDArray[np.float32]) -> None:
    selector.first(selector.look(image, members.engines))


def _milliseconds(work: Callable[..., object], *given: object) -> float:
    begun = time.perf_counter()
    work(*given)
    return 1000 * (time.perf_counter() - begun)
