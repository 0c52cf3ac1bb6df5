import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slicing.baselines import hog as module
from slicing.baselines.hog import check_cells, hog
from slicing.errors import InputError


def by_definition(image, cells):
    """Pixel by pixel, as the paper describes it."""
    height, width, channels = image.shape
    side = min(height, width) // cells
    rows, columns = height // side, width // side
    histograms = np.zeros((rows, columns, 9))
    for y in range(rows * side):
        for x in range(columns * side):
            gradients = [
                (
                    image[y + 1, x, c] - image[y - 1, x, c] if 0 < y < height - 1 else 0.0,
                    image[y, x + 1, c] - image[y, x - 1, c] if 0 < x < width - 1 else 0.0,
                )
                for c in range(channels)
            ]
            down, right = max(gradients, key=lambda each: math.hypot(*each))
            place = math.degrees(math.atan2(down, right)) % 180 / 20 - 0.5
            share = place - math.floor(place)
            length = math.hypot(down, right)
            histograms[y // side, x // side, math.floor(place) % 9] += length * (1 - share)
            histograms[y // side, x // side, (math.floor(place) + 1) % 9] += length * share
    blocks = []
    for y in range(rows - 1):
        for x in range(columns - 1):
            block = np.concatenate([histograms[y + i, x + j] for i in range(2) for j in range(2)])
            block = np.minimum(block / (np.linalg.norm(block) + 1e-9), 0.2)
            blocks.append(block / (np.linalg.norm(block) + 1e-9))
    return np.concatenate(blocks)


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 13), st.integers(4, 13), st.integers(1, 3), st.integers(2, 4))
def test_it_is_what_the_paper_describes(height, width, channels, cells):
    rng = np.random.default_rng(height * width * channels)
    images = rng.random((3, height, width, channels), np.float32)
    found = hog(images, cells)
    expected = [by_definition(image.astype(float), cells) for image in images]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_an_edge_votes_for_its_orientation():
    image = np.zeros((1, 8, 8, 1), np.float32)
    image[:, :, 4:] = 1.0  # the gradient points to the right: 0 degrees, between the last and first
    votes = hog(image, 2).reshape(4, 9)
    np.testing.assert_allclose(votes[:, [0, 8]], 8**-0.5, rtol=1e-3)
    assert not votes[:, 1:8].any()


def test_the_range_of_the_pixels_does_not_matter():
    images = np.random.default_rng(0).random((4, 14, 14, 1), np.float32)
    np.testing.assert_allclose(hog(100 - 255 * images), hog(images), atol=1e-4)
    assert not hog(np.full((2, 14, 14, 3), 0.7, np.float32)).any()


def test_many_images_are_computed_in_pieces(monkeypatch):
    images = np.random.default_rng(0).random((7, 9, 9, 1), np.float32)
    whole = hog(images, 3)
    monkeypatch.setattr(module, "_CHUNK_PIXELS", 200)
    np.testing.assert_array_equal(hog(images, 3), whole)
    assert hog(images[:0], 3).shape == (0, whole.shape[1])


@pytest.mark.parametrize(
    ("cells", "shape", "words"),
    [
        (1, (28, 28, 1), "cells=1 is out of range: choose 2 to 28"),
        (6, (5, 28, 1), "cells=6 is out of range: choose 2 to 5 for images of 5 x 28 pixels"),
        (2, (1, 28, 1), "no gradients"),
    ],
)
def test_cells_that_images_do_not_have_are_refused(cells, shape, words):
    with pytest.raises(InputError, match=words):
        check_cells(cells, shape)
    with pytest.raises(InputError, match=words):
        hog(np.zeros((1, *shape), np.float32), cells)
