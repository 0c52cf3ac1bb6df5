import hashlib
import os

import numpy as np
import pytest
from PIL import Image

from slicing.data.fingerprints import (
    THUMBNAIL,
    cells,
    difference_hashes,
    fingerprint,
    thumbnails,
)
from slicing.data.image_file import UnreadableImageError
from tests.slicing.data.pictures import photo, save


def test_what_it_says_of_a_file(tmp_path):
    path = save(photo(0, (60, 40)).quantize(16), tmp_path / "0.gif")
    found = fingerprint(path)
    assert found.content == hashlib.sha256(path.read_bytes()).digest()
    assert (found.format, found.mode, found.width, found.height) == ("GIF", "P", 60, 40)
    [small] = thumbnails([found])
    assert small.shape == THUMBNAIL
    whole = np.asarray(Image.open(path).convert("RGB"), float)
    np.testing.assert_allclose(small.mean(axis=(0, 1)), whole.mean(axis=(0, 1)), atol=1)


def test_a_file_in_two_formats_has_the_same_pixels(tmp_path):
    one, other = (fingerprint(save(photo(0), tmp_path / name)) for name in ("0.png", "0.bmp"))
    assert one.pixels == other.pixels
    assert one.content != other.content


def test_the_same_bytes_in_another_shape_are_other_pixels(tmp_path):
    one, other = (
        fingerprint(save(Image.new("L", size, 7), tmp_path / f"{size[0]}.png"))
        for size in ((6, 4), (4, 6))
    )
    assert one.pixels != other.pixels


def test_the_bits_of_the_hash():
    """A ramp to the right has all bits, its mirror none, and a third of them tells nothing."""
    ramp = np.arange(18, dtype=np.uint8) * 10
    right = np.broadcast_to(ramp[None, :, None], THUMBNAIL)
    hashes, telling = difference_hashes(np.stack([right, right[:, ::-1], right // 20]))
    assert [int(each) for each in np.bitwise_count(hashes[:2])] == [64, 0]
    assert telling[:2].tolist() == [1, 1]
    assert telling[2] == 0


def test_cells_are_means_of_four_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (2, *THUMBNAIL), dtype=np.uint8)
    found = cells(pixels)
    assert found.shape == (2, 8, 9, 3)
    np.testing.assert_allclose(found[1, 3, 4, 2], pixels[1, 6:8, 8:10, 2].mean(), rtol=1e-6)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-40])


def replace_by_text(path):
    path.write_text("about")


def replace_by_pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("fault", [cut_off, replace_by_text, replace_by_pipe, os.unlink])
def test_a_file_that_cannot_be_read_is_named(fault, tmp_path):
    path = save(photo(0), tmp_path / "0.png")
    fault(path)
    with pytest.raises(UnreadableImageError, match=r"0\.png cannot be read as an image \(.+\)"):
        fingerprint(path)


def test_a_file_that_is_too_large_is_not_decoded(tmp_path):
    path = save(photo(0, (100, 100)), tmp_path / "0.png")
    with pytest.raises(UnreadableImageError, match=r"more than max_megapixels=0\.009 million"):
        fingerprint(path, max_megapixels=0.009)
