from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from slicing.baselines.augmentation import Altered, Augmentation
from slicing.data.preparation import Preparation
from slicing.errors import InputError
from tests.slicing.baselines.blobs import blobs

NOTHING = Augmentation(flip=False, crop=0, color=0)
ALL = Augmentation(flip=True, shift=0.2, crop=0.3, color=0.3, cutout=0.4)
PREPARATION = Preparation((10, 10), 3)
PICTURE = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)


def rng(seed=0):
    return np.random.default_rng(seed)


def alter(augmentation, seed=0, image=PICTURE):
    return augmentation.altered(image, rng(seed))


@given(
    st.sampled_from([(6, 9, 3), (9, 6, 1), (1, 1, 3), (5, 5, 1)]).flatmap(
        lambda shape: arrays(np.uint8, shape)
    ),
    st.integers(0, 2**32 - 1),
)
def test_altered_images_keep_their_shape_and_come_again(image, seed):
    before = image.copy()
    found = alter(ALL, seed, image)
    assert (found.shape, found.dtype) == (image.shape, np.uint8)
    np.testing.assert_array_equal(found, alter(ALL, seed, image))
    np.testing.assert_array_equal(image, before)


def test_without_options_nothing_is_altered():
    np.testing.assert_array_equal(alter(NOTHING), PICTURE)


def test_about_half_are_mirrored():
    flipping = replace(NOTHING, flip=True)
    mirrored = [np.array_equal(alter(flipping, seed), PICTURE[:, ::-1]) for seed in range(100)]
    kept = [np.array_equal(alter(flipping, seed), PICTURE) for seed in range(100)]
    assert 30 < sum(mirrored) < 70
    assert sum(mirrored) + sum(kept) == 100


def test_a_shift_moves_and_repeats_the_border():
    moved = alter(replace(NOTHING, shift=0.5), 1)
    places = [
        (down, right)
        for down in range(-6, 7)
        for right in range(-5, 6)
        if np.array_equal(
            moved,
            PICTURE[np.arange(-down, 12 - down).clip(0, 11)][
                :, np.arange(-right, 9 - right).clip(0, 8)
            ],
        )
    ]
    assert len(places) == 1
    assert places != [(0, 0)]


def test_a_crop_enlarges_a_window():
    ramp = np.repeat(np.arange(0, 240, 10, np.uint8)[:, None, None], 24, axis=1)
    found = alter(replace(NOTHING, crop=0.9), 1, ramp)[..., 0]
    assert found.shape == (24, 24)
    # Straight, and less steep than all of it.
    slopes = np.diff(found[4:-4, 3].astype(float))
    assert slopes.mean() < 9
    assert slopes.std() < 1.5


def test_colors_change_within_the_bound():
    gray = np.full((4, 4, 3), 100, np.uint8)
    found = [alter(replace(NOTHING, color=0.1), seed, gray) for seed in range(50)]
    values = {int(each[0, 0, 0]) for each in found}
    assert len(values) > 5
    assert min(values) >= 90
    assert max(values) <= 110


def test_a_square_is_covered_by_the_mean_color():
    image = np.zeros((10, 10, 1), np.uint8)
    image[:, :5] = 200
    found = [alter(replace(NOTHING, cutout=0.4), seed, image) for seed in range(20)]
    covered = [int((each == 100).sum()) for each in found]
    assert max(covered) == 16
    assert all(((each == 100) | (each == image)).all() for each in found)


@pytest.mark.parametrize(
    ("option", "value"), [("shift", 0.6), ("crop", 1), ("color", -0.1), ("cutout", np.nan)]
)
def test_parts_out_of_range_are_refused(option, value):
    with pytest.raises(InputError, match=f"^{option}=.* is out of range") as caught:
        Augmentation(**{option: value})
    assert caught.value.option == option


def test_a_version_depends_on_the_image_the_seed_and_its_number_alone():
    part = blobs(6, channels=3)
    version = Altered(part, ALL, 0, 1)
    whole = version.prepared(PREPARATION)
    assert whole.shape == (6, 10, 10, 3)
    order = [4, 1, 1, 5]
    np.testing.assert_array_equal(version[order].prepared(PREPARATION), whole[order])
    assert version[order].contents.tolist() == version.contents[order].tolist()
    np.testing.assert_array_equal(version[order].labels, part.labels[order])
    others = Altered(part, ALL, 0, 2), Altered(part, ALL, 1, 1), Altered(part, NOTHING, 0, 1)
    for other in others:
        assert (other.prepared(PREPARATION) != whole).any()
        assert not {*other.contents.tolist()} & {*version.contents.tolist()}
        assert other.digest != version.digest
