"""How many numbers the values within a graph have, without computing them.

ONNX infers the shape of a value from the shapes before it. Some networks compute a shape, as Keras
does for dense layers on maps: these few whole numbers are computed here, of the shapes alone.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicing.backbones.graph import OPSET, input_shape, load_onnx
from slicing.errors import InputError

# Numbers of a value that may be part of a shape.
_FEW = 64


def largest(model: Any, n: int) -> int:
    """Count the numbers of the largest value within a graph.

    Parameters
    ----------
    model : onnx.ModelProto
        With one input. What it says of the shapes of its values is not believed.
    n : int
        Images that are computed at a time. A value may grow faster than they do, or otherwise.

    Raises
    ------
    InputError
        Where the size of a value depends on the pixels, or the values do not fit each other.
    """
    onnx = load_onnx()
    make_type = onnx.helper.make_tensor_type_proto
    opset = {each.domain: each.version for each in model.opset_import}.get("", OPSET)
    (images,) = model.graph.input
    stored = model.graph.initializer
    types = {each.name: make_type(each.data_type, each.dims) for each in stored}
    types[images.name] = make_type(onnx.TensorProto.FLOAT, [n, *input_shape(model)])
    known = {
        each.name: onnx.numpy_helper.to_array(each) for each in stored if prod(each.dims) <= _FEW
    }
    sizes = [prod(_dims(types[images.name]))]
    for node in model.graph.node:
        given = {name: types[name] for name in node.input if name}
        data = {name: onnx.numpy_helper.from_array(known[name]) for name in given if name in known}
        try:
            schema = onnx.defs.get_schema(node.op_type, opset)
            found = onnx.shape_inference.infer_node_outputs(
                schema, node, given, data, opset_imports=model.opset_import
            )
            shapes = {name: _dims(found[name]) for name in node.output if name}
        except (onnx.shape_inference.InferenceError, onnx.defs.SchemaError, LookupError) as error:
            raise InputError(
                f"The backbone's graph has the operator {node.op_type}, and the size of what it "
                "gives is not known before it is computed: use a network without."
            ) from error
        types |= found
        sizes += map(prod, shapes.values())
        if max(map(prod, shapes.values())) <= _FEW:
            known |= _computed(node, given, known)
    return max(sizes)


def _dims(value: Any) -> tuple[int, ...]:
    """Give the shape of a type.

    Raises
    ------
    LookupError
        Where it has none that is whole.
    """
    dims = value.tensor_type.shape.dim
    if not value.tensor_type.HasField("shape") or not all(d.HasField("dim_value") for d in dims):
        raise LookupError("It has no shape, or a part of it is not known.")
    return tuple(each.dim_value for each in dims)


def _computed(
    node: Any, types: Mapping[str, Any], known: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Compute what a node gives, where it needs no pixels: of numbers, or of a shape."""
    if node.op_type in ("Shape", "Size"):
        # It has the shape, and takes no memory.
        inputs = {name: np.broadcast_to(np.float32(0), _dims(types[name])) for name in types}
    elif types.keys() <= known.keys():
        inputs = {name: known[name] for name in types}
    else:
        return {}
    try:
        values = load_onnx().reference.ReferenceEvaluator(node).run(None, inputs)
    except Exception:  # what operators raise is open-ended; then it is not known
        return {}
    return dict(zip(node.output, map(np.asarray, values), strict=True))
