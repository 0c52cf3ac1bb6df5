"""The cut: a Keras model's convolutional part as a conv stack, and back."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slicing.backend import load_keras
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Layer, Pool, Shape

if TYPE_CHECKING:
    import keras

_SUPPORTED = (
    "supported are Conv2D and its ReLU, BatchNormalization between the two, MaxPooling2D, "
    "AveragePooling2D, Dropout and SpatialDropout2D, up to Flatten, GlobalAveragePooling2D or the "
    "first Dense"
)


def cut(model: "keras.Model") -> ConvStack:
    """Cut a model's head off and return its convolutional part as plain arrays.

    The head is everything from the first ``Flatten``, ``GlobalAveragePooling2D`` or ``Dense``
    layer on. Batch normalization is folded into the kernels before it with its moving averages,
    as at inference; dropout does nothing at inference and is left out.

    Parameters
    ----------
    model : keras.Model
        A plain chain of layers (Sequential or functional) on images of a fixed size, channels
        last.

    Returns
    -------
    ConvStack
        A copy of the model's weights, float32.

    Raises
    ------
    InputError
        Where the model is not such a chain, has no convolution, or has a layer that cannot be
        expressed exactly; the message names the layer.
    """
    kinds = load_keras().layers
    layers: list[Layer] = []
    chain = _chain(model)
    for layer in chain:
        # The exact types: a subclass may compute something else.
        match type(layer):
            case kinds.InputLayer | kinds.Dropout | kinds.SpatialDropout2D:
                pass
            case kinds.Conv2D:
                layers.append(_conv(layer))
            case kinds.BatchNormalization:
                layers.append(_fold(layer, _conv_before(layer, layers)))
            case kinds.Activation | kinds.ReLU:
                if _rectifies(layer):
                    layers.append(replace(_conv_before(layer, layers), relu=True))
            case kinds.MaxPooling2D | kinds.AveragePooling2D:
                layers.append(_pool(layer))
            case kinds.Flatten | kinds.GlobalAveragePooling2D | kinds.Dense:
                break
            case _:
                raise _unsupported(layer, "layers of this type are not supported")
    return ConvStack(tuple(layers), _input_shape(chain[0]))


def to_keras(stack: ConvStack) -> "keras.Model":
    """Build a Keras model with the layers and weights of a conv stack.

    Parameters
    ----------
    stack : ConvStack

    Returns
    -------
    keras.Model
        From images of shape (n, height, width, channels) to flat features of shape
        (n, n_features), the same as ``stack.forward``.
    """
    keras = load_keras()
    model = keras.Sequential([keras.Input(stack.input_shape)])
    for layer in stack.layers:
        if isinstance(layer, Conv):
            keras_layer = keras.layers.Conv2D(
                layer.n_kernels,
                layer.weights.shape[:2],
                layer.strides,
                layer.padding,
                activation="relu" if layer.relu else "linear",
            )
            model.add(keras_layer)
            keras_layer.set_weights([layer.weights, layer.bias])
        else:
            pooling = {"max": "MaxPooling2D", "average": "AveragePooling2D"}[layer.kind]
            model.add(getattr(keras.layers, pooling)(layer.size, layer.strides, layer.padding))
    model.add(keras.layers.Flatten())
    return model


def _chain(model: "keras.Model") -> list[Any]:
    """Return the operations from the model's input to its output."""
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if inputs is None or outputs is None:
        raise InputError(
            f"The model {model.name!r} does not say what its layers are connected to: use a "
            "Sequential model that starts with keras.Input, or a functional one."
        )
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(
            f"The model {model.name!r} has {len(inputs)} inputs and {len(outputs)} outputs: only "
            "a plain chain of layers, with one of each, can be cut."
        )
    # Back from the output along the tensors' own history: layers may have been made in another
    # order, and used in other models.
    chain: list[Any] = []
    tensors = list(outputs)
    while tensors:
        operation, call, _ = tensors[0]._keras_history
        chain.append(operation)
        tensors = operation._inbound_nodes[call].input_tensors
        if len(tensors) > 1:
            raise _unsupported(
                operation, "it joins several branches instead of continuing one chain"
            )
    return chain[::-1]


def _input_shape(layer: Any) -> Shape:
    """Return height, width and channels of the images that an input layer takes."""
    shape = layer.batch_shape[1:]
    if len(shape) != 3 or None in shape:
        raise InputError(
            f"The model takes inputs of shape {shape}, and must take images of a fixed height, "
            "width and number of channels."
        )
    return shape[0], shape[1], shape[2]


def _conv(layer: Any) -> Conv:
    """Read a Conv2D layer."""
    _require_channels_last(layer)
    if tuple(layer.dilation_rate) != (1, 1):
        raise _unsupported(layer, f"its dilation rate is {layer.dilation_rate} instead of 1")
    if layer.groups != 1:
        raise _unsupported(layer, f"it has {layer.groups} groups instead of 1")
    weights = _array(layer.kernel)
    bias = _array(layer.bias) if layer.use_bias else np.zeros(weights.shape[-1], np.float32)
    return Conv(weights, bias, tuple(layer.strides), layer.padding, _rectifies(layer))


def _pool(layer: Any) -> Pool:
    """Read a MaxPooling2D or AveragePooling2D layer."""
    _require_channels_last(layer)
    return Pool(
        "max" if type(layer) is load_keras().layers.MaxPooling2D else "average",
        tuple(layer.pool_size),
        tuple(layer.strides),
        layer.padding,
    )


def _fold(layer: Any, conv: Conv) -> Conv:
    """Fold a BatchNormalization layer into the linear convolution before it.

    gamma (w * x + b - mean) / sqrt(variance + epsilon) + beta is a convolution again: Jacob et
    al., "Quantization and training of neural networks for efficient integer-arithmetic-only
    inference", CVPR 2018, equation 14.
    """
    if conv.relu:
        raise _unsupported(layer, "it follows a ReLU, so that it cannot be folded into the kernels")
    if layer.axis not in (-1, 3):
        raise _unsupported(layer, f"it normalizes axis {layer.axis} instead of the channels")
    mean, variance = _array(layer.moving_mean, float), _array(layer.moving_variance, float)
    gamma = _array(layer.gamma, float) if layer.scale else np.ones_like(mean)
    beta = _array(layer.beta, float) if layer.center else np.zeros_like(mean)
    scale = gamma / np.sqrt(variance + layer.epsilon)
    return replace(
        conv,
        weights=(conv.weights * scale).astype(np.float32),
        bias=((conv.bias - mean) * scale + beta).astype(np.float32),
    )


def _conv_before(layer: Any, layers: list[Layer]) -> Conv:
    """Remove and return the convolution that the layer directly follows."""
    last = layers.pop() if layers else None
    if not isinstance(last, Conv):
        before = "a pooling layer" if last else "no Conv2D"
        raise _unsupported(
            layer, f"it follows {before}, so that it cannot be made part of a convolution"
        )
    return last


def _rectifies(layer: Any) -> bool:
    """Return whether a layer's activation is the ReLU (True) or linear (False)."""
    keras = load_keras()
    if type(layer) is keras.layers.ReLU:
        if layer.max_value is not None or layer.negative_slope or layer.threshold:
            raise _unsupported(layer, "it is not the plain ReLU max(x, 0)")
        return True
    if layer.activation is keras.activations.relu:
        return True
    if layer.activation is keras.activations.linear:
        return False
    name = getattr(layer.activation, "__name__", type(layer.activation).__name__)
    raise _unsupported(layer, f"its activation is {name} instead of relu or linear")


def _require_channels_last(layer: Any) -> None:
    if layer.data_format != "channels_last":
        raise _unsupported(layer, f"its data format is {layer.data_format}, not channels_last")


def _array(variable: Any, dtype: type = np.float32) -> NDArray[Any]:
    """Copy a Keras variable."""
    return np.array(variable.numpy(), dtype)


def _unsupported(layer: Any, why: str) -> InputError:
    return InputError(
        f"The layer {layer.name!r} ({type(layer).__name__}) cannot be cut into the conv stack: "
        f"{why}; {_SUPPORTED}."
    )
