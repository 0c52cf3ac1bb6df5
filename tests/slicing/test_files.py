import os
import socket
from contextlib import suppress

import pytest

from slicing.files import open_regular, replacing


def test_what_is_no_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    for name, reason in {
        "pipe": "a named pipe", "socket": "a socket", "loop": "symbolic links",
        "folder": "a folder", "zero": "a device", "nul\0": "NUL", "gone": "No such file",
    }.items():  # fmt: skip
        with pytest.raises(OSError, match=reason) as caught:
            open_regular(tmp_path / name)
        assert reason in caught.value.strerror


def test_a_pipe_that_takes_the_place_of_a_file_does_not_block(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with open_regular(path) as file:
        assert file.read() == b"content"
    regular = path.stat()
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(type(path), "stat", lambda self: regular)
    with pytest.raises(OSError, match="a named pipe"):
        open_regular(path)


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
