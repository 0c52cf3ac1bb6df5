"""A network with branches whose dense layer is fitted to images, in a file."""

import numpy as np

from slicing.backend import load_keras
from tests.slicing.backbones.networks import residual


def save_fitted(path, images, labels, **options):
    """Save a residual network that tells images apart as they are given, and give it."""
    keras = load_keras()
    model = residual(**options)
    pooled = keras.Model(model.inputs, model.get_layer("pooled").output)
    features = pooled.predict_on_batch(images)
    # Least squares on the classes, sharpened so that the answers are far from each other.
    scale = features.std(axis=0)
    scale[scale == 0] = 1
    known = np.column_stack([features / scale, np.ones(len(features))])
    weights = 20 * np.linalg.lstsq(known, np.eye(3)[labels], rcond=1e-4)[0]
    kernel = weights[:-1] / scale[:, None]
    model.get_layer("classes").set_weights([kernel, weights[-1]])
    model.save(path)
    return model
