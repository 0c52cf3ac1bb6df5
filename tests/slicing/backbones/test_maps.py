"""Images through a frozen network, each once, and what is kept of it on disk."""

import logging
import os
import re
from dataclasses import replace

import numpy as np
import pytest

from slicing.backbones import maps as maps_module
from slicing.backbones.backbone import Backbone
from slicing.backbones.efficientnet_lite import efficientnet_lite
from slicing.backbones.maps import Maps, MapsAtHand, through
from slicing.data.dataset import Images
from slicing.data.preparation import Preparation
from slicing.errors import InputError
from slicing.memory import TooLargeError
from tests.slicing.backbones.colors import MIXTURES, mean_colors

pytest.importorskip("onnxruntime")

PREPARATION = Preparation((6, 6), 3)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "maps"


@pytest.fixture
def computed(monkeypatch):
    """How many images go through the network at each call."""
    counts, compute = [], Backbone.maps

    def counting(self, images):
        counts.append(len(images))
        return compute(self, images)

    monkeypatch.setattr(Backbone, "maps", counting)
    return counts


@pytest.fixture(scope="module")
def part():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (10, 6, 6, 3), np.uint8)
    return Images(pixels, np.arange(10) % 3, np.array([f"photo {n}" for n in range(10)]))


def expected(part):
    """The mean colors, doubled, and their mixtures."""
    colors = 2 * part.images.mean(axis=(1, 2))
    return np.concatenate([colors, colors @ MIXTURES], axis=1)[:, None, None]


def test_maps_are_in_the_order_of_their_images(part, cache, computed):
    found = through(mean_colors(), PREPARATION, part, cache=cache)
    assert found.images.dtype == np.float32
    np.testing.assert_allclose(found.images, expected(part), rtol=1e-5)
    np.testing.assert_array_equal(found.labels, part.labels)
    np.testing.assert_array_equal(found.names, part.names)
    np.testing.assert_array_equal(found.contents, part.contents)
    # Others, in another order, are partly in the cache, which holds them in its own.
    more = Images(np.concatenate([part.images, 1 - part.images]), np.zeros(20, np.int64))
    order = np.random.default_rng(1).permutation(20)
    again = through(mean_colors(), PREPARATION, more[order], cache=cache)
    np.testing.assert_allclose(again.images, expected(more)[order], rtol=1e-5)
    assert computed == [10, 10]


def test_what_is_in_the_cache_is_not_computed(part, cache, computed):
    first = through(mean_colors(), PREPARATION, part, cache=cache)
    told = []
    second = through(
        mean_colors(), PREPARATION, part, cache=cache, show=lambda *each: told.append(each)
    )
    np.testing.assert_array_equal(first.images, second.images)
    # Maps of 1 x 1 have no contrast; their images have.
    for each in (first, second):
        np.testing.assert_allclose(each.contrasts, part.contrasts, rtol=1e-6)
    assert part.contrasts.min() > 0
    assert first.digest == second.digest
    assert (computed, told) == ([10], [])


def test_files_are_read_only_for_what_is_missing(part, cache, monkeypatch):
    monkeypatch.setattr(maps_module, "_CHUNK", 2)
    monkeypatch.setattr(maps_module, "_known", {})
    opened, read = [], maps_module.tensor_file.read
    monkeypatch.setattr(
        maps_module.tensor_file, "read", lambda *each: opened.append(each) or read(*each)
    )
    for part_of in (slice(0, 4), slice(4, 8), slice(8, 10)):
        through(mean_colors(), PREPARATION, part[part_of], cache=cache)
    assert opened == []
    found = through(mean_colors(), PREPARATION, part[[4, 5]], cache=cache)
    np.testing.assert_allclose(found.images, expected(part[[4, 5]]), rtol=1e-5)
    assert len(opened) == 1
    # Another process knows of none what it holds, until it has all that it wants.
    maps_module._known.clear()
    opened.clear()
    [first, *_] = sorted(cache.iterdir())
    contents = read(first, maps_module._KIND)[1]["contents"]
    [rows] = np.nonzero([bytes(each) in {bytes(row) for row in contents} for each in part.contents])
    through(mean_colors(), PREPARATION, part[rows], cache=cache)
    assert [path for path, _ in opened] == [first]


@pytest.mark.parametrize(
    ("backbone", "preparation"),
    [
        (mean_colors(factor=3), PREPARATION),
        (mean_colors(cuts=("mixed",)), PREPARATION),
        (mean_colors(pool=2), PREPARATION),
        (mean_colors(), replace(PREPARATION, fit="crop")),
        (mean_colors(side=4), replace(PREPARATION, image_size=(4, 4))),
    ],
)
def test_another_network_cut_or_preparation_is_computed(
    part, cache, computed, backbone, preparation
):
    through(mean_colors(), PREPARATION, part, cache=cache)
    through(backbone, preparation, part, cache=cache)
    assert computed == [10, 10]


@pytest.mark.parametrize(
    ("name", "other"),
    [("processor", lambda: "another"), ("versions", lambda packages: dict.fromkeys(packages, "0"))],
)
def test_another_machine_or_version_computes_its_own(
    part, cache, computed, monkeypatch, name, other
):
    through(mean_colors(), PREPARATION, part, cache=cache)
    monkeypatch.setattr(maps_module, name, other)
    through(mean_colors(), PREPARATION, part, cache=cache)
    assert computed == [10, 10]


def test_equal_images_go_through_once(part, cache, computed):
    rows = np.array([3, 1, 3, 3, 0, 1])
    copies = Images(part.images[rows], np.array([0, 1, 2, 0, 1, 2]))
    found = through(mean_colors(), PREPARATION, copies, cache=cache)
    assert computed == [3]
    np.testing.assert_allclose(found.images, expected(copies), rtol=1e-5)
    np.testing.assert_array_equal(found.labels, copies.labels)


def last_used(path):
    return path.stat().st_mtime


def _cut_short(path):
    path.write_bytes(path.read_bytes()[:-7])


def _flipped(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


def _of_another_kind(path):
    path.write_bytes(maps_module.tensor_file.pack("other", {}, {"maps": np.zeros(3)}))


def _of_other_arrays(path):
    path.write_bytes(maps_module.tensor_file.pack(maps_module._KIND, {}, {"m": np.zeros(3)}))


def _of_another_shape(path):
    arrays = {
        "contents": np.zeros((2, 32), np.uint8),
        "maps": np.zeros((2, 1, 1, 4), np.float32),
        "contrasts": np.zeros(2),
    }
    path.write_bytes(maps_module.tensor_file.pack(maps_module._KIND, {}, arrays))


def _a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage", [_cut_short, _flipped, _of_another_kind, _of_other_arrays, _of_another_shape]
)
def test_a_damaged_file_is_computed_again(part, cache, computed, caplog, damage):
    expected = through(mean_colors(), PREPARATION, part, cache=cache)
    [path] = cache.iterdir()
    damage(path)
    with caplog.at_level(logging.WARNING):
        found = through(mean_colors(), PREPARATION, part, cache=cache)
    np.testing.assert_array_equal(found.images, expected.images)
    assert computed == [10, 10]
    assert "Cached maps are not used, they are computed again" in caplog.text
    # It was replaced.
    through(mean_colors(), PREPARATION, part, cache=cache)
    assert computed == [10, 10]


def test_a_folder_in_the_place_of_a_file_stops_nothing(part, cache, computed, caplog):
    expected = through(mean_colors(), PREPARATION, part, cache=cache)
    [path] = cache.iterdir()
    _a_folder(path)
    found = through(mean_colors(), PREPARATION, part, cache=cache)
    np.testing.assert_array_equal(found.images, expected.images)
    assert "cannot be cached" in caplog.text


def test_killed_half_way_it_goes_on_from_there(part, cache, monkeypatch):
    monkeypatch.setattr(maps_module, "_CHUNK", 4)
    compute, seen = Backbone.maps, []

    def killed(self, images):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(images))
        return compute(self, images)

    monkeypatch.setattr(Backbone, "maps", killed)
    with pytest.raises(KeyboardInterrupt):
        through(mean_colors(), PREPARATION, part, cache=cache)
    assert len([*cache.iterdir()]) == 2
    left = []
    monkeypatch.setattr(
        Backbone, "maps", lambda self, images: left.append(len(images)) or compute(self, images)
    )
    found = through(mean_colors(), PREPARATION, part, cache=cache)
    assert left == [2]
    np.testing.assert_allclose(found.images, expected(part), rtol=1e-5)


def test_how_far_it_is_is_shown(part, cache, monkeypatch):
    monkeypatch.setattr(maps_module, "_CHUNK", 4)
    told = []
    through(mean_colors(), PREPARATION, part, cache=cache, show=lambda *each: told.append(each))
    assert told == [
        (0.0, "0 of 10 images through colors"),
        (0.4, "4 of 10 images through colors"),
        (0.8, "8 of 10 images through colors"),
    ]


def test_the_oldest_files_go_where_there_are_too_many(part, cache, monkeypatch):
    cache.mkdir()
    own = cache / "own.safetensors"
    own.write_bytes(b"of the user" * 1000)
    sizes = []
    for number, factor in enumerate((1, 2, 3)):
        through(mean_colors(factor=factor), PREPARATION, part, cache=cache)
        newest = max((each for each in cache.iterdir() if each != own), key=last_used)
        os.utime(newest, (number, number))
        sizes.append(newest.stat().st_size)
    # The first was used last.
    through(mean_colors(factor=1), PREPARATION, part, cache=cache)
    kept = {each.name for each in cache.iterdir()}
    monkeypatch.setattr(maps_module, "LIMIT", 3 * sizes[0])
    through(mean_colors(factor=4), PREPARATION, part, cache=cache)
    left = {each.name: last_used(each) for each in cache.iterdir()}
    assert len(left) == 4
    # That of the second network was used least.
    [gone] = kept - {*left}
    assert sorted(left.values())[0] == 2
    assert gone != own.name
    assert all(maps_module._NAME.fullmatch(name) for name in left if name != own.name)


def test_where_nothing_can_be_written_it_warns_and_goes_on(part, tmp_path, caplog):
    (tmp_path / "file").write_bytes(b"")
    found = through(mean_colors(), PREPARATION, part, cache=tmp_path / "file" / "maps")
    np.testing.assert_allclose(found.images, expected(part), rtol=1e-5)
    assert re.search(
        r"The maps cannot be cached \(.*\): the next run computes them again", caplog.text
    )


def test_maps_that_are_not_finite_are_refused_and_not_kept(part, cache):
    with pytest.raises(InputError, match="maps that are not finite numbers: use another network"):
        through(mean_colors(factor=3e38), PREPARATION, part, cache=cache)
    assert not cache.exists()


def test_maps_that_the_memory_cannot_hold_are_refused_before_the_pass(
    part, cache, computed, monkeypatch
):
    monkeypatch.setattr("slicing.memory.available", lambda: (100, 199))
    with pytest.raises(TooLargeError, match=r"^The maps of 10 images by colors take at least"):
        through(mean_colors(), PREPARATION, part, cache=cache)
    assert computed == []
    monkeypatch.setattr("slicing.memory.available", lambda: (100, 200))
    through(mean_colors(), PREPARATION, part, cache=cache)


def test_maps_of_some_cuts_are_among_those_of_all(part, cache, computed):
    every = mean_colors()
    found = through(every, PREPARATION, part, cache=cache)
    for cuts in (("mixed",), ("color",), ("mixed", "color")):
        chosen = mean_colors(cuts=cuts)
        taken = found.of(every, chosen)
        np.testing.assert_allclose(taken.images, chosen.maps(part.images), rtol=1e-6)
        assert taken.backbone == chosen.digest
        assert taken.digest != found.digest


def test_a_part_of_maps_is_the_maps_of_a_part(part, cache):
    whole = through(mean_colors(), PREPARATION, part, cache=cache)
    rows = np.array([7, 2, 2])
    found = through(mean_colors(), PREPARATION, part[rows], cache=cache)
    for each in (whole[rows], found):
        assert isinstance(each, Maps)
        np.testing.assert_array_equal(each.images, whole.images[rows])
        np.testing.assert_array_equal(each.labels, part.labels[rows])
        np.testing.assert_array_equal(each.contrasts, whole.contrasts[rows])
        np.testing.assert_array_equal(each.names, part.names[rows])
        np.testing.assert_array_equal(each.contents, part.contents[rows])
    assert whole[rows].digest == found.digest
    labels = np.array([5, 5, 5])
    named = found.relabeled(labels)
    np.testing.assert_array_equal(named.labels, labels)
    np.testing.assert_array_equal(named.source.labels, labels)
    assert named.digest != found.digest


def test_images_can_be_looked_at(part, cache):
    found = through(mean_colors(), PREPARATION, part, cache=cache)
    assert found.picture(3, 6).size == (6, 6)
    np.testing.assert_array_equal(np.asarray(found.picture(3, 6)), np.rint(255 * part.images[3]))
    np.testing.assert_array_equal(found.prepared(PREPARATION), np.rint(255 * part.images))


def test_maps_at_hand_stand_for_a_backbone(part):
    backbone = mean_colors()
    at_hand = MapsAtHand.of(backbone)
    maps = backbone.maps(part.images)
    assert at_hand.input_shape == at_hand.map_shape == (1, 1, 5)
    assert (at_hand.digest, at_hand.cuts) == (backbone.digest, backbone.cuts)
    assert at_hand.n_parameters == backbone.n_parameters
    # They are no pixels: any finite numbers are maps.
    np.testing.assert_array_equal(at_hand.maps(100 * maps - 50), 100 * maps - 50)
    with pytest.raises(InputError, match="not finite"):
        at_hand.maps(maps * np.nan)


def test_patterns_are_told_apart_by_a_pretrained_network(tmp_path):
    """The maps of stripes, of squares and of plain colors are unlike."""
    pytest.importorskip("tf2onnx")
    network = efficientnet_lite(0)
    backbone = network.backbone(network.cuts[-2:])
    rng, images = np.random.default_rng(0), []
    lines = np.arange(64) // 4 % 2
    for pattern in (lines[:, None] * np.ones(64), lines ^ lines[:, None], np.full((64, 64), 0.5)):
        for _ in range(3):
            noisy = np.clip(pattern[..., None] * rng.uniform(0.6, 1.0, 3), 0, 1)
            images.append(np.roll(noisy, rng.integers(8), axis=0))
    part = Images(np.array(images, np.float32), np.repeat([0, 1, 2], 3))
    found = through(backbone, Preparation((224, 224), 3), part, cache=tmp_path)
    assert found.images.shape == (9, 1, 1, sum(backbone.channels))
    features = found.images.reshape(9, -1)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    similar = features @ features.T
    np.fill_diagonal(similar, -1)
    np.testing.assert_array_equal(part.labels[similar.argmax(axis=1)], part.labels)
