"""The memory that photos take: the files are all different, and a process of its own looks."""

import pytest

from benchmarks.photo_memory import Memory, make_photos, measure, report
from slicing.data.fingerprints import fingerprint


def test_the_files_are_all_different(tmp_path):
    make_photos(tmp_path, 40)
    paths = sorted(tmp_path.rglob("*.jpg"))
    assert [len([*folder.iterdir()]) for folder in sorted(tmp_path.iterdir())] == [4] * 10
    assert len({fingerprint(path).pixels for path in paths}) == 40


def test_a_process_looks_at_all_of_them():
    pytest.importorskip("tf2onnx")
    found = measure(100)
    assert found.map_bytes == 4 * 100 * (8 + 16)
    # TensorFlow alone takes as much.
    assert 200e6 < found.peak_bytes < 4e9
    assert found.seconds > 1


def test_the_table_has_a_row_for_each_number():
    *_, row = report([Memory(100_000, 1_500_000_000, 9_600_000, 120.4)]).splitlines()
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "100,000",
        "1,500",
        "9.6",
        "120",
    ]
