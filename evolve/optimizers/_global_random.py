"""Let libraries that draw from the global generators draw from a given one instead."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def numpy_draws_from(rng: np.random.Generator) -> Iterator[None]:
    """Feed ``numpy.random``'s functions from `rng` inside, leave them as they were afterwards.

    The functions are those of the whole process: no other thread may draw from them meanwhile.
    """
    bit_generator = np.random.get_bit_generator()  # type: ignore[attr-defined]
    # Beside the bit generator there is a cached Gaussian, which changing it throws away.
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    np.random.set_bit_generator(rng.bit_generator)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        np.random.set_bit_generator(bit_generator)  # type: ignore[attr-defined]
        np.random.set_state(state)  # noqa: NPY002


@contextmanager
def python_draws_from(rng: np.random.Generator) -> Iterator[None]:
    """Seed ``random``'s functions from `rng` inside, leave them as they were afterwards.

    The functions are those of the whole process: no other thread may draw from them meanwhile.
    """
    state = random.getstate()
    random.seed(rng.bytes(32))
    try:
        yield
    finally:
        random.setstate(state)
