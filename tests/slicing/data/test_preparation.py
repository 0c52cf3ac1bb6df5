"""How pictures become inputs: files and arrays alike."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from slicing.data.preparation import Preparation
from slicing.errors import InputError
from tests.slicing.data.pictures import photo, save

SIDES = st.integers(1, 40)


@settings(max_examples=60, deadline=None)
@given(
    SIDES, SIDES, st.sampled_from([1, 3]), SIDES, SIDES, st.sampled_from([1, 3]),
    st.sampled_from(["stretch", "crop", "pad"]),
)  # fmt: skip
def test_files_and_arrays_become_the_same(
    tmp_path_factory, height, width, channels, wanted_height, wanted_width, wanted, fit
):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(path)
    preparation = Preparation((wanted_height, wanted_width), wanted, fit)
    of_file = preparation.of_file(path)
    assert of_file.shape == preparation.shape == (wanted_height, wanted_width, wanted)
    [of_pixels] = preparation.of_pixels(pixels[None].astype(np.float32) / 255)
    np.testing.assert_array_equal(of_file, of_pixels)
    if (height, width, channels) == preparation.shape:
        np.testing.assert_array_equal(of_file, pixels)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_what_happens_to_a_picture_of_another_shape(tmp_path, suffix):
    """Of three upright bands, red, green and blue."""
    bands = np.zeros((20, 60, 3), np.uint8)
    for band in range(3):
        bands[:, 20 * band : 20 * (band + 1), band] = 255
    path = tmp_path / f"bands.{suffix}"
    Image.fromarray(bands).save(path, quality=95, subsampling=0)
    found = {
        fit: Preparation((20, 20), 3, fit).of_file(path).astype(int)
        for fit in ("stretch", "crop", "pad")
    }
    stretched, cropped, padded = found.values()
    for column, band in ((2, 0), (10, 1), (17, 2)):
        assert (stretched[:, column].argmax(axis=1) == band).all()
        # The middle band is left.
        assert (cropped[:, column].argmax(axis=1) == 1).all()
    # All of it is in the middle rows, in its own proportions.
    assert padded[:5].max() < 30
    assert padded[-5:].max() < 30
    assert padded[10, [2, 10, 17], [0, 1, 2]].min() > 200


def test_a_photo_is_turned_upright_first(tmp_path):
    picture = photo(0, (40, 20))
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save(turned, tmp_path / "phone.png", exif=exif)
    plain = save(picture, tmp_path / "plain.png")
    for fit in ("stretch", "crop", "pad"):
        preparation = Preparation((16, 16), 3, fit)
        np.testing.assert_array_equal(preparation.of_file(path), preparation.of_file(plain))


@pytest.mark.parametrize(
    ("given", "option", "sentence"),
    [
        (((0, 4), 3), "image_size", r"image_size=\[0, 4\] is not a size: give height and width"),
        (((4,), 3), "image_size", r"image_size=\[4\] is not a size"),
        (((4, 4), 2), "channels", r"channels=2 is unknown: choose 1 \(gray\) or 3 \(RGB\)"),
        (((4, 4), 3, "squeeze"), "fit", "fit=squeeze is unknown"),
    ],
)
def test_what_is_no_preparation_is_refused(given, option, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        Preparation.of(*given)
    assert caught.value.option == option


def test_inputs_larger_than_any_file_are_refused():
    preparation = Preparation((2000, 1500), 3)
    preparation.require(3)
    with pytest.raises(InputError, match=r"^max_megapixels=2\.9 is fewer than images") as caught:
        preparation.require(2.9)
    assert caught.value.option == "max_megapixels"
