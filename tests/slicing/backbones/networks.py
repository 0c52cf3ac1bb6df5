"""Small networks with random weights, which are cut in the tests."""

import numpy as np

from slicing.backend import load_keras


def residual(side=12, channels=3, seed=0):
    """Blocks with and without a shortcut, and a head.

    Its cuts are ``first``, ``shrunk``, ``joined`` and ``last``.
    """
    keras = load_keras()
    layers = keras.layers
    images = keras.Input((side, side, channels))
    out = layers.Conv2D(4, 3, padding="same", name="conv")(images)
    out = start = layers.ReLU(6.0, name="first")(out)
    out = layers.Conv2D(8, 1, name="expand", activation="relu")(out)
    out = layers.DepthwiseConv2D(3, 2, "same", name="filter", activation="relu")(out)
    out = layers.Conv2D(6, 1, name="project")(out)
    out = start = layers.BatchNormalization(name="shrunk")(out)
    out = layers.Conv2D(6, 3, padding="same", name="inner", activation="swish")(out)
    out = layers.Add(name="joined")([start, out])
    out = layers.Conv2D(5, 3, name="closing")(out)
    out = layers.Activation("relu", name="last")(out)
    out = layers.GlobalAveragePooling2D(name="pooled")(out)
    out = layers.Dense(3, "softmax", name="classes")(out)
    return randomized(keras.Model(images, out, name="residual"), seed)


def randomized(model, seed=0):
    """Give random weights, moving averages included."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.uniform(0.1, 0.5, weight.shape) * rng.choice([-1, 1], weight.shape))
        if "variance" in weight.path:
            weight.assign(rng.uniform(0.5, 2.0, weight.shape))
    return model


def maps_by_keras(model, layers, images):
    """Give what layers give for what the model takes."""
    keras = load_keras()
    outputs = {name: model.get_layer(name).output for name in layers}
    maps = keras.Model(model.inputs, outputs).predict_on_batch(images)
    return [np.asarray(maps[name]) for name in layers]
