"""A conv stack as settings and named arrays, as the file of an engine holds it, and back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from numpy.typing import NDArray

from slicing.errors import InputError
from slicing.quantization import levels, on_grid, snap, step_of
from slicing.stack import Conv, ConvStack, Layer, Padding, Pool

_ALL_BUT_LAST = (0, 1, 2)
# Of windows and steps, in pixels: the compiled layers count in 64 bits.
_LARGEST = 2**31


def quantized(stack: ConvStack) -> ConvStack:
    """Round the kernels to the 255 levels of int8, each kernel on a grid of its own.

    Twice is the same as once.
    """
    for index, conv in enumerate(stack.convs):
        weights = snap(conv.weights, step_of(conv.weights, _ALL_BUT_LAST))
        stack = stack.with_conv(index, replace(conv, weights=weights))
    return stack


def settings_of(stack: ConvStack) -> dict[str, Any]:
    """Describe the input and the layers by what JSON can express."""
    return {"input": stack.input_shape, "layers": [_described(layer) for layer in stack.layers]}


def arrays_of(stack: ConvStack, is_int8: bool) -> dict[str, NDArray[Any]]:
    """Give kernels and biases by name.

    Parameters
    ----------
    stack : ConvStack
    is_int8 : bool
        Whether kernels are given as int8 levels, with the steps of their grids. The stack is then
        :func:`quantized`.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for number, conv in enumerate(stack.convs, 1):
        if is_int8:
            arrays[f"steps{number}"] = step_of(conv.weights, _ALL_BUT_LAST)
            arrays[f"kernels{number}"] = levels(conv.weights, arrays[f"steps{number}"])
        else:
            arrays[f"kernels{number}"] = conv.weights
        arrays[f"biases{number}"] = conv.bias
    return arrays


def stack_of(
    settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], is_int8: bool
) -> ConvStack:
    """Make a conv stack of what a file holds.

    Raises
    ------
    InputError, LookupError, TypeError, ValueError
        Where it does not fit together.
    """
    layers, number = list[Layer](), 0
    for description in settings["layers"]:
        if "pool" in description:
            kind, size, strides, padding = description["pool"]
            if kind not in ("max", "average"):
                raise InputError(f"a pooling is {kind}")
            layers.append(Pool(kind, _pair(size), _pair(strides), _padding(padding)))
            continue
        number += 1
        weights, bias = arrays[f"kernels{number}"], arrays[f"biases{number}"]
        if weights.ndim != 4 or not weights.size or bias.shape != weights.shape[3:]:
            raise InputError(f"kernels of shape {weights.shape}, biases of {bias.shape}")
        if is_int8:
            steps = arrays[f"steps{number}"]
            # Others would be multiplied out to arrays far larger than the file.
            if steps.shape != bias.shape:
                raise InputError(f"kernels of shape {weights.shape}, steps of {steps.shape}")
            weights = on_grid(weights, steps)
        strides, padding, relu = description["conv"]
        layers.append(Conv(weights, bias, _pair(strides), _padding(padding), bool(relu)))
    return ConvStack(tuple(layers), tuple(settings["input"]))


def _described(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, Pool):
        return {"pool": (layer.kind, layer.size, layer.strides, layer.padding)}
    return {"conv": (layer.strides, layer.padding, layer.relu)}


def _pair(values: Any) -> tuple[int, int]:
    one, two = values
    if (
        type(one) is not int
        or type(two) is not int
        or not 1 <= min(one, two) <= max(one, two) <= _LARGEST
    ):
        raise InputError(f"{values} are no two sizes")
    return one, two


def _padding(padding: Any) -> Padding:
    if padding not in get_args(Padding):
        raise InputError(f"a padding is {padding}")
    return padding  # type: ignore[no-any-return]
