"""An engine as one graph for other runtimes: convolutions and k-NN together.

The graphs take ``images`` of shape (n, height, width, channels), float32, pixels in [0, 1], and
give ``label`` (n,), int64, the index of the class, and ``votes`` (n, n_classes), float32. Where the
engine measures distances in float64, they compare scores in float32: with the mean c of the
references, 2 (q - c)·(r - c) - ‖r - c‖² is the greater the nearer r is to q, and loses little to
cancellation; for the cosine, q·r / ‖r‖ is.
"""

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slicing.backend import load_keras
from slicing.engine import Engine
from slicing.errors import InputError
from slicing.stack import Conv

if TYPE_CHECKING:
    import onnx

# The opset in which ReduceSum takes its axes as an input; read by every runtime of these years.
_OPSET, _IR_VERSION = 17, 8
_TINY = np.float32(np.finfo(np.float32).tiny)


def to_litert(engine: Engine) -> bytes:
    """Convert an engine to a LiteRT (TensorFlow Lite) model, in float32.

    Returns
    -------
    bytes
        The content of a ``.tflite`` file; its signature ``serving_default`` has the names above.
    """
    load_keras()
    import tensorflow as tf

    centre = _centre(engine)
    references = engine.references - centre
    squares = (references**2).sum(axis=1)
    if engine.metric == "cosine":
        references = references / np.maximum(np.sqrt(squares), _TINY)[:, None]
        squares = np.zeros_like(squares)
    class_of = engine.labels.astype(np.int32)

    @tf.function(
        input_signature=[tf.TensorSpec((None, *engine.stack.input_shape), tf.float32, "images")]
    )
    def classify(images: Any) -> dict[str, Any]:
        out = images
        for layer in engine.stack.layers:
            padding = layer.padding.upper()
            if isinstance(layer, Conv):
                out = tf.nn.conv2d(out, layer.weights, layer.strides, padding) + layer.bias
                out = tf.nn.relu(out) if layer.relu else out
            else:
                pool = tf.nn.max_pool2d if layer.kind == "max" else tf.nn.avg_pool2d
                out = pool(out, layer.size, layer.strides, padding)
        features = tf.reshape(out, (-1, references.shape[1])) - centre
        scores = tf.matmul(features, 2.0 * references.T) - squares
        nearest = tf.math.top_k(scores, engine.k).indices
        chosen = tf.one_hot(tf.gather(class_of, nearest), len(engine.classes))
        votes = tf.reduce_sum(chosen, axis=1)
        return {"label": tf.argmax(votes, axis=1), "votes": votes}

    module = tf.Module()
    module.classify = classify
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [classify.get_concrete_function()], module
    )
    return bytes(converter.convert())


def to_onnx(engine: Engine) -> bytes:
    """Convert an engine to an ONNX model; int8 stays int8 in the file.

    The names of the classes are its metadata ``classes``, a JSON list.

    Returns
    -------
    bytes
        The content of a ``.onnx`` file.

    Raises
    ------
    InputError
        Where the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError("ONNX is not installed: pip install -e '.[onnx]'.") from error
    return bytes(_OnnxGraph(engine, onnx).model().SerializeToString())


def _centre(engine: Engine) -> NDArray[np.float32]:
    """Give the point about which scores are computed."""
    if engine.metric == "cosine":
        return np.zeros(engine.references.shape[1], np.float32)
    centre: NDArray[np.float32] = engine.references.mean(axis=0, dtype=np.float64)
    return centre.astype(np.float32)


class _OnnxGraph:
    """Nodes and constants of a graph, in the order in which they are computed."""

    def __init__(self, engine: Engine, onnx: Any) -> None:
        self._engine, self._onnx = engine, onnx
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def model(self) -> "onnx.ModelProto":
        helper, types = self._onnx.helper, self._onnx.TensorProto
        engine = self._engine
        votes = self._votes(self._features("images"))
        self._add("Identity", votes, name="votes")
        self._add("ArgMax", votes, name="label", axis=1, keepdims=0)
        graph = helper.make_graph(
            self._nodes,
            "engine",
            [
                helper.make_tensor_value_info(
                    "images", types.FLOAT, ["n", *engine.stack.input_shape]
                )
            ],
            [
                helper.make_tensor_value_info("label", types.INT64, ["n"]),
                helper.make_tensor_value_info("votes", types.FLOAT, ["n", len(engine.classes)]),
            ],
            self._constants,
        )
        model: onnx.ModelProto = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="knn-slicing",
        )
        helper.set_model_props(model, {"classes": json.dumps(engine.classes)})
        self._onnx.checker.check_model(model)
        return model

    def _features(self, images: str) -> str:
        """Send the images through the conv stack, channels first meanwhile."""
        out = self._add("Transpose", images, perm=(0, 3, 1, 2))
        arrays = self._engine.conv_arrays()
        number = 0
        for layer in self._engine.stack.layers:
            padding = {"valid": "VALID", "same": "SAME_UPPER"}[layer.padding]
            if isinstance(layer, Conv):
                number += 1
                kernels = arrays[f"kernels{number}"].transpose(3, 2, 0, 1)
                weights = self._stored(kernels, arrays.get(f"steps{number}"), axis=0)
                bias = self._constant(layer.bias)
                out = self._add("Conv", out, weights, bias, strides=layer.strides, auto_pad=padding)
                out = self._add("Relu", out) if layer.relu else out
            else:
                kind = {"max": "MaxPool", "average": "AveragePool"}[layer.kind]
                out = self._add(
                    kind, out, kernel_shape=layer.size, strides=layer.strides, auto_pad=padding
                )
        return self._add("Flatten", self._add("Transpose", out, perm=(0, 2, 3, 1)))

    def _votes(self, features: str) -> str:
        """Find the nearest references, and let them vote."""
        engine = self._engine
        step = None if engine.step is None else np.array(engine.step, np.float32)
        stored = self._stored(engine.reference_arrays()["references"], step)
        centre = self._constant(_centre(engine))
        references = self._add("Sub", stored, centre)
        squares = self._add("ReduceSumSquare", references, axes=(1,), keepdims=1)
        if engine.metric == "cosine":
            length = self._add("Max", self._add("Sqrt", squares), self._constant(_TINY))
            references = self._add("Div", references, length)
        columns = self._add("Transpose", references, perm=(1, 0))
        scores = self._add("MatMul", self._add("Sub", features, centre), columns)
        if engine.metric == "euclidean":
            twice = self._add("Mul", scores, self._constant(np.float32(2.0)))
            scores = self._add("Sub", twice, self._add("Transpose", squares, perm=(1, 0)))
        nearest = self._add("TopK", scores, self._constant(np.array([engine.k])), outputs=2)
        classes = self._add("Gather", self._constant(engine.labels), nearest)
        depth = self._constant(np.array(len(engine.classes)))
        chosen = self._add("OneHot", classes, depth, self._constant(np.array([0, 1], np.float32)))
        return self._add("ReduceSum", chosen, self._constant(np.array([1])), keepdims=0)

    def _stored(
        self, numbers: NDArray[Any], step: NDArray[np.float32] | None, axis: int = 0
    ) -> str:
        """Add float32 numbers, or int8 ones that the graph multiplies by their steps."""
        name = self._constant(np.ascontiguousarray(numbers))
        if step is None:
            return name
        return self._add("DequantizeLinear", name, self._constant(step), axis=axis)

    def _constant(self, value: NDArray[Any] | np.generic) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def _add(
        self, operator: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: Any
    ) -> str:
        """Add a node; give the name of its last output."""
        name = name or f"{operator}{len(self._nodes)}"
        names = [f"{name}_{number}" for number in range(1, outputs)] + [name]
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, names, **attributes))
        return names[-1]
