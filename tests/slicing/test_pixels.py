"""The rule for pixels, and everything that keeps it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from slicing.baselines import Baseline
from slicing.data import Images
from slicing.engine.engine import Engine
from slicing.engine.recipe import Recipe
from slicing.errors import InputError
from slicing.pixels import TOLERANCE, unit_pixels
from slicing.stack import Conv, ConvStack, Pool

SHAPE = (9, 8, 1)
CLASSES = ("a", "b", "c")
LABELS = np.arange(30) % 3
rng = np.random.default_rng(0)
BYTES = rng.integers(0, 256, (30, *SHAPE), np.uint8)
UNIT = (BYTES / np.float32(255)).astype(np.float32)
STACK = ConvStack(
    (Conv(rng.normal(size=(3, 3, 1, 4)).astype(np.float32), np.zeros(4, np.float32)), Pool()), SHAPE
)
ENGINE = Engine.fit(STACK, Images(UNIT, LABELS), CLASSES, k=3)


class Mean:
    """A head whose answers depend on all pixels."""

    def outputs(self, pixels):
        assert pixels.dtype == np.float32
        return np.stack([pixels.mean(axis=(1, 2, 3)) * each for each in (1, 2, -1)], axis=1)


BASELINE = Baseline(STACK, CLASSES, Mean())

TAKES_IMAGES = {
    "Images": lambda images: Images(images, LABELS).images,
    "fit": lambda images: Engine.fit(STACK, Images(images, LABELS), CLASSES).references,
    "build": lambda images: Recipe(k=1).build(STACK, Images(images, LABELS), CLASSES).references,
    "features": ENGINE.features,
    "kneighbors": lambda images: ENGINE.kneighbors(images)[0],
    "votes": ENGINE.votes,
    "predict": ENGINE.predict,
    "predict_labels": ENGINE.predict_labels,
    "predict_proba": ENGINE.predict_proba,
    "score": lambda images: ENGINE.score(images, LABELS),
    "add_class": lambda images: ENGINE.add_class(images, "d").references,
    "baseline.predict": BASELINE.predict,
    "baseline.predict_labels": BASELINE.predict_labels,
    "baseline.predict_proba": BASELINE.predict_proba,
}

REFUSED = {
    "floats of 0 to 255": (UNIT * 255, "divide those of 0 to 255 by 255"),
    "floats of -1 to 1": (UNIT * 2 - 1, "run from -1 to 1, and must be from 0 to 1"),
    "int64": (BYTES.astype(np.int64), "type int64 are not taken: give them as uint8"),
    "uint16": (BYTES.astype(np.uint16) * 257, "type uint16"),
    "bool": (BYTES > 127, "type bool"),
    "complex": (UNIT.astype(complex), "type complex128"),
    "NaN": (np.where(BYTES > 127, np.nan, UNIT), "not finite"),
    "infinity": (np.where(BYTES > 127, np.inf, UNIT), "not finite"),
    "beyond float32": (UNIT * np.float64(1e308), "must be from 0 to 1"),
    "text": (UNIT.astype(str), "are not taken"),
    "objects": (UNIT.astype(object), "type object"),
    "nothing": (None, "holds no images"),
    "one image": (UNIT[0], "n = 1 for one image"),
    "no channels": (UNIT[..., 0], r"shape \(30, 9, 8\) holds no images"),
    "images of several shapes": ([UNIT[0], UNIT[1, 1:]], "resize all of them"),
}


@pytest.mark.parametrize("name", TAKES_IMAGES)
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_pixel_is_refused_everywhere(name, kind):
    images, sentence = REFUSED[kind]
    with pytest.raises(InputError, match=sentence) as caught:
        TAKES_IMAGES[name](images)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", TAKES_IMAGES)
def test_bytes_and_floats_are_the_same_everywhere(name):
    expected = TAKES_IMAGES[name](UNIT)
    for same in (BYTES, UNIT.astype(np.float64), UNIT.tolist()):
        np.testing.assert_array_equal(TAKES_IMAGES[name](same), expected)


@pytest.mark.parametrize("name", sorted(set(TAKES_IMAGES) - {"Images"}))
def test_another_shape_is_refused_everywhere(name):
    for images in (UNIT[:, 1:], UNIT.repeat(3, axis=3)):
        with pytest.raises(InputError, match=r"takes images of shape \(9, 8, 1\)"):
            TAKES_IMAGES[name](images)


FLOATS = st.sampled_from([np.float16, np.float32, np.float64])
SHAPES = arrays.array_shapes(min_dims=4, max_dims=4, min_side=0, max_side=3)


@settings(deadline=None)
@given(st.data(), FLOATS, SHAPES)
def test_pixels_are_finite_and_within_the_range_or_refused(data, kind, shape):
    values = st.floats(width=8 * kind().itemsize) | st.floats(-0.002, 1.002).map(kind)
    images = data.draw(arrays.arrays(kind, shape, elements=values.map(kind)))
    allowed = bool(((images >= -TOLERANCE) & (images <= 1 + TOLERANCE)).all())
    if allowed:
        pixels = unit_pixels(images)
        assert pixels.dtype == np.float32
        np.testing.assert_array_equal(pixels, images.astype(np.float32))
        assert np.shares_memory(pixels, images) == (kind is np.float32 and images.size > 0)
    else:
        with pytest.raises(InputError):
            unit_pixels(images)


@settings(deadline=None)
@given(arrays.arrays(np.uint8, SHAPES))
def test_bytes_become_what_division_gives(images):
    pixels = unit_pixels(images)
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, np.float32(images) / np.float32(255))


def test_what_rounding_leaves_beyond_the_range_is_kept():
    for kind in (np.float16, np.float32):
        rounded = np.full((1, *SHAPE), 1 + np.finfo(kind).eps, kind)
        np.testing.assert_array_equal(unit_pixels(rounded), rounded.astype(np.float32))
