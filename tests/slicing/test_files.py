import os
import socket
from contextlib import suppress

import pytest

from slicing.files import clear_parts, clear_stale, open_regular, replacing


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


def test_a_file_that_cannot_be_written_is_named_and_not_the_temporary_one(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "no" / "file"):
        pass
    assert caught.value.filename == str(tmp_path / "no" / "file")


def test_writers_of_one_file_do_not_share_the_temporary_one(tmp_path):
    """Writers on several hosts may have the same process number."""
    path = tmp_path / "file"
    with replacing(path) as first, replacing(path) as second:
        first.write(b"first")
        second.write(b"second")
        assert len(list(tmp_path.glob("file.*.part"))) == 2
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


PART = f"file.{'0' * 32}.part"


def test_what_a_killed_writer_left_goes_with_the_next(tmp_path):
    old, young, other = tmp_path / PART, tmp_path / PART.replace("0", "1"), tmp_path / f"x{PART}"
    for path in (old, young, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, 0))
    with replacing(tmp_path / "file") as file:
        file.write(b"whole")
    # Another process may be at work on the young one; the third belongs to another file.
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "file", young, other])
    clear_parts(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_only_what_nobody_can_be_at_work_on_is_cleared(tmp_path):
    for name in (".mlflow-old", ".mlflow-young", "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mlflow.db").write_bytes(b"half")
        if name != ".mlflow-young":
            os.utime(tmp_path / name, (0, 0))
    clear_stale(tmp_path, ".mlflow-*")
    assert {path.name for path in tmp_path.iterdir()} == {".mlflow-young", "mine"}
