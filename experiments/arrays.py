"""Write arrays of a run as NumPy files, whole or not at all."""

from pathlib import Path
from typing import Any

import numpy as np

from slicing.files import replacing
from slicing.stack import ConvStack


def save_kernels(stack: ConvStack, path: Path) -> None:
    """Write the weights and biases of a conv stack, by the number of the convolution."""
    arrays: dict[str, Any] = {}
    for number, conv in enumerate(stack.convs, 1):
        arrays |= {f"conv{number}_weights": conv.weights, f"conv{number}_bias": conv.bias}
    save_arrays(arrays, path)


def save_arrays(arrays: dict[str, Any], path: Path) -> None:
    """Write arrays by their names."""
    with replacing(path) as file:
        np.savez(file, **arrays)
