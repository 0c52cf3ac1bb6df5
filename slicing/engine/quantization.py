"""int8 in a file, float32 in memory: numbers on a grid of 255 levels.

Symmetric linear quantization (Jacob et al., "Quantization and training of neural networks for
efficient integer-arithmetic-only inference", CVPR 2018, equation 1 with zero point 0). What lies on
its grid is written and read back without loss.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 127

Step = NDArray[np.float32] | np.float32

# A step has so many significant bits that its product with 127, 7 bits more, is exact in float32.
_BITS = 16
# Far above what float32 cannot hold with all its bits.
_LEAST = 2.0**-100


def step_of(values: NDArray[np.float32], axis: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Find the step of the narrowest grid that reaches all values.

    The values of a grid that it reaches to its end have the very step of that grid.

    Parameters
    ----------
    values : ndarray, float32
    axis : tuple of int, optional
        Axes that share a step; None: all.

    Returns
    -------
    ndarray, float32
        Without the axes that share a step.
    """
    largest = np.abs(values).max(axis=axis, initial=0.0)
    fraction, exponent = np.frexp(np.maximum(largest.astype(np.float64) / LEVELS, _LEAST))
    return np.asarray(np.ldexp(np.ceil(fraction * 2**_BITS), exponent - _BITS), np.float32)


def levels(values: NDArray[np.float32], step: Step) -> NDArray[np.int8]:
    """Round values to the levels -127 to 127 of a grid; what lies outside becomes its end."""
    nearest: NDArray[np.float32] = np.rint(values / step)
    return np.clip(nearest, -LEVELS, LEVELS).astype(np.int8)


def snap(values: NDArray[np.float32], step: Step) -> NDArray[np.float32]:
    """Move values, float32, to the nearest of a grid."""
    return on_grid(levels(values, step), step)


def on_grid(numbers: NDArray[np.int8], step: Step) -> NDArray[np.float32]:
    """Multiply levels by their step, without rounding."""
    return np.multiply(numbers, step, dtype=np.float32)
