"""Values as JSON has them: numbers that are finite, or null."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np


def plain_values(value: Any) -> Any:
    """Turn dataclasses, tuples and NumPy's numbers into what JSON can write.

    A number that is not finite becomes None: JSON has no word for it.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain_values(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain_values(each) for each in value]
    if isinstance(value, np.generic):
        return plain_values(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
