"""The convolutional part that the built-in baselines share."""

from collections.abc import Callable
from typing import Any

import numpy as np

from slicing.backend import load_keras
from slicing.errors import InputError
from slicing.stack import Shape


def require(valid: bool, name: str, value: object, wanted: str) -> None:
    """Raise an InputError about a baseline's option where ``valid`` is False."""
    if not valid:
        raise InputError(f"The baseline's {name} is {value}, and must be {wanted}.")


def require_conv_part(
    image_shape: Shape,
    filters: tuple[int, ...],
    kernel_size: int,
    pooling: tuple[bool, ...],
    seed: int,
) -> None:
    """Refuse options of the convolutional part that make no network."""
    require(
        len(filters) > 0 and min(filters) >= 1,
        "filters",
        list(filters),
        "one positive number for each convolution",
    )
    require(
        len(pooling) == len(filters),
        "pooling",
        list(pooling),
        f"one yes or no for each of the {len(filters)} convolutions",
    )
    require(kernel_size >= 1, "kernel_size", kernel_size, "at least 1")
    require(seed >= 0, "seed", seed, "at least 0")
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
    filters: tuple[int, ...],
    kernel_size: int,
    pooling: tuple[bool, ...],
    initializer: Callable[[], Any],
    batch_norm: bool = False,
) -> Any:
    """Build the convolutional part as a Sequential model that is still open at its end."""
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
    """Return what makes one Keras initializer after another, each with a seed of its own."""
    return lambda: getattr(load_keras().initializers, initializer)(seed=draw_seed(rng))
