"""Image files that are decoded as they are asked for."""

import hashlib
import threading

import numpy as np
import pytest

from slicing.data.image_file import UnreadableImageError
from slicing.data.image_files import ImageFiles, in_threads
from slicing.data.preparation import Preparation
from slicing.errors import InputError
from tests.slicing.data.pictures import photo, save

PREPARATION = Preparation((8, 9), 3, "crop")


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    paths = [
        save(photo(number, tuple(rng.integers(10, 40, 2))), tmp_path / f"{number}.png")
        for number in range(12)
    ]
    digests = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)
    return ImageFiles(
        np.array(paths), np.arange(12) % 4, np.array([path.name for path in paths]),
        np.frombuffer(digests, "V32"),
    )  # fmt: skip


def test_each_row_is_its_file(files):
    pixels = files.prepared(PREPARATION)
    assert pixels.dtype == np.uint8
    for row, path in zip(pixels, files.paths, strict=True):
        np.testing.assert_array_equal(row, PREPARATION.of_file(path))
    read = files.read(PREPARATION)
    np.testing.assert_array_equal(np.rint(read.images * 255), pixels)
    np.testing.assert_array_equal(read.labels, files.labels)
    np.testing.assert_array_equal(read.names, files.names)
    assert files[:0].prepared(PREPARATION).shape == (0, 8, 9, 3)


def test_a_part_is_of_those_files(files):
    for index in (np.array([5, 1, 1]), slice(3, 7), [2]):
        part = files[index]
        np.testing.assert_array_equal(
            part.prepared(PREPARATION), files.prepared(PREPARATION)[index]
        )
        for name in ("paths", "labels", "names", "contents"):
            np.testing.assert_array_equal(getattr(part, name), getattr(files, name)[index])
    other = files.relabeled(np.zeros(12, np.int64))
    assert other.labels.max() == 0
    assert len({files.digest, other.digest, files[::-1].digest}) == 3


def test_a_damaged_file_is_named(files):
    files.paths[7].write_bytes(files.paths[7].read_bytes()[:60])
    with pytest.raises(UnreadableImageError, match=r"7\.png"):
        files.prepared(PREPARATION)
    files.paths[3].unlink()
    with pytest.raises(UnreadableImageError, match=r"3\.png"):
        files.prepared(PREPARATION)


def test_inputs_of_more_pixels_than_a_file_may_have_are_refused_before_any_is_read(files):
    small = ImageFiles(files.paths, files.labels, files.names, files.contents, 1e-5)
    with pytest.raises(InputError, match="max_megapixels=1e-05 is fewer than images"):
        small.prepared(PREPARATION)


@pytest.mark.parametrize("processors", [1, 3])
def test_threads_give_in_order_what_one_gives(monkeypatch, processors):
    monkeypatch.setitem(in_threads.__globals__, "usable_processors", lambda: processors)
    names, together = set(), threading.Barrier(processors)

    def work(number):
        names.add(threading.current_thread().name)
        # Each waits for all others: they work at the same time.
        together.wait(timeout=10)
        return number**2

    assert [*in_threads(work, range(12))] == [number**2 for number in range(12)]
    assert len(names) == processors


def test_what_goes_wrong_in_a_thread_is_raised(files):
    def work(number):
        if number == 5:
            raise InputError("the sixth is wrong")
        return number

    found = in_threads(work, range(10))
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(InputError, match="the sixth is wrong"):
        next(found)


def test_few_of_many_files_are_worked_on_before_they_are_asked_for(monkeypatch):
    monkeypatch.setitem(in_threads.__globals__, "usable_processors", lambda: 2)
    begun = []
    found = in_threads(lambda number: begun.append(number), range(1000))
    next(found)
    assert len(begun) < 20
    assert len([*found]) == 999
    assert sorted(begun) == [*range(1000)]
