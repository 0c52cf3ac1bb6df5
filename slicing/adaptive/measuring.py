"""What members, selectors and whole systems take for one image at a time, on one thread."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numba
import numpy as np
from numpy.typing import NDArray

from slicing.adaptive.members import Members
from slicing.adaptive.selector import Selector
from slicing.adaptive.table import Costs
from slicing.classifier import Classifier
from slicing.threads import single_threaded_blas

# How often each image is timed: the median leaves out what the machine did besides.
_ROUNDS = 5


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, for the length of a ``with`` statement."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with single_threaded_blas():
            yield
    finally:
        numba.set_num_threads(before)


def member_costs(members: Members, images: NDArray[np.float32]) -> Costs:
    """Measure members, asked first and asked after a smaller one.

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
                    times[number, member] = _milliseconds(_ask, members, image, member)
                    later[number, member] = _milliseconds(chain, member, row)
    # The first round compiles, and loads what the others find loaded.
    found = np.median(alone[1:], axis=(0, 1)), np.median(after[1:], axis=(0, 1))
    return Costs(*found)


def selector_costs(
    costs: Costs, selector: Selector, members: Members, images: NDArray[np.float32]
) -> Costs:
    """Add what a selector takes to what its members take; see :func:`member_costs`."""
    looks, decisions = [], []
    row = np.zeros(1, np.int64)
    with one_thread():
        for _ in range(_ROUNDS + 1):
            for number in range(len(images)):
                image = images[number : number + 1]
                looks.append(_milliseconds(_look, selector, members, image))
                asking = members.asking(image)
                for member in range(len(members) - 1):
                    given = asking(member, row)
                    decisions.append(_milliseconds(selector.after, member, *given))
    skipped = len(images)
    return replace(
        costs,
        look=float(np.median(looks[skipped:])),
        decide=float(np.median(decisions[skipped * (len(members) - 1) :])),
    )


def single_milliseconds(
    classifier: Classifier, images: NDArray[np.float32], seed: int = 0
) -> NDArray[np.float64]:
    """Measure what each image takes, alone, from its pixels to its label, in random order.

    Returns
    -------
    ndarray of shape (n,), float64
        The median of several times, in the order of ``images``.
    """
    rng = np.random.default_rng(seed)
    times = np.zeros((_ROUNDS + 1, len(images)))
    with one_thread():
        for of_round in times:
            for number in rng.permutation(len(images)):
                image = images[number : number + 1]
                of_round[number] = _milliseconds(classifier.predict_labels, image)
    found: NDArray[np.float64] = np.median(times[1:], axis=0)
    return found


def _ask(members: Members, image: NDArray[np.float32], member: int) -> None:
    members.asking(image)(member, np.zeros(1, np.int64))


def _look(selector: Selector, members: Members, image: NDArray[np.float32]) -> None:
    selector.first(selector.look(image, members.engines))


def _milliseconds(work: Callable[..., object], *given: object) -> float:
    begun = time.perf_counter()
    work(*given)
    return 1000 * (time.perf_counter() - begun)
