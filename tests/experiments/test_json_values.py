import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.json_values import plain_values


@dataclass
class Inner:
    loss: float
    names: tuple[str, ...]


def test_values_become_what_json_has():
    value = {
        "inner": Inner(float("inf"), ("a", "b")),
        1: np.float32(0.5),
        "array": np.array([[1.0, np.nan]]),
        "path": Path("a/b"),
        "none": None,
        "flag": np.bool_(True),
    }
    plain = plain_values(value)
    assert plain == {
        "inner": {"loss": None, "names": ["a", "b"]},
        "1": 0.5,
        "array": [[1.0, None]],
        "path": "a/b",
        "none": None,
        "flag": True,
    }
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain
