import gzip
import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicing.data import idx
from slicing.errors import InputError
from tests.idx_files import idx_bytes, write_idx
from tests.limits import run_limited

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 28, 28))
BYTES = idx_bytes(IMAGES)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_reads_what_was_written(tmp_path, suffix):
    path = write_idx(tmp_path / f"images{suffix}", IMAGES)
    assert idx.count(path, (28, 28)) == 50
    np.testing.assert_array_equal(idx.read(path, (28, 28)), IMAGES)
    labels = write_idx(tmp_path / f"labels{suffix}", np.arange(7))
    assert idx.count(labels, ()) == 7
    np.testing.assert_array_equal(idx.read(labels, ()), np.arange(7))


@given(chosen=st.lists(st.integers(0, 49), max_size=60), chunk=st.integers(1, 60))
def test_reads_the_items_that_are_chosen_in_their_order(tmp_path_factory, chosen, chunk):
    path = write_idx(tmp_path_factory.getbasetemp() / "chosen.gz", IMAGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(idx, "CHUNK", chunk)
        found = idx.read(path, (28, 28), np.array(chosen, int))
    np.testing.assert_array_equal(found, IMAGES[chosen])


FAULTS = {
    "is empty": b"",
    "is truncated within its header": BYTES[:9],
    "is truncated": BYTES[:-1],
    "is corrupt": BYTES + b"\0",
    "does not hold images in IDX format": idx_bytes(np.arange(50)),
    "it starts with 00000d03": idx_bytes(IMAGES, dtype_code=0x0D),
    "it starts with 89504e47": b"\x89PNG" + BYTES,
    "holds images of 20x30 pixels instead of 28x28": idx_bytes(np.zeros((5, 20, 30))),
    "holds no images": idx_bytes(np.zeros((0, 28, 28))),
}


@pytest.mark.parametrize("look", [idx.count, idx.read])
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_file_is_named_with_its_fault(tmp_path, fault, suffix, look):
    path = tmp_path / f"images{suffix}"
    path.write_bytes(gzip.compress(FAULTS[fault]) if suffix else FAULTS[fault])
    with pytest.raises(InputError) as error:
        look(path, (28, 28))
    assert str(error.value).startswith(f"{path} ")
    assert fault in str(error.value)
    assert "replace it" in str(error.value)


@pytest.mark.parametrize("look", [idx.count, idx.read])
@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", gzip.compress(BYTES)[:-900], BYTES])
def test_a_damaged_gzip_file_is_named(tmp_path, content, look):
    path = tmp_path / "images.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"images\.gz (is|cannot be read)"):
        look(path, (28, 28))


def test_damage_within_the_pixels_is_found_when_they_are_read(tmp_path):
    path = tmp_path / "images.gz"
    content = bytearray(gzip.compress(BYTES))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert idx.count(path, (28, 28)) == 50
    with pytest.raises(InputError, match="cannot be read"):
        idx.read(path, (28, 28))


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read \(No such file or directory\)"):
        idx.count(tmp_path / "images.gz", (28, 28))


def bomb(path, n):
    """A file of 1 MB with the header of n images, that goes on for a gigabyte."""
    start = idx_bytes(np.zeros((0, 28, 28)))[:4] + struct.pack(">3I", n, 28, 28)
    path.write_bytes(gzip.compress(start) + 64 * gzip.compress(bytes(2**24)))
    return path


READ = """
import sys
from pathlib import Path
import numpy as np
from slicing.data import idx
print(idx.read(Path(sys.argv[1]), (28, 28), np.arange(10)).sum())
"""


@pytest.mark.parametrize("n", [60_000, 1_369_568])
def test_a_bomb_takes_the_memory_of_what_is_asked_for(tmp_path, n):
    found = run_limited(READ, bomb(tmp_path / "images.gz", n), megabytes=600)
    # The header of the second is that of its images, but for some bytes at the end.
    assert "images.gz is corrupt" in found.stderr
    assert "and is more" in found.stderr


def test_more_than_the_file_can_hold_is_not_promised(tmp_path):
    path = bomb(tmp_path / "images.gz", 2**32 - 1)
    for look in (idx.count, idx.read):
        with pytest.raises(InputError, match=r"is truncated .* for its 4294967295 images, and is"):
            look(path, (28, 28))


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (("pipe", "a named pipe"), ("/dev/zero", "a device"), ("a\0b", "NUL")):
        for look in (idx.count, idx.read):
            with pytest.raises(InputError, match=rf"cannot be read \(it.* {reason}"):
                look(tmp_path / path, (28, 28))
