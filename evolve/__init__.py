"""The evolution: blocks, fitness, optimizers, schedules, and where candidates are evaluated.

All names of the library's loop are here. Each is imported when it is first used, so that a program
that needs one of them does not wait for the others.
"""

import lazy_loader

# It finds a place for what numba compiles.
import slicing  # noqa: F401

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
