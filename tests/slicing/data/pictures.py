"""Pictures that look like photos to a hash: smooth colors, made by the test."""

import numpy as np
from PIL import Image


def photo(seed, size=(96, 72), tint=(0, 0, 0)):
    """A smooth picture of random colors, as a photo out of focus; ``size`` is (width, height)."""
    colors = np.random.default_rng(seed).integers(0, 256, (6, 8, 3))
    colors = np.clip(colors + np.array(tint), 0, 255).astype(np.uint8)
    return Image.fromarray(colors).resize(size, Image.Resampling.BICUBIC)


def save(picture, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **options)
    return path
