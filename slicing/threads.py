"""Limit the threads of the numerical libraries."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController

# The limit holds for the process: one thread at a time sets and resets it.
_lock = threading.RLock()
_depth = 0


@lru_cache(maxsize=1)
def _libraries() -> list[Any]:
    # Both must be loaded before the controller looks for them: numba's np.dot calls scipy's BLAS,
    # not numpy's. Here, not above, so that an engine loads fast.
    import numpy  # noqa: F401
    import scipy.linalg  # noqa: F401

    # Looking for them takes milliseconds: once is enough.
    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Keep BLAS to one thread, for calls from inside numba's own parallel loops.

    Nested calls cost nothing; other threads wait for their turn.
    """
    global _depth
    with _lock:
        if _depth:
            yield
            return
        # threadpoolctl's own limit() takes longer than classifying an image.
        before = [(library, library.get_num_threads()) for library in _libraries()]
        for library, _ in before:
            library.set_num_threads(1)
        _depth = 1
        try:
            yield
        finally:
            _depth = 0
            for library, threads in before:
                library.set_num_threads(threads)


def usable_processors() -> int:
    """Give the number of processors that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, for the length of a ``with`` statement: parallel loops and BLAS."""
    # Here, not above: reading images needs none of it.
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with single_threaded_blas():
            yield
    finally:
        numba.set_num_threads(before)
