"""How many threads the numerical libraries use."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy  # noqa: F401  (its BLAS must be loaded before the controller looks for it)
import scipy.linalg  # noqa: F401  (numba's np.dot calls scipy's BLAS, not numpy's)
from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    # Looking for the loaded libraries takes milliseconds: once is enough.
    return ThreadpoolController()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep BLAS to one thread, for calls from inside numba's own parallel loops."""
    with _controller().limit(limits=1, user_api="blas"):
        yield
