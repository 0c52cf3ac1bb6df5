"""Export an engine as one graph for other runtimes: convolutions and k-NN together.

The graphs take ``images`` of shape (n, height, width, channels), float32, pixels in [0, 1], and
give ``label`` (n,), int64, the index of the class, and ``votes`` (n, n_classes), float32. They do
not check the pixels: divide those of 0 to 255 by 255. Both files say so themselves.

Engines measure distances in float64. The graphs compare scores in float32, which are larger for
nearer references: 2 (q - c)·(r - c) - ‖r - c‖² with the mean c of the references, which loses
little to cancellation, or q·r / ‖r‖ for the cosine.
"""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicing.backbones.in_tensorflow import as_tensorflow
from slicing.backend import load_keras
from slicing.engine.engine import Engine
from slicing.engine.onnx_graph import OnnxGraph
from slicing.shifts import corners
from slicing.stack import Conv

# What the graphs take, for those who have nothing but the file.
_PIXELS = "float32 from 0 to 1, which is not checked: divide those of 0 to 255 by 255"
_TINY = np.float32(np.finfo(np.float32).tiny)


def to_litert(engine: Engine) -> bytes:
    """Convert an engine to a LiteRT (TensorFlow Lite) model, in float32.

    Returns
    -------
    bytes
        The content of a ``.tflite`` file; its signature ``serving_default`` has the names above,
        and its description says what it takes.
    """
    load_keras()
    import tensorflow as tf

    center = _center(engine)
    references = engine.references - center
    squares = (references**2).sum(axis=1)
    if engine.metric == "cosine":
        references = references / np.maximum(np.sqrt(squares), _TINY)[:, None]
        squares = np.zeros_like(squares)
    class_of = engine.labels.astype(np.int32)
    backbone = None if engine.backbone is None else as_tensorflow(engine.backbone)

    @tf.function(input_signature=[tf.TensorSpec((None, *engine.input_shape), tf.float32, "images")])
    def classify(images: Any) -> dict[str, Any]:
        out = images if backbone is None else backbone(images)
        out = _copies(out, engine) if engine.average else out
        for layer in engine.stack.layers:
            padding = layer.padding.upper()
            if isinstance(layer, Conv):
                out = tf.nn.conv2d(out, layer.weights, layer.strides, padding) + layer.bias
                out = tf.nn.relu(out) if layer.relu else out
            else:
                pool = tf.nn.max_pool2d if layer.kind == "max" else tf.nn.avg_pool2d
                out = pool(out, layer.size, layer.strides, padding)
        n_features = references.shape[1]
        features = tf.reshape(out, (-1, n_features))
        if engine.average:
            copies = tf.reshape(features, (len(corners(engine.average)), -1, n_features))
            features = tf.reduce_mean(copies, axis=0)
        features -= center
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
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(converter.convert()))
    model.description = f"images: {_takes(engine)}"
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def to_onnx(engine: Engine) -> bytes:
    """Convert an engine to an ONNX model; int8 stays int8 in the file.

    The names of the classes are its metadata ``classes``, a JSON list, and what it takes is its
    metadata ``pixels``.

    Returns
    -------
    bytes
        The content of a ``.onnx`` file.

    Raises
    ------
    InputError
        Where the package onnx is not installed.
    """
    graph = OnnxGraph()
    images = "images"
    if engine.backbone is not None:
        images = graph.add_graph(images, engine.backbone.graph)
    features = graph.add_stack(images, engine.stack, engine.conv_arrays(), engine.average)
    step = None if engine.step is None else np.array(engine.step, np.float32)
    stored = graph.stored(engine.reference_arrays()["references"], step)
    center = graph.constant(_center(engine))
    references = graph.add("Sub", stored, center)
    squares = graph.add("ReduceSumSquare", references, axes=(1,), keepdims=1)
    if engine.metric == "cosine":
        length = graph.add("Max", graph.add("Sqrt", squares), graph.constant(_TINY))
        references = graph.add("Div", references, length)
    columns = graph.add("Transpose", references, perm=(1, 0))
    scores = graph.add("MatMul", graph.add("Sub", features, center), columns)
    if engine.metric == "euclidean":
        twice = graph.add("Mul", scores, graph.constant(np.float32(2.0)))
        scores = graph.add("Sub", twice, graph.add("Transpose", squares, perm=(1, 0)))
    nearest = graph.add("TopK", scores, graph.constant(np.array([engine.k])), outputs=2)
    classes = graph.add("Gather", graph.constant(engine.labels), nearest)
    depth = graph.constant(np.array(len(engine.classes)))
    chosen = graph.add("OneHot", classes, depth, graph.constant(np.array([0, 1], np.float32)))
    graph.add("ReduceSum", chosen, graph.constant(np.array([1])), name="votes", keepdims=0)
    graph.add("ArgMax", "votes", name="label", axis=1, keepdims=0)
    return graph.finish(
        "images",
        engine.input_shape,
        {"label": (np.int64, ()), "votes": (np.float32, (len(engine.classes),))},
        {"classes": json.dumps(engine.classes), "pixels": _takes(engine)},
    )


def _takes(engine: Engine) -> str:
    """Say what a graph takes, and how files become that."""
    return f"{_PIXELS}; {engine.preparation.recipe}" if engine.preparation else _PIXELS


def _copies(images: Any, engine: Engine) -> Any:
    """Concatenate all shifted copies of a tensor of images."""
    import tensorflow as tf

    height, width, _ = engine.stack.input_shape
    for axis, length in ((1, height), (2, width)):
        beyond = np.arange(-engine.average, length + engine.average)
        images = tf.gather(images, np.clip(beyond, 0, length - 1), axis=axis)
    copies = [
        images[:, top : top + height, left : left + width] for top, left in corners(engine.average)
    ]
    return tf.concat(copies, axis=0)


def _center(engine: Engine) -> NDArray[np.float32]:
    """Return the point that is subtracted from queries and references."""
    if engine.metric == "cosine":
        return np.zeros(engine.references.shape[1], np.float32)
    center: NDArray[np.float32] = engine.references.mean(axis=0, dtype=np.float64)
    return center.astype(np.float32)
