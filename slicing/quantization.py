"""Numbers on a grid of 255 levels: int8 in a file, float32 in memory.

Symmetric linear quantization (Jacob et al., "Quantization and training of neural networks for
efficient integer-arithmetic-only inference", CVPR 2018, equation 1 with zero point 0). Numbers on
their grid are written and read back without loss.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 127

Step = NDArray[np.float32] | np.float32

# Significant bits of a step: so few that its product with 127, 7 bits more, is exact in float32.
_BITS = 16
# Smallest step: far above the numbers that float32 holds with fewer bits.
_LEAST = 2.0**-100


def step_of(values: NDArray[np.float32], axis: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Find the step of the narrowest grid that covers all values.

    Values on a grid that reach its end give exactly the step of that grid.

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
    """Round values to the levels -127 to 127 of a grid; values beyond its ends become its ends."""
    nearest: NDArray[np.float32] = np.rint(values / step)
    return np.clip(nearest, -LEVELS, LEVELS).astype(np.int8)


def snap(values: NDArray[np.float32], step: Step) -> NDArray[np.float32]:
    """Round values, float32, to the nearest number of a grid."""
    return on_grid(levels(values, step), step)


def on_grid(numbers: NDArray[np.int8], step: Step) -> NDArray[np.float32]:
    """Multiply levels by their step, without rounding."""
    return np.multiply(numbers, step, dtype=np.float32)
