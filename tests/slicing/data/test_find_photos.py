"""What people give, and which images of which part are found in it."""

import shutil

import pytest

from slicing.data import folder
from slicing.data.find_photos import find_photos
from slicing.errors import InputError
from tests.slicing.data.photos import COLORS, count, paint, paint_classes


def found(given):
    return find_photos("directory", given, max_megapixels=1, max_gigabytes=1)


ALL = dict.fromkeys(COLORS, 4)


def test_class_folders_are_one_part(tmp_path):
    photos = found(paint_classes(tmp_path / "colors"))
    assert (photos.name, photos.root) == ("colors", tmp_path / "colors")
    assert (count(photos.train), photos.val, photos.test) == (ALL, None, None)
    assert photos.train.files[0] == tmp_path / "colors" / "blue" / "0.png"


@pytest.mark.parametrize(
    ("names", "train", "test"),
    [
        (["train", "val", "test"], ["train", "val"], ["test"]),
        (["Train", "TESTING"], ["Train"], ["TESTING"]),
        (["training", "validation"], ["training"], ["validation"]),
        (["valid", "test"], ["valid"], ["test"]),
        (["val"], ["val"], []),
        (["train"], ["train"], []),
        (["train", "training", "test"], ["train", "training"], ["test"]),
    ],
)
def test_what_is_given_apart_stays_apart(tmp_path, names, train, test):
    for name in names:
        paint_classes(tmp_path / name)
    (tmp_path / "notes.txt").write_text("about")
    photos = found(tmp_path)
    for role, expected in zip(photos.roles(), (train, test), strict=True):
        assert role.sources == [str(tmp_path / name) for name in expected]
        assert len(role.files) == 12 * len(expected)
    assert photos.everything().passed_over == [tmp_path / "notes.txt"]
    assert len(photos.everything().files) == 12 * len(names)


def test_validation_images_are_a_part_of_their_own(tmp_path):
    for n, name in enumerate(("test", "train", "valid"), start=1):
        paint_classes(tmp_path / name, n)
    photos = found(tmp_path)
    parts = photos.train, photos.val, photos.test
    assert [count(part)["red"] for part in parts] == [2, 3, 1]


def test_a_train_is_a_vehicle_too(tmp_path):
    for name in ("train", "car"):
        paint(tmp_path / name / "0.png", "red")
        paint(tmp_path / name / "1.png", "red")
    assert count(found(tmp_path).train) == {"car": 2, "train": 2}


@pytest.mark.parametrize("above", ["", "photos", "flowers/images", "data/flowers/photos"])
def test_a_folder_in_a_folder_is_entered(tmp_path, above):
    root = paint_classes(tmp_path / "given" / above)
    (tmp_path / "given" / ".DS_Store").touch()
    (tmp_path / "given" / "LICENSE").write_text("free")
    photos = found(tmp_path / "given")
    assert photos.root == root
    assert count(photos.train) == ALL


def test_a_lone_class_is_not_taken_for_the_dataset(tmp_path):
    paint(tmp_path / "red" / "0.png", "red")
    with pytest.raises(InputError, match=r"holds 1 class: give it at least two"):
        folder(directory=tmp_path)


def test_train_and_test_images_are_what_the_dataset_has(tmp_path):
    for n, name in ((5, "val"), (3, "test")):
        paint_classes(tmp_path / name, n)
    data = folder(directory=tmp_path)
    assert (len(data.train), len(data.read_test())) == (15, 9)
    assert data.notes[0] == (
        f"Training images are those of {tmp_path / 'val'}, test images those of "
        f"{tmp_path / 'test'}."
    )


FAULTS = {
    "{root} holds test images alone, those of {root}/test: give training images": lambda root: (
        shutil.move(root / "train", root / "test")
    ),
    "{root} holds parts of a dataset (train) and, beside them, pred: move": lambda root: paint(
        root / "pred" / "0.png", "red"
    ),
    "{root}/test holds 1 file and no class folders: ": lambda root: paint(
        root / "test" / "0.png", "red"
    ),
    "{root} holds 1 file outside the class folders, {root}/0.png: move": lambda root: paint(
        root / "0.png", "red"
    ),
    "{root}/test holds no test images": lambda root: (root / "test").mkdir(),
    "{root}/test/pink holds test images of the class pink": lambda root: paint(
        root / "test" / "pink" / "0.png", "red"
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence(tmp_path, fault):
    paint_classes(tmp_path / "train")
    FAULTS[fault](tmp_path)
    with pytest.raises(InputError) as error:
        folder(directory=tmp_path)
    assert str(error.value).startswith(fault.format(root=tmp_path))
    assert ". " not in str(error.value)


def test_test_images_are_given_once(tmp_path):
    for name in ("photos/train", "photos/test", "mine"):
        paint_classes(tmp_path / name)
    with pytest.raises(InputError, match=r"test_directory=.*mine is given, and .* leave one"):
        folder(directory=tmp_path / "photos", test_directory=tmp_path / "mine")
    shutil.move(tmp_path / "photos" / "test", tmp_path / "photos" / "val")
    data = folder(directory=tmp_path / "photos", test_directory=tmp_path / "mine")
    assert (len(data.train), len(data.read_test())) == (24, 12)
    shutil.copytree(tmp_path / "mine", tmp_path / "in" / "test")
    again = folder(directory=tmp_path / "photos", test_directory=tmp_path / "in")
    assert again.read_test().digest == data.read_test().digest
