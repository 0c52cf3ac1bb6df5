import os
import re
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slicing.data import folder
from slicing.data.find_photos import name_of
from slicing.data.image_files import ImageFiles
from slicing.errors import InputError

COLORS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


@pytest.fixture
def colors(tmp_path):
    """Three classes of ten images each: every file of its own size, PNG and JPEG mixed."""
    root = tmp_path / "colors"
    for name, color in COLORS.items():
        (root / name).mkdir(parents=True)
        for i in range(10):
            image = Image.new("RGB", (20 + i, 40 - i), color)
            image.save(root / name / f"{i}.{'png' if i % 2 else 'jpg'}")
    (root / ".hidden").mkdir()
    (root / "blue" / ".DS_Store").write_bytes(b"not an image")
    return root


def test_rgb_images(colors):
    data = folder(directory=colors, image_size=(6, 8), channels=3)
    test = data.read_test()
    assert data.name == "colors"
    assert data.classes == ("blue", "green", "red")
    assert data.train.images.shape[1:] == (6, 8, 3)
    assert data.read_test_all is None
    for images, per_class in ((data.train, 8), (test, 2)):
        assert images.images.dtype == np.float32
        assert images.labels.dtype == np.int64
        assert np.bincount(images.labels).tolist() == [per_class] * 3
        expected = np.array(list(COLORS.values()))[images.labels][:, None, None, :] / 255
        np.testing.assert_allclose(images.images, np.broadcast_to(expected, images.images.shape),
                                   atol=0.02)  # fmt: skip


def test_images_beyond_the_memory_are_refused_before_they_are_kept(colors, monkeypatch):
    bytes_needed = 30 * 6 * 8 * 3 * 4
    monkeypatch.setattr("slicing.memory.available", lambda: (0, bytes_needed))
    assert len(folder(directory=colors, image_size=(6, 8), channels=3).train) == 24
    monkeypatch.setattr("slicing.memory.available", lambda: (0, bytes_needed - 1))
    monkeypatch.setattr(ImageFiles, "prepared", lambda *_: 1 / 0)
    with pytest.raises(InputError, match=r"^image_size=\[6, 8\] of 30 images takes at least"):
        folder(directory=colors, image_size=(6, 8), channels=3)
    sentence = r"^image_size=\[6, 8\] of 6 images takes"
    monkeypatch.setattr("slicing.memory.available", lambda: (0, 6 * 6 * 8 * 3 * 4 - 1))
    with pytest.raises(InputError, match=sentence):
        folder(directory=colors, image_size=(6, 8), channels=3, train_size=3, test_size=3)


def test_gray_images_keep_rows_and_columns(tmp_path):
    """Every image is unique: the split must part them, and none may be turned or mixed up."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 5, 7), dtype=np.uint8)
    for i, image in enumerate(pixels):
        path = tmp_path / f"class{i % 2}" / f"{i:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    data = folder(directory=str(tmp_path), image_size=[5, 7], test_fraction=0.3)
    test = data.read_test()
    assert (len(data.train), len(test)) == (14, 6)
    label_of = {image.tobytes(): i % 2 for i, image in enumerate(pixels)}
    seen = []
    for images in (data.train, test):
        for image, label in zip(images.images, images.labels, strict=True):
            seen.append(np.rint(image[..., 0] * 255).astype(np.uint8).tobytes())
            assert label_of[seen[-1]] == label
    assert set(seen) == set(label_of)


def test_the_split_depends_on_the_seed_alone(tmp_path):
    for i in range(20):
        path = tmp_path / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), 10 * i).save(path)
    first = folder(directory=tmp_path, seed=3)
    assert folder(directory=tmp_path, seed=3).train.digest == first.train.digest
    assert folder(directory=tmp_path, seed=4).train.digest != first.train.digest


def test_sixteen_bits_transparency_and_palettes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "a" / "deep.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 90, 90, 90])
    palette.save(tmp_path / "a" / "palette.png")
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "b" / "clear.png")
    Image.new("LA", (4, 4), (50, 255)).save(tmp_path / "b" / "opaque.png")
    data = folder(directory=tmp_path, image_size=(4, 4), test_fraction=0.5)
    both = [data.train, data.read_test()]
    means = {round(float(i.mean()) * 255) for part in both for i in part.images}
    assert means == {40000 >> 8, 90, 255, 50}


def test_damaged_images_are_found_before_hours_of_work(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    path_of = {}
    for i, image in enumerate(noise):
        path = tmp_path / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
        path_of[(image / 255).astype(np.float32).tobytes()] = path

    def truncate(images):
        for image in images.images:
            path = path_of[image.tobytes()]
            path.write_bytes(path.read_bytes()[:400])  # the header is whole

    intact = folder(directory=tmp_path)
    truncate(intact.read_test())
    with pytest.raises(InputError, match=r"\d\.png cannot be read as an image \(image file is tr"):
        intact.read_test()
    with pytest.raises(InputError) as error:
        folder(directory=tmp_path)
    assert str(error.value).startswith("2 of 10 files cannot be read as images, ")
    assert str(error.value).count(".png") == 2
    assert str(error.value).endswith(": give intact copies, or max_unreadable=2 to leave them out.")
    assert str(error.value).count("(image file is truncated") == 1
    truncate(intact.train[:3])
    with pytest.raises(InputError, match=r"^5 of 10 files") as error:
        folder(directory=tmp_path)
    # All at once and in order: a refused run leaves no log in which to look them up.
    named = re.findall(r"\S+\.png", str(error.value))
    assert named == sorted(named)
    assert len(named) == 5


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("flowers", "flowers"),
        ("flowers/train", "flowers-train"),
        ("flowers/Data/train", "flowers-Data-train"),
        ("photos/flowers", "flowers"),
        ("flowers/../flowers/images", "flowers-images"),
    ],
)
def test_a_folder_of_a_vague_name_is_named_with_its_parent(path, name, colors, tmp_path):
    place = tmp_path / path
    (tmp_path / "flowers").mkdir()
    place.parent.mkdir(parents=True, exist_ok=True)
    if path == "flowers":
        place.rmdir()
    colors.rename(place)
    assert folder(directory=place).name == name


def test_the_root_of_all_has_a_name():
    assert name_of(Path("/")) == ""
    assert name_of(Path("/photos")) == "photos"


def test_damaged_images_may_be_left_out(colors, caplog):
    intact = folder(directory=colors)
    names = [*intact.train.names[:2], *intact.read_test().names[:1]]
    for name in names:
        path = colors / str(name)
        path.write_bytes(path.read_bytes()[:-30])
    (colors / "red" / "0.jpg").write_bytes(b"")
    with caplog.at_level("INFO"):
        rest = folder(directory=colors, max_unreadable=4)
    assert len(rest.train) + len(rest.read_test()) == 30 - len({*names, "red/0.jpg"})
    for name in names:
        assert f"{name} cannot be read as an image" in caplog.text
        assert name not in [*rest.train.names, *rest.read_test().names]
    [note] = [note for note in rest.notes if "left out" in note]
    assert note.startswith(f"{len({*names, 'red/0.jpg'})} files left out: they cannot be read")


def test_what_lies_beside_images_is_passed_over(colors):
    intact = folder(directory=colors)
    for place in (colors, colors / "red"):
        (place / "notes.txt").write_text("hello")
        (place / "Thumbs.db").write_bytes(bytes(range(256)))
        (place / "__MACOSX").mkdir()
        (place / "__MACOSX" / "0.jpg").write_bytes(b"not an image")
    data = folder(directory=colors)
    assert data.train.digest == intact.train.digest
    assert data.classes == intact.classes
    assert "8 files passed over: no images (.hidden, Thumbs.db, __MACOSX and 5 more)." in data.notes


def test_names_and_what_is_dropped(colors):
    data = folder(directory=colors)
    test = data.read_test()
    for images in (data.train, test, data.train[:3]):
        for name, label in zip(images.names, images.labels, strict=True):
            assert (colors / name).is_file()
            assert name.startswith(data.classes[label] + "/")
    assert "Color is dropped: channels=3 keeps it." in data.notes
    assert not any("Color" in note for note in folder(directory=colors, channels=3).notes)
    two = data.of_classes(["red", "blue"]).train
    starts = [["red/", "blue/"][label] for label in two.labels]
    assert all(map(str.startswith, two.names, starts))


def test_samples_are_stratified(colors):
    data = folder(directory=colors, train_size=6, test_size=3)
    assert np.bincount(data.train.labels).tolist() == [2, 2, 2]
    assert np.bincount(data.read_test().labels).tolist() == [1, 1, 1]
    assert len(folder(directory=colors, train_size=1000).train) == 24


def moved(colors, names):
    """Copy all class folders into each of these folders of a new one."""
    root = colors.with_name("parts")
    for name in names:
        shutil.copytree(colors, root / name)
    return root


@pytest.mark.parametrize(
    ("names", "train", "test"),
    [
        (["train", "test"], ["train"], ["test"]),
        (["Training", "VALID"], ["Training"], ["VALID"]),
        (["train", "validation", "testing"], ["train", "validation"], ["testing"]),
        (["train"], ["train"], []),
    ],
)
def test_training_and_test_images_in_folders_of_their_own(colors, names, train, test):
    root = moved(colors, names)
    (root / "sample.csv").write_text("id,label\n")
    data = folder(directory=root, channels=3)
    assert data.classes == tuple(COLORS)
    if test:
        assert (len(data.train), len(data.read_test())) == (30 * len(train), 30 * len(test))
        assert data.notes[0] == (
            f"Training images are those of {', '.join(str(root / name) for name in train)}, test "
            f"images those of {root / test[0]}."
        )
    else:
        assert (len(data.train), len(data.read_test())) == (24, 6)


def test_a_folder_of_test_images(colors):
    root = moved(colors, ["mine"]) / "mine"
    for path in [*root.glob("green/*"), *root.glob("red/[1-9]*")]:
        path.unlink()
    data = folder(directory=colors, test_directory=root, channels=3)
    assert len(data.train) == 30
    assert np.bincount(data.read_test().labels).tolist() == [10, 0, 1]
    (colors / "empty").mkdir()
    with pytest.raises(InputError, match="The 30 training images hold none of class empty"):
        folder(directory=colors, test_directory=root)
    (colors / "empty").rmdir()
    (root / "red").rename(root / "rot")
    with pytest.raises(InputError, match="rot holds test images of the class rot, which has no tr"):
        folder(directory=colors, test_directory=root)
    for path in root.glob("*/*"):
        path.unlink()
    (root / "rot").rmdir()
    with pytest.raises(InputError, match="mine holds no test images"):
        folder(directory=colors, test_directory=root)
    with pytest.raises(InputError, match=r"test_directory=.*nowhere is not there"):
        folder(directory=colors, test_directory=root / "nowhere")


def test_names_of_classes_are_safe_and_composed(colors):
    strange = os.fsdecode(b"bl\xff|\x1b[2J\n")
    (colors / "blue").rename(colors / strange)
    (colors / "green").rename(colors / unicodedata.normalize("NFD", "grün"))
    data = folder(directory=colors)
    assert data.classes == (r"bl\udcff|\u001b[2J\u000a", "grün", "red")
    "".join([*data.classes, *data.train.names, *data.notes]).encode()
    (colors / "red").rename(colors / "grün")
    with pytest.raises(
        InputError, match=r"two folders of the class grün, 'gru\\u0308n' and 'gr\\xfc"
    ):
        folder(directory=colors)


def remove_all_but(n, path):
    for file in sorted(path.glob("[0-9]*"))[n:]:
        file.unlink()


FAULTS = {
    "{root} holds 1 file outside the class folders, {root}/a.png: move them": lambda root: (
        Image.new("L", (4, 4)).save(root / "a.png")
    ),
    "{root} holds 3 files and no class folders: name the folder above it": lambda root: [
        (shutil.rmtree(root / name), Image.new("L", (4, 4)).save(root / f"{name}.png"))
        for name in COLORS
    ],
    "{unreadable}, {root}/red/movie.mp4 (it is none of PNG": lambda root: (
        root / "red" / "movie.mp4"
    ).write_bytes(bytes(100)),
    "{unreadable}, {root}/red/empty.png (it is none of PNG": lambda root: (
        root / "red" / "empty.png"
    ).write_bytes(b""),
    "{unreadable}, {root}/red/deeper (it is a folder)": lambda root: (
        root / "red" / "deeper"
    ).mkdir(),
    "{unreadable}, {root}/red/pipe (it is a named pipe, not a file)": lambda root: os.mkfifo(
        root / "red" / "pipe"
    ),
    "{unreadable}, {root}/red/gone.png (No such file or directory)": lambda root: (
        root / "red" / "gone.png"
    ).symlink_to(root / "nowhere.png"),
    "{root}/red holds 1 image of the class red: it needs at least two": lambda root: remove_all_but(
        1, root / "red"
    ),
    "{root}/empty holds 0 images of the class empty: it needs at least two": lambda root: (
        root / "empty"
    ).mkdir(),
    "{root} holds 1 class: give it at least two": lambda root: [
        (root / name).rename(root / f".{name}") for name in ("red", "green")
    ],
    "{root} holds 0 classes: give it at least two": lambda root: [
        path.rename(path.with_name(f".{path.name}")) for path in list(root.iterdir())
    ],
    "directory={root} is neither a folder nor a table or an archive: name a": lambda root: (
        shutil.rmtree(root),
        Image.new("L", (4, 4)).save(root, "PNG"),
    ),
    "directory={root} is not there: name a folder that holds one of images": lambda root: (
        root.rename(root.with_name("elsewhere"))
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_input_is_one_sentence(colors, fault):
    FAULTS[fault](colors)
    with pytest.raises(InputError) as error:
        folder(directory=colors)
    unreadable = "1 of 31 files cannot be read as images"
    assert str(error.value).startswith(fault.format(root=colors, unreadable=unreadable))
    assert ". " not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 2}, "channels=2 is unknown"),
        ({"image_size": (28,)}, r"image_size=\[28\] is not a size"),
        ({"image_size": (0, 28)}, r"image_size=\[0, 28\] is not a size"),
        ({"image_size": (10_001, 10_000)}, "fewer than images of 10,001 x 10,000 pixels have"),
        ({"image_size": (28, 28), "max_megapixels": 0.0007}, "max_megapixels=0.0007 is fewer than"),
        ({"test_fraction": 0.0}, "test_fraction=0.0 makes 0 of the 30 images"),
        ({"test_fraction": 0.05}, "test_fraction=0.05 makes 2 of the 30 images"),
        ({"test_fraction": 1.5}, "test_fraction=1.5 makes 45 of the 30 images"),
        ({"seed": -1}, "seed=-1 is out of range"),
        ({"train_size": 0}, "train_size=0 is out of range"),
        ({"test_size": 0}, "test_size=0 is out of range"),
        ({"max_unreadable": -1}, "max_unreadable=-1 is out of range"),
        ({"max_megapixels": 0}, "max_megapixels=0 is out of range"),
    ],
)
def test_options_out_of_range(colors, options, message):
    with pytest.raises(InputError, match=message):
        folder(directory=colors, **options)


def test_a_split_that_leaves_a_class_without_training_images(colors):
    remove_all_but(2, colors / "red")
    with pytest.raises(InputError, match=r"hold none of class red, which .* smaller test_fraction"):
        folder(directory=colors, test_fraction=0.8)
