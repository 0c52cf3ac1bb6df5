from contextlib import suppress

import pytest

from slicing.files import replacing


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, durable):
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_text("before")
    link.symlink_to(path)
    with suppress(InterruptedError), replacing(link, durable) as file:
        file.write(b"half")
        raise InterruptedError
    assert path.read_text() == "before"
    with replacing(link, durable) as file:
        file.write(b"after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert link.is_symlink()
    assert sorted(tmp_path.iterdir()) == [path, link]


def test_writers_of_one_file_do_not_share_the_temporary_one(tmp_path):
    """Writers on several hosts may have the same process number."""
    path = tmp_path / "file"
    with replacing(path) as first, replacing(path) as second:
        first.write(b"first")
        second.write(b"second")
        assert len(list(tmp_path.glob("file.*.part"))) == 2
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]
