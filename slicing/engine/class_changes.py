"""Classes that an engine learns from a few images, and forgets."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from slicing.errors import InputError
from slicing.names import class_name
from slicing.pixels import Pixels
from slicing.quantization import snap

if TYPE_CHECKING:
    from slicing.engine.engine import Engine


def with_class(engine: "Engine", images: Pixels, name: str) -> "Engine":
    """Give an engine that knows one more class; see :meth:`.Engine.add_class`."""
    if not isinstance(name, str) or not name.strip():
        raise InputError("The new class has no name: give a text after its images.")
    name = class_name(name)
    if name in map(class_name, engine.classes):
        raise InputError(f"There is a class {name} already: choose another name.")
    features = engine.features(images)
    if not len(features):
        raise InputError(f"The class {name} has no images: give at least one.")
    if engine.step is not None:
        features = snap(features, np.float32(engine.step))
    return replace(
        engine,
        references=np.vstack([engine.references, features]),
        labels=np.append(engine.labels, np.full(len(features), len(engine.classes))),
        classes=(*engine.classes, name),
        confidence=None,
    )


def without_class(engine: "Engine", name: str) -> "Engine":
    """Give an engine that knows one class less; see :meth:`.Engine.remove_class`."""
    if name not in engine.classes:
        raise InputError(f"There is no class {name}: choose one of {', '.join(engine.classes)}.")
    label = engine.classes.index(name)
    kept = engine.labels != label
    labels = engine.labels[kept]
    return replace(
        engine,
        references=engine.references[kept],
        labels=labels - (labels > label),
        classes=tuple(each for each in engine.classes if each != name),
        confidence=None,
    )
