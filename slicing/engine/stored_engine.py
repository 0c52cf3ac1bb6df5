"""An engine as settings and named arrays, as its file holds it, and back."""

from collections.abc import Mapping
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slicing.backbones.backbone import Backbone
from slicing.data.preparation import Preparation
from slicing.engine import stored_stack
from slicing.engine.evidence import Confidence
from slicing.errors import InputError
from slicing.quantization import levels, on_grid

if TYPE_CHECKING:
    from slicing.engine.engine import Engine


def settings_of(engine: "Engine") -> dict[str, Any]:
    """Describe all but the arrays by what JSON can express."""
    settings = stored_stack.settings_of(engine.stack) | {
        "k": engine.k,
        "metric": engine.metric,
        "classes": engine.classes,
    }
    if engine.step is not None:
        settings["step"] = engine.step
    if engine.average:
        settings["average"] = engine.average
    if engine.backbone is not None:
        backbone = engine.backbone
        settings["backbone"] = backbone.name, backbone.cuts, backbone.channels
    if engine.preparation is not None:
        settings["preparation"] = astuple(engine.preparation)
    if engine.confidence is not None:
        settings["confidence"] = astuple(engine.confidence)
    return settings


def arrays_of(engine: "Engine") -> dict[str, NDArray[Any]]:
    """Give all arrays by name."""
    arrays = engine.conv_arrays() | reference_arrays(engine)
    if engine.backbone is not None:
        arrays["backbone"] = np.frombuffer(engine.backbone.graph, np.uint8)
    return arrays


def reference_arrays(engine: "Engine") -> dict[str, NDArray[Any]]:
    """Give references and labels as they are stored, by name."""
    references: NDArray[Any] = engine.references
    if engine.step is not None:
        references = levels(references, np.float32(engine.step))
    label_type = np.uint8 if len(engine.classes) <= 256 else np.uint16
    return {"references": references, "labels": engine.labels.astype(label_type)}


def parts_of(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Give what an engine is made of, by the names of its attributes.

    Raises
    ------
    InputError, LookupError, TypeError, ValueError
        Where it does not fit together.
    """
    step = settings.get("step")
    if step is not None and not 0.0 < step < np.inf:
        raise InputError(f"its step is {step}")
    classes = settings["classes"]
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise InputError("its classes have no names")
    references = arrays["references"]
    confidence = settings.get("confidence")
    return {
        "stack": stored_stack.stack_of(settings, arrays, is_int8=step is not None),
        "references": references if step is None else on_grid(references, np.float32(step)),
        "labels": _labels(arrays["labels"]),
        "classes": tuple(classes),
        "k": settings["k"],
        "metric": settings["metric"],
        "step": step,
        "average": settings.get("average", 0),
        "backbone": _backbone(settings, arrays),
        "preparation": _preparation(settings.get("preparation")),
        "confidence": None if confidence is None else Confidence(*confidence),
    }


def _backbone(settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Backbone | None:
    if "backbone" not in settings:
        return None
    graph = arrays["backbone"]
    if graph.ndim != 1 or graph.dtype != np.uint8:
        raise InputError(f"its backbone has type {graph.dtype} and shape {graph.shape}")
    name, cuts, channels = settings["backbone"]
    if not all(type(each) is int for each in channels):
        raise InputError(f"its cuts have {channels} channels")
    return Backbone(str(name), graph.tobytes(), tuple(map(str, cuts)), tuple(channels))


def _preparation(stored: Any) -> Preparation | None:
    if stored is None:
        return None
    size, channels, fit = stored
    if not all(type(each) is int for each in (*size, channels)):
        raise InputError(f"its images have the size {size}")
    return Preparation.of(size, channels, fit)


def _labels(stored: NDArray[Any]) -> NDArray[np.int64]:
    if stored.ndim != 1 or stored.dtype not in (np.uint8, np.uint16):
        raise InputError(f"its labels have type {stored.dtype} and shape {stored.shape}")
    return stored.astype(np.int64)
