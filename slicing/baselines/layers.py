"""The convolutional part of the built-in baselines."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from slicing.backend import load_keras
from slicing.checks import at_least, check_seed
from slicing.errors import InputError
from slicing.stack import Shape


def check_conv_part(
    image_shape: Shape,
    filters: Sequence[int],
    kernel_size: int,
    pooling: Sequence[bool],
    seed: int,
) -> None:
    """Refuse options of the convolutional part that make no network.

    Raises
    ------
    InputError
    """
    if not filters or min(filters) < 1:
        raise InputError(
            f"filters={list(filters)} is not possible: give one positive number for each "
            "convolution.",
            "filters",
        )
    if len(pooling) != len(filters):
        raise InputError(
            f"pooling={list(pooling)} is not possible: give one yes or no for each of the "
            f"{len(filters)} convolutions.",
            "pooling",
        )
    at_least("kernel_size", kernel_size, 1)
    check_seed(seed)
    side = min(image_shape[:2])
    for number, pooled in enumerate(pooling, 1):
        side = (side - kernel_size + 1) // (2 if pooled else 1)
        if side < 1:
            raise InputError(
                f"Images of {image_shape[0]} x {image_shape[1]} pixels are too small for "
                f"convolution {number} of the baseline: use larger images, fewer convolutions, "
                "smaller kernels or less pooling."
            )


def conv_part(
    image_shape: Shape,
    filters: Sequence[int],
    kernel_size: int,
    pooling: Sequence[bool],
    initializer: Callable[[], Any],
    batch_norm: bool = False,
) -> Any:
    """Build the convolutional part as a Sequential model, to which layers can be added."""
    keras = load_keras()
    model = keras.Sequential([keras.Input(image_shape)])
    for number, (n_kernels, pooled) in enumerate(zip(filters, pooling, strict=True), 1):
        conv = keras.layers.Conv2D(
            n_kernels,
            kernel_size,
            activation="linear" if batch_norm else "relu",
            kernel_initializer=initializer(),
            name=f"conv{number}",
        )
        model.add(conv)
        if batch_norm:
            # Keras' default of 0.99 is for longer trainings: after the 160 steps of 5 epochs on
            # 4000 images, a fifth of the moving averages would still be their initial values.
            model.add(keras.layers.BatchNormalization(momentum=0.9, name=f"norm{number}"))
            model.add(keras.layers.ReLU(name=f"relu{number}"))
        if pooled:
            model.add(keras.layers.MaxPooling2D(name=f"pool{number}"))
    return model


def draw_seed(rng: np.random.Generator) -> int:
    """Draw a seed for one Keras layer or initializer."""
    return int(rng.integers(2**31))


def seeded(initializer: str, rng: np.random.Generator) -> Callable[[], Any]:
    """Return a function that makes Keras initializers, each with its own seed."""
    return lambda: getattr(load_keras().initializers, initializer)(seed=draw_seed(rng))
