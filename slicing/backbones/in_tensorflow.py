"""A backbone's graph as TensorFlow's operations, for what TensorFlow converts to LiteRT."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import numpy as np

from slicing.backbones.backbone import Backbone
from slicing.backbones.graph import INPUT, OUTPUT, load_onnx, parsed
from slicing.backend import load_keras
from slicing.errors import InputError
from slicing.stack import slide

# From channels first to channels last, and back.
_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True)
class _Value:
    """A tensor, or a constant as an array.

    ``is_last``: its channels are last, and ONNX has them first. Convolutions and poolings take and
    give such ones, so that the transpositions around them in the graph become nothing.
    """

    tensor: Any
    is_last: bool = False


def as_tensorflow(backbone: Backbone) -> Callable[[Any], Any]:
    """Give what computes a backbone's maps by TensorFlow.

    Parameters
    ----------
    backbone : Backbone

    Returns
    -------
    callable
        From a tensor of images (n, height, width, channels), float32, pixels in [0, 1], to maps of
        shape (n, ``*map_shape``).

    Raises
    ------
    InputError
        Where the graph has an operator that is not known here.
    """
    load_keras()
    onnx, graph = load_onnx(), parsed(backbone.graph).graph
    operators = _operators()
    for node in graph.node:
        if node.op_type not in {*operators, *_WINDOWED, "Transpose"}:
            raise InputError(
                f"The operator {node.op_type} of the backbone {backbone.name} cannot be converted "
                "to TensorFlow: export the engine as ONNX, or cut another network."
            )
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    options = [
        {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        for node in graph.node
    ]

    def maps(images: Any) -> Any:
        values = {name: _Value(array) for name, array in weights.items()}
        values |= {"": _Value(None), INPUT: _Value(images)}
        for node, settings in zip(graph.node, options, strict=True):
            first, *others = (values[name] for name in node.input)
            if node.op_type == "Transpose":
                value = _transposed(first, tuple(settings["perm"]))
            elif node.op_type in _WINDOWED:
                arrays = [each.tensor for each in others]
                value = _Value(_WINDOWED[node.op_type](_last(first), *arrays, **settings), True)
            else:
                tensors = [_plain(first), *map(_plain, others)]
                value = _Value(operators[node.op_type](*tensors, **settings))
            values[node.output[0]] = value
        return _plain(values[OUTPUT])

    return maps


def _transposed(value: _Value, order: tuple[int, ...]) -> _Value:
    if order == _TO_FIRST and not value.is_last:
        return _Value(value.tensor, is_last=True)
    if order == _TO_LAST and value.is_last:
        return _Value(value.tensor)
    return _Value(_transpose(_plain(value), order))


def _plain(value: _Value) -> Any:
    """Give a tensor as ONNX has it."""
    return _transpose(value.tensor, _TO_FIRST) if value.is_last else value.tensor


def _last(value: _Value) -> Any:
    """Give a map with channels last."""
    return value.tensor if value.is_last else _transpose(value.tensor, _TO_LAST)


def _transpose(tensor: Any, order: Sequence[int]) -> Any:
    import tensorflow as tf

    return tf.transpose(tensor, order)


def _window(
    maps: Any,
    size: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    auto_pad: bytes,
    fill: float = 0.0,
) -> tuple[Any, str]:
    """Pad maps with channels last for windows of a size; give them, and what is left to TensorFlow.

    Returns
    -------
    maps : tensor
    padding : {"SAME", "VALID"}
    """
    import tensorflow as tf

    same = []
    for length, window, stride in zip(maps.shape[1:3], size, strides, strict=True):
        count, before = slide(length, window, stride, "same")
        same.append((before, max((count - 1) * stride + window - length, 0) - before))
    given = list(zip(pads[:2], pads[2:], strict=True))
    if auto_pad == b"SAME_UPPER" or (given == same and any(pads)):
        return maps, "SAME"
    if any(pads):
        maps = tf.pad(maps, [(0, 0), *given, (0, 0)], constant_values=fill)
    return maps, "VALID"


def _conv(
    images: Any,
    kernels: Any,
    bias: Any = None,
    *,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
    auto_pad: bytes = b"NOTSET",
    kernel_shape: Sequence[int] = (),
) -> Any:
    import tensorflow as tf

    kernels = tf.transpose(kernels, (2, 3, 1, 0))
    rows, columns, _, filters = kernels.shape
    size = [1 + (n - 1) * step for n, step in zip((rows, columns), dilations, strict=True)]
    images, padding = _window(images, size, strides, pads, auto_pad)
    if group > 1 and group == images.shape[3]:
        kernels = tf.reshape(kernels, (rows, columns, group, filters // group))
        steps = [1, *strides, 1]
        out = tf.nn.depthwise_conv2d(images, kernels, steps, padding, dilations=dilations)
    else:
        out = tf.nn.conv2d(images, kernels, strides, padding, dilations=dilations)
    return out if bias is None else out + bias


def _pool(
    maps: Any,
    *,
    is_max: bool,
    kernel_shape: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    auto_pad: bytes = b"NOTSET",
    **_: Any,
) -> Any:
    import tensorflow as tf

    lowest = float(np.finfo(np.float32).min)
    maps, padding = _window(maps, kernel_shape, strides, pads, auto_pad, lowest)
    if is_max:
        return tf.nn.max_pool2d(maps, kernel_shape, strides, padding)
    return tf.nn.avg_pool2d(maps, kernel_shape, strides, padding)


_WINDOWED: Mapping[str, Callable[..., Any]] = {
    "Conv": _conv,
    "MaxPool": partial(_pool, is_max=True),
    "AveragePool": partial(_pool, is_max=False),
}


def _operators() -> Mapping[str, Callable[..., Any]]:
    """Give what computes each operator, from tensors as ONNX has them and its attributes."""
    import tensorflow as tf

    def clip(x: Any, low: Any = None, high: Any = None) -> Any:
        x = x if low is None else tf.maximum(x, low)
        return x if high is None else tf.minimum(x, high)

    def slices(x: Any, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
        chosen = [slice(None)] * len(x.shape)
        axes = range(len(starts)) if axes is None else axes
        steps = np.ones(len(starts), int) if steps is None else steps
        for axis, *bounds in zip(axes, starts, ends, steps, strict=True):
            chosen[axis] = slice(*(int(np.clip(each, -(2**31), 2**31 - 1)) for each in bounds))
        return x[tuple(chosen)]

    def reduced(reduce: Callable[..., Any], x: Any, axes: Any = None, keepdims: int = 1) -> Any:
        return reduce(x, None if axes is None else [*map(int, axes)], bool(keepdims))

    def pad(x: Any, pads: Any, value: Any = 0.0, *, mode: bytes = b"constant") -> Any:
        around = np.reshape(pads, (2, -1)).T
        if mode == b"reflect":
            return tf.pad(x, around, "REFLECT")
        return tf.pad(x, around, constant_values=0.0 if value is None else value)

    def unsqueeze(x: Any, axes: Any) -> Any:
        for axis in sorted(axes):
            x = tf.expand_dims(x, int(axis))
        return x

    def erf(x: Any) -> Any:
        # LiteRT has none. Abramowitz and Stegun, 7.1.26: within 1.5e-7.
        t = 1.0 / (1.0 + 0.3275911 * tf.abs(x))
        terms = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
        polynomial = reduce(lambda total, term: (total + term) * t, terms, 0.0)
        return tf.sign(x) * (1.0 - polynomial * tf.exp(-x * x))

    def cast(x: Any, to: int) -> Any:
        return tf.cast(x, load_onnx().helper.tensor_dtype_to_np_dtype(to))

    return {
        "Abs": tf.abs,
        "Add": tf.add,
        "And": tf.logical_and,
        "Cast": cast,
        "Clip": clip,
        "Concat": lambda *x, axis: tf.concat(x, axis),
        "Div": tf.divide,
        "Elu": lambda x, alpha=1.0: tf.where(x > 0, x, alpha * tf.math.expm1(tf.minimum(x, 0.0))),
        "Erf": erf,
        "Exp": tf.exp,
        "Gather": lambda x, indices, axis=0: tf.gather(x, indices, axis=axis),
        "Greater": tf.greater,
        "GreaterOrEqual": tf.greater_equal,
        "HardSigmoid": lambda x, alpha=0.2, beta=0.5: tf.clip_by_value(alpha * x + beta, 0.0, 1.0),
        "Identity": tf.identity,
        "LeakyRelu": lambda x, alpha=0.01: tf.nn.leaky_relu(x, alpha),
        "Less": tf.less,
        "LessOrEqual": tf.less_equal,
        "Log": tf.math.log,
        "MatMul": tf.matmul,
        "Max": tf.maximum,
        "Min": tf.minimum,
        "Mul": tf.multiply,
        "Neg": tf.negative,
        "Not": tf.logical_not,
        "Or": tf.logical_or,
        "Pad": pad,
        "Pow": tf.pow,
        "Reciprocal": tf.math.reciprocal,
        "ReduceMax": partial(reduced, tf.reduce_max),
        "ReduceMean": partial(reduced, tf.reduce_mean),
        "ReduceProd": partial(reduced, tf.reduce_prod),
        "ReduceSum": partial(reduced, tf.reduce_sum),
        "Relu": tf.nn.relu,
        "Reshape": lambda x, shape, **_: tf.reshape(x, shape),
        "Shape": lambda x: tf.shape(x, tf.int64),
        "Sigmoid": tf.sigmoid,
        "Slice": slices,
        "Softmax": lambda x, axis=-1: tf.nn.softmax(x, axis),
        "Softplus": tf.math.softplus,
        "Sqrt": tf.sqrt,
        "Squeeze": lambda x, axes: tf.squeeze(x, [*map(int, axes)]),
        "Sub": tf.subtract,
        "Tanh": tf.tanh,
        "Unsqueeze": unsqueeze,
        "Where": tf.where,
    }
