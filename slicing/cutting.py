"""The cut: a Keras model's convolutional part as a conv stack, and back."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slicing.backend import load_keras
from slicing.errors import InputError
from slicing.folding import Folding
from slicing.stack import Conv, ConvStack, Pool, Shape, slide

if TYPE_CHECKING:
    import keras

_SUPPORTED = (
    "supported are Conv2D, MaxPooling2D, AveragePooling2D, ReLU, BatchNormalization, Rescaling, "
    "Normalization, ZeroPadding2D before a Conv2D, and what does nothing at inference, up to "
    "Flatten, a global pooling or the first Dense"
)
# Of Keras' layers, those that change nothing at inference. RandomCrop does.
_IDLE = (
    *("Identity", "ActivityRegularization", "AugMix", "RandAugment"),
    *("Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise"),
    *("RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast"),
    *("RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur"),
    *("RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization"),
    *("RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation"),
    "RandomZoom",
)


def cut(model: "keras.Model") -> ConvStack:
    """Cut a model's head off and return its convolutional part as plain arrays.

    The head is everything from the first ``Flatten``, global pooling or ``Dense`` layer on. What
    does nothing at inference, such as dropout, is left out. What scales and shifts channels, such
    as batch normalization with its moving averages, is folded into a convolution where that is
    exact, and else becomes a 1 x 1 convolution; see :mod:`slicing.folding`.

    Parameters
    ----------
    model : keras.Model
        A plain chain of layers (Sequential or functional, or of such models) on images of a fixed
        size, channels last.

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
    chain = _chain(model)
    folding = Folding(_input_shape(chain[0]))
    # Older versions of Keras lack some.
    idle = [getattr(kinds, name) for name in _IDLE if hasattr(kinds, name)]
    padding = None
    for layer in chain[1:]:
        # The exact types: a subclass may compute something else.
        kind = type(layer)
        if kind in idle:
            continue
        if padding is not None and kind is not kinds.Conv2D:
            raise _unsupported(padding, "no Conv2D follows it")
        match kind:
            case kinds.ZeroPadding2D:
                padding = layer
            case kinds.Conv2D:
                conv, rectifies = _conv(layer), _rectifies(layer)
                folding.conv(conv if padding is None else _padded(padding, conv, folding.shape))
                padding = None
                if rectifies:
                    folding.rectify()
            case kinds.BatchNormalization | kinds.Rescaling | kinds.Normalization:
                folding.scale(*_scale(layer))
            case kinds.Activation | kinds.ReLU:
                if _rectifies(layer):
                    folding.rectify()
            case kinds.MaxPooling2D | kinds.AveragePooling2D:
                folding.pool(_pool(layer))
            case (
                kinds.Flatten
                | kinds.GlobalAveragePooling2D
                | kinds.GlobalMaxPooling2D
                | kinds.Dense
            ):
                break
            case _:
                raise _unsupported(layer, "layers of this type are not supported")
    if padding is not None:
        raise _unsupported(padding, "no Conv2D follows it")
    if not any(isinstance(layer, Conv) for layer in folding.layers):
        raise InputError("The network has no convolution to evolve: give one with a Conv2D.")
    return folding.stack()


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
    models = load_keras().Model
    # Back from the output along the tensors' own history: layers may have been made in another
    # order, and used in other models.
    chain: list[Any] = []
    tensors = list(outputs)
    while tensors:
        operation, call, _ = tensors[0]._keras_history
        is_model = isinstance(operation, models) and type(operation).__module__.startswith("keras.")
        # Of a model within the model, its layers, which begin with an input of its own.
        chain += _chain(operation)[:0:-1] if is_model else [operation]
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
    return Conv(weights, bias, tuple(layer.strides), layer.padding, relu=False)


def _pool(layer: Any) -> Pool:
    """Read a MaxPooling2D or AveragePooling2D layer."""
    _require_channels_last(layer)
    return Pool(
        "max" if type(layer) is load_keras().layers.MaxPooling2D else "average",
        tuple(layer.pool_size),
        tuple(layer.strides),
        layer.padding,
    )


def _padded(padding: Any, conv: Conv, shape: Shape) -> Conv:
    """Give the convolution that pads by itself as a ZeroPadding2D layer before it does."""
    _require_channels_last(padding)
    axes = zip(shape, conv.weights.shape, conv.strides, padding.padding, strict=False)
    for length, window, stride, (before, after) in axes:
        count, _ = slide(length + before + after, window, stride, "valid")
        if conv.padding != "valid" or (count, before) != slide(length, window, stride, "same"):
            raise _unsupported(
                padding, f"its {padding.padding} pixels are not what padding='same' gives"
            )
    return replace(conv, padding="same")


def _scale(layer: Any) -> tuple[Any, Any, Any]:
    """Read a layer that computes (x + before) * factor + after: factor, before and after."""
    kinds = load_keras().layers
    if type(layer) is kinds.Rescaling:
        factor, after = np.asarray(layer.scale, float), np.asarray(layer.offset, float)
        return factor, 0.0, after
    if type(layer) is kinds.BatchNormalization:
        if layer.axis not in (-1, 3):
            raise _unsupported(layer, f"it normalizes axis {layer.axis} instead of the channels")
        mean, variance = _array(layer.moving_mean, float), _array(layer.moving_variance, float)
        gamma = _array(layer.gamma, float) if layer.scale else np.ones_like(mean)
        beta = _array(layer.beta, float) if layer.center else np.zeros_like(mean)
        return gamma / np.sqrt(variance + layer.epsilon), -mean, beta
    mean, variance = np.array(layer.mean, float), np.array(layer.variance, float)
    if mean.size != mean.shape[-1]:
        raise _unsupported(layer, f"it normalizes axes {layer.axis} instead of the channels")
    deviation = np.maximum(np.sqrt(variance.ravel()), load_keras().config.epsilon())
    return (deviation, 0.0, mean.ravel()) if layer.invert else (1 / deviation, -mean.ravel(), 0.0)


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
