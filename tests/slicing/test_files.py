import os
import socket
from contextlib import suppress

import numpy as np
import pytest

from evolve.checkpoint import Checkpoint
from slicing import Engine
from slicing.baselines import SavedCNN
from slicing.checks import archive
from slicing.data import fashion_mnist, folder, idx, mnist, mnist_held_out
from slicing.data.download import download
from slicing.data.image_file import has_color, read_image
from slicing.errors import InputError
from slicing.files import clear_parts, clear_stale, open_regular, replacing
from slicing.stack import Conv, ConvStack


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
        "half\ud800": "half a character",
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
    names = ".mlflow-old", ".mlflow-young", ".mlflow-long", "mine"
    for name in names:
        (tmp_path / name / "folder").mkdir(parents=True)
        (tmp_path / name / "folder" / "mlflow.db").write_bytes(b"half")
        for path in (*(tmp_path / name).rglob("*"), tmp_path / name):
            # The third was begun long ago, and a file in it is still written to.
            if name != ".mlflow-young" and not (name == ".mlflow-long" and path.is_file()):
                os.utime(path, (0, 0))
    clear_stale(tmp_path, ".mlflow-*")
    assert {path.name for path in tmp_path.iterdir()} == {*names[1:]}


def save_engine(path):
    conv = Conv(np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32))
    stack = ConvStack((conv,), (1, 1, 1))
    Engine(stack, np.ones((1, 1), np.float32), np.array([0]), ("a",), k=1).save(path)


READERS_AND_WRITERS = {
    "Engine.save": save_engine,
    "Engine.load": Engine.load,
    "Checkpoint.save": lambda path: Checkpoint(path).save("state", {}),
    "Checkpoint.load": lambda path: Checkpoint(path).load("state"),
    "Checkpoint.locked": lambda path: Checkpoint(path).locked().__enter__(),
    "SavedCNN": lambda path: SavedCNN(path=path).shape((9, 9, 1), 2),
    "archive": lambda path: archive("path", path),
    "download": lambda path: download("x", "http://127.0.0.1:1/", "0", path, "y"),
    "folder": lambda path: folder(directory=path),
    "test folder": lambda path: folder(directory=path.parent, test_directory=path),
    "mnist": lambda path: mnist(directory=path),
    "mnist_held_out": lambda path: mnist_held_out(directory=path),
    "fashion_mnist": lambda path: fashion_mnist(directory=path),
    "idx.read": lambda path: idx.read(path, ()),
    "idx.count": lambda path: idx.count(path, ()),
    "has_color": has_color,
    "read_image": lambda path: read_image(path, (3, 3), 1),
}


@pytest.mark.parametrize("name", READERS_AND_WRITERS)
@pytest.mark.parametrize("file", ["a\0b", "half\ud800", "x" * 300])
def test_a_name_that_no_file_can_have_is_one_sentence(name, file, tmp_path):
    with pytest.raises((InputError, OSError)) as error:
        READERS_AND_WRITERS[name](tmp_path / file)
    assert "\n" not in str(error.value)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "name", [name for name in READERS_AND_WRITERS if not name.startswith("Checkpoint")]
)
def test_a_folder_is_no_file_and_an_empty_one_holds_nothing(name, tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises((InputError, OSError)):
        READERS_AND_WRITERS[name](tmp_path / "here")
    assert not [*(tmp_path / "here").iterdir()]
