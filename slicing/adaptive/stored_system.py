"""A system as settings and named arrays, as its file holds it, and back.

Members are inside by content: an array that several of them have is there once.
"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slicing import tensor_file
from slicing.adaptive.combination import Combination
from slicing.adaptive.dial import Dial
from slicing.adaptive.selectors import SELECTORS
from slicing.adaptive.table import Costs
from slicing.engine import stored_engine
from slicing.engine.engine import Engine
from slicing.errors import InputError

if TYPE_CHECKING:
    from slicing.adaptive.system import System

KIND = "knn-slicing system 2"
"""Name and version of what such a file holds."""

_MOST_MEMBERS = 100


def packed(system: "System") -> bytes:
    """Give the bytes of the file of a system."""
    arrays, members = dict[str, NDArray[Any]](), []
    for engine in system.engines:
        names = {}
        for name, array in stored_engine.arrays_of(engine).items():
            content = np.ascontiguousarray(array)
            form = f"{content.dtype.str}{content.shape}".encode()
            key = hashlib.sha256(form + content.tobytes()).hexdigest()[:16]
            arrays[key] = content
            names[name] = key
        members.append({"settings": stored_engine.settings_of(engine), "arrays": names})
    arrays |= {f"selector.{k}": v for k, v in system.selector.arrays().items()}
    arrays |= {f"dial.{k}": v for k, v in system.dial.arrays().items()}
    arrays |= {"costs.alone": system.costs.alone, "costs.after": system.costs.after}
    if system.combination is not None:
        arrays["combination"] = system.combination.exponents
    settings = {
        "members": members,
        "selector": system.selector.name,
        "options": system.selector.settings(),
        "images": system.dial.n,
        "confidence": system.dial.confidence,
        "look": system.costs.look,
        "decide": system.costs.decide,
        "dispatch": system.costs.dispatch,
        "point": system.point,
        "roles": dict(system.roles),
    }
    return tensor_file.pack(KIND, settings, arrays)


def parts_of(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Give what a system is made of, by the names of its attributes.

    Raises
    ------
    InputError, LookupError, TypeError, ValueError
        Where it does not fit together.
    """
    stored = settings["members"]
    if not 2 <= len(stored) <= _MOST_MEMBERS:
        raise InputError(f"it has {len(stored)} members")
    engines = tuple(_engine(each, arrays) for each in stored)
    name = settings["selector"]
    if name not in SELECTORS:
        raise InputError(f"its selector is {name!r}")
    exponents = arrays.get("combination")
    for number in (settings["images"], settings["point"], *settings["roles"].values()):
        if type(number) is not int or number < 0:
            raise InputError(f"it counts {number!r}")
    return {
        "engines": engines,
        "selector": SELECTORS[name].restored(
            settings["options"], _part(arrays, "selector."), len(engines)
        ),
        "dial": _dial(settings, _part(arrays, "dial.")),
        "costs": Costs(
            arrays["costs.alone"].astype(np.float64), arrays["costs.after"].astype(np.float64),
            float(settings["look"]), float(settings["decide"]), float(settings["dispatch"]),
        ),
        "point": settings["point"],
        "combination": None if exponents is None else Combination(exponents.astype(np.float64)),
        "roles": settings["roles"],
    }  # fmt: skip


def try_selector(system: "System") -> None:
    """Let a selector decide about a black image, which shows whether it fits the members.

    Raises
    ------
    InputError, LookupError, TypeError, ValueError
        Where it does not.
    """
    selector, n_classes = system.selector, len(system.classes)
    black = np.zeros((1, *system.input_shape), np.float32)
    decisions = [selector.first(selector.look(black, system.engines))]
    far, answer = np.ones((1, n_classes), np.float32), np.array([n_classes - 1])
    for member in range(len(system.engines) - 1):
        decisions.append(selector.after(member, answer, far))
    for following, _ in decisions:
        if not 0 <= following[0] < len(system.engines):
            raise InputError(f"its selector asks member {following[0]}")


def _engine(stored: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Engine:
    own = {name: arrays[key] for name, key in stored["arrays"].items()}
    return Engine(**stored_engine.parts_of(stored["settings"], own))


def _part(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def _dial(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Dial:
    confidence = float(settings["confidence"])
    if not 0.0 < confidence < 1.0:
        raise InputError(f"its confidence is {confidence}")
    floats = {
        name: arrays[name].astype(np.float64)
        for name in ("thresholds", "bounds", "milliseconds", "asked", "accuracies")
    }
    flips = arrays["flips"].astype(np.int64)
    return Dial(**floats, flips=flips, n=settings["images"], confidence=confidence)
