"""The parts of an engine fit each other."""

from typing import TYPE_CHECKING, get_args

import numpy as np

from slicing.checks import between, one_of, whole
from slicing.errors import InputError
from slicing.neighbors.exact import Metric
from slicing.shifts import largest_shift

if TYPE_CHECKING:
    from slicing.engine.engine import Engine


def require_consistent(engine: "Engine") -> None:
    """Refuse an engine whose parts do not fit each other.

    Raises
    ------
    InputError
    """
    one_of("metric", engine.metric, get_args(Metric))
    whole("k", engine.k)
    whole("average", engine.average)
    between("average", engine.average, 0, largest_shift(engine.stack.input_shape), "pixels")
    n, n_features = len(engine.labels), int(np.prod(engine.stack.feature_shape))
    if engine.references.shape != (n, n_features):
        raise InputError(
            f"The references have shape {engine.references.shape}, and {n} labels and "
            f"{n_features} features need {(n, n_features)}."
        )
    if engine.backbone is not None and engine.backbone.map_shape != engine.stack.input_shape:
        raise InputError(
            f"The backbone gives maps of shape {engine.backbone.map_shape}, and the stack takes "
            f"{engine.stack.input_shape}."
        )
    if engine.preparation is not None and engine.preparation.shape != engine.input_shape:
        raise InputError(
            f"Files become images of shape {engine.preparation.shape}, and the engine takes "
            f"{engine.input_shape}."
        )
    arrays = [engine.references]
    for conv in engine.stack.convs:
        arrays += [conv.weights, conv.bias]
    for array in arrays:
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise InputError("Kernels and references must be finite numbers of float32.")
    for name in engine.classes:
        if not isinstance(name, str):
            raise InputError(f"The class {name!r} has no name: give a text.")
    if len(set(engine.classes)) < len(engine.classes):
        raise InputError(f"Two classes have one name: {', '.join(engine.classes)}.")
    between("k", engine.k, 1, n, "references")
    if n and not 0 <= engine.labels.min() <= engine.labels.max() < len(engine.classes):
        raise InputError(
            f"The labels run from {engine.labels.min()} to {engine.labels.max()}, and there are "
            f"{len(engine.classes)} classes."
        )
