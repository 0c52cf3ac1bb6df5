"""Archives of all layouts, unpacked once into a cache that the tests have for themselves."""

import errno
import io
import os
import shutil
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from slicing.data import archive_cache, folder
from slicing.data.archive_cache import unpacked
from slicing.data.find_photos import find_photos
from slicing.errors import InputError
from tests.slicing.data.photos import COLORS, count, paint, paint_classes


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "knn-slicing" / "unpacked"


def packed(root, kind="zip", name="colors"):
    """Pack the contents of a folder, which is then gone."""
    path = Path(shutil.make_archive(str(root.parent / name), kind, root))
    shutil.rmtree(root)
    return path


def class_folders(root):
    paint_classes(root)


def a_folder_above(root):
    paint_classes(root / "photos")
    (root / "__MACOSX" / "photos").mkdir(parents=True)
    (root / "__MACOSX" / "photos" / "._red").write_bytes(b"left by macOS")


def train_and_test(root):
    paint_classes(root / "data" / "train", 3)
    paint_classes(root / "data" / "test", 1)


def a_table(root):
    lines = ["file,label,split"]
    for name in COLORS:
        for number, split in enumerate(["train", "train", "train", "test"]):
            paint(root / "images" / f"{name}{number}.png", name)
            lines.append(f"{name}{number}.png,{name},{split}")
    (root / "labels.csv").write_text("\n".join(lines))


LAYOUTS = (class_folders, a_folder_above, train_and_test, a_table)


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_in_every_archive(tmp_path, cache, layout, kind):
    layout(tmp_path / "flowers")
    path = packed(tmp_path / "flowers", kind)
    data = folder(
        directory=path, image_size=(4, 4), channels=3, test_fraction=0.25, duplicate_radius=None
    )
    assert (len(data.train), len(data.read_test())) == (9, 3)
    for image, label in zip(data.train.images, data.train.labels, strict=True):
        assert (image[0, 0] * 255).round().tolist() == list(COLORS[data.classes[label]])
    assert str(cache) in data.notes[0]
    assert [each.name for each in cache.iterdir()] == [next(cache.iterdir()).name]


@pytest.mark.parametrize(
    ("name", "dataset"),
    [("flowers.tar.gz", "flowers"), ("Flowers.v2.ZIP", "Flowers.v2"), ("train.zip", "given-train")],
)
def test_the_name_is_the_archives(tmp_path, name, dataset):
    paint_classes(tmp_path / "given" / "photos")
    packed(tmp_path / "given" / "photos").rename(tmp_path / "given" / name)
    assert find_photos("directory", tmp_path / "given" / name, 1, 1).name == dataset


def test_it_is_unpacked_once(tmp_path, cache, monkeypatch):
    paint_classes(tmp_path / "flowers")
    path = packed(tmp_path / "flowers")
    first = folder(directory=path, test_fraction=0.25, duplicate_radius=None)
    monkeypatch.setattr(archive_cache, "unpack", None)
    assert (
        folder(directory=path, test_fraction=0.25, duplicate_radius=None).train.digest
        == first.train.digest
    )
    path.rename(tmp_path / "moved.zip")
    with pytest.raises(TypeError):  # another name, another folder
        folder(directory=tmp_path / "moved.zip")


def test_damaged_images_and_strays_are_those_of_any_folder(tmp_path, cache):
    paint_classes(tmp_path / "flowers")
    (tmp_path / "flowers" / "red" / "9.png").write_bytes(b"\x89PNG")
    (tmp_path / "flowers" / "red" / "Thumbs.db").write_bytes(bytes(9))
    (tmp_path / "flowers" / "LICENSE").write_text("free")
    paint(tmp_path / "flowers" / "blue" / "8.png", "blue", (1500, 1000))
    path = packed(tmp_path / "flowers")
    options = {
        "directory": path,
        "max_megapixels": 1,
        "test_fraction": 0.25,
        "duplicate_radius": None,
    }
    with pytest.raises(InputError, match=r"2 of 14 files .*colors/red/9\.png \("):
        folder(**options)
    data = folder(**options, max_unreadable=2)
    assert len(data.train) + len(data.read_test()) == 12
    assert any(note.startswith("2 files passed over: no images (") for note in data.notes)
    assert any(note.startswith("2 files left out: they cannot be read") for note in data.notes)


def test_a_refused_archive_leaves_nothing(tmp_path, cache):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("cat/1.jpg", b"content")
        file.writestr("../dog.jpg", b"content")
    with pytest.raises(InputError, match="holds a path out of its folder"):
        unpacked(tmp_path / "a.zip", 1, "a")
    assert list(cache.iterdir()) == []
    with pytest.raises(InputError, match=r"nowhere\.zip cannot be read \(No such file"):
        unpacked(tmp_path / "nowhere.zip", 1, "a")


def test_a_name_that_no_disk_takes(tmp_path, cache):
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        header = tarfile.TarInfo("x" * 300)
        header.size = 1
        file.addfile(header, io.BytesIO(b"1"))
    with pytest.raises(InputError, match=r"a\.tar holds a name that is too long, x{40}…: shorten"):
        unpacked(tmp_path / "a.tar", 1, "a")
    assert list(cache.iterdir()) == []


def test_on_a_full_disk_it_says_make_room(tmp_path, cache, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive_cache, "unpack", full)
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"\(No space left on device\): make room, or unpack it"):
        unpacked(tmp_path / "a.zip", 1, "a")


def test_what_was_used_last_is_kept(tmp_path, cache, monkeypatch):
    paths, folders = [], []
    for number in range(4):
        path = tmp_path / f"{number}.zip"
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a", bytes([number]) * 1000)
        paths.append(path)

    def aged(place, days):
        os.utime(place.parent, (0, place.parent.stat().st_mtime - days * 86_400))

    for number, path in enumerate(paths[:3]):
        folders.append(unpacked(path, 1, "a"))
        aged(folders[-1], 10 - number)
    unpacked(paths[0], 1, "a")
    monkeypatch.setattr(archive_cache, "LIMIT", 3200)
    aged(folders[0], 0.5)
    folders.append(unpacked(paths[3], 1, "a"))
    assert [place.is_dir() for place in folders] == [True, False, True, True]
    monkeypatch.setattr(archive_cache, "LIMIT", 1)
    unpacked(paths[3], 1, "a")
    # A run may still read what was used half a day ago.
    assert [place.is_dir() for place in folders] == [True, False, False, True]


def test_two_at_once_give_one_folder(tmp_path, cache):
    paint_classes(tmp_path / "flowers")
    path = packed(tmp_path / "flowers")
    start, found = threading.Barrier(2), []

    def work():
        start.wait()
        found.append(unpacked(tmp_path / path, 1, "flowers"))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert len(list(found[0].rglob("*.png"))) == 12
    assert len(list(cache.iterdir())) == 1


def test_a_table_in_an_archive_names_no_file_outside(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        image = io.BytesIO()
        Image.new("L", (4, 4)).save(image, "PNG")
        file.writestr("labels.csv", "1.png,cat\n/etc/hostname,dog\n")
        file.writestr("1.png", image.getvalue())
    with pytest.raises(InputError, match=r"has a path that leaves the archive in line 2"):
        find_photos("directory", tmp_path / "a.zip", 1, 1)


def test_test_images_in_an_archive_of_their_own(tmp_path):
    paint_classes(tmp_path / "train")
    paint_classes(tmp_path / "mine", 2)
    data = folder(
        directory=packed(tmp_path / "train", name="one"),
        test_directory=packed(tmp_path / "mine", name="two"),
    )
    assert (len(data.train), len(data.read_test())) == (12, 6)
    assert count(find_photos("directory", tmp_path / "two.zip", 1, 1).train)["red"] == 2
