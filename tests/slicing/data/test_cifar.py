"""CIFAR-10 in small: files like those of its binary version, and photos in class folders."""

import os
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slicing.data import cifar, cifar10
from slicing.data.cifar import CLASSES
from slicing.errors import InputError

CANONICAL = os.environ.get("CIFAR10_DIR")
BATCHES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]


@pytest.fixture(autouse=True)
def _no_other_place(tmp_path, monkeypatch):
    monkeypatch.delenv("CIFAR10_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write_binary(folder, n=20):
    """Write the six files, of ``n`` images each; image i has label i % 10."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.random.default_rng(0).integers(0, 256, (6, n, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(n, dtype=np.uint8) % 10
    for name, batch in zip(BATCHES, images, strict=True):
        planes = batch.transpose(0, 3, 1, 2).reshape(n, -1)
        (folder / name).write_bytes(np.c_[labels, planes].tobytes())
    return images


def write_photos(root, n_train=4, n_test=2):
    for part, n in (("train", n_train), ("test", n_test)):
        for label, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for number in range(n):
                image = Image.new("RGB", (32, 32), (10 * label, 50 * number, 100))
                image.save(root / part / name / f"{number:04}.jpg", quality=95)
    return root


def archive_of(folder, path):
    with tarfile.open(path, "w:gz") as file:
        file.add(folder, "." if folder.name == "given" else folder.name)
    return path


SMALL = {"train_size": 100, "test_size": 20}


def test_the_binary_version(tmp_path):
    images = write_binary(tmp_path / "given")
    data = cifar10(directory=tmp_path / "given", train_size=60, test_size=10)
    assert (data.name, data.classes[0], data.classes[9]) == ("cifar10", "airplane", "truck")
    expected = images[:5].reshape(-1, 32, 32, 3)[:60].astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(data.train.images, expected)
    np.testing.assert_array_equal(data.train.labels, np.arange(60) % 20 % 10)
    np.testing.assert_array_equal(data.read_test().images, images[5][:10] / np.float32(255))
    assert len(data.read_test_all()) == 20
    assert cifar10(directory=tmp_path / "given", **SMALL).read_test_all is None


@pytest.mark.parametrize("layout", ["given", "given/cifar-10-batches-bin"])
def test_folders_and_archives_hold_the_same(tmp_path, layout):
    write_binary(tmp_path / layout)
    first = cifar10(directory=tmp_path / "given", **SMALL)
    path = archive_of(tmp_path / layout, tmp_path / "given.tar.gz")
    assert cifar10(directory=path, **SMALL).train.digest == first.train.digest
    (tmp_path / "other").mkdir()
    shutil.copy(path, tmp_path / "other" / "cifar-10-binary.tar.gz")
    data = cifar10(directory=tmp_path / "other", **SMALL)
    assert data.train.digest == first.train.digest
    assert data.read_test().digest == first.read_test().digest


@pytest.mark.parametrize("above", ["", "cifar10"])
def test_photos_in_class_folders(tmp_path, above):
    root = write_photos(tmp_path / "given" / above)
    data = cifar10(directory=tmp_path / "given", train_size=20, test_size=20)
    assert data.name == "cifar10-JPEG"
    # The first of each class, so that a sample holds all.
    np.testing.assert_array_equal(data.train.labels, np.arange(20) % 10)
    for images, part in ((data.train, "train"), (data.read_test(), "test")):
        for image, name in zip(images.images, images.names, strict=True):
            with Image.open(root / part / name) as expected:
                np.testing.assert_array_equal(np.rint(image * 255), np.asarray(expected))
    path = archive_of(tmp_path / "given", tmp_path / "given.tar.gz")
    again = cifar10(directory=path, train_size=20, test_size=20)
    assert again.train.digest == data.train.digest


def test_a_stratified_sample(tmp_path):
    write_binary(tmp_path)
    data = cifar10(directory=tmp_path, train_size=30, test_size=10, sample="stratified", seed=1)
    assert np.bincount(data.train.labels).tolist() == [3] * 10
    other = cifar10(directory=tmp_path, train_size=30, test_size=10, sample="stratified", seed=2)
    assert data.train.digest != other.train.digest


def test_search_order(tmp_path, monkeypatch):
    cache = tmp_path / "cache" / "knn-slicing" / "cifar10"
    for n, folder in ((10, tmp_path / "variable"), (12, tmp_path / "argument")):
        write_binary(folder, n)

    def n_train(**options):
        with pytest.raises(InputError) as error:
            cifar10(train_size=999, **options)
        return str(error.value).rsplit(" ", 1)[1]

    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "variable"))
    assert n_train() == "50."
    assert n_train(directory=tmp_path / "argument") == "60."
    monkeypatch.delenv("CIFAR10_DIR")
    write_binary(tmp_path / "cifar-10-batches-bin", 14)
    cache.mkdir(parents=True)
    archive_of(tmp_path / "cifar-10-batches-bin", cache / "cifar-10-binary.tar.gz")
    assert n_train() == "70."


def test_it_is_downloaded_once_and_verified(tmp_path, monkeypatch):
    write_binary(tmp_path / "cifar-10-batches-bin")
    path = archive_of(tmp_path / "cifar-10-batches-bin", tmp_path / "cifar-10-binary.tar.gz")
    asked = []

    def download(name, url, md5, folder, way_out):
        asked.append((name, url, md5))
        folder.mkdir(parents=True)
        return Path(shutil.copy(path, folder / name))

    monkeypatch.setattr(cifar, "download", download)
    first = cifar10(**SMALL)
    assert cifar10(**SMALL).train.digest == first.train.digest
    md5 = "c32a1d4ab5d03f1284b67883e8d87530"
    assert asked == [("cifar-10-binary.tar.gz", "https://www.cs.toronto.edu/~kriz/", md5)]


def pickled(folder):
    """Its Python version, of which nothing is read."""
    shutil.rmtree(folder)
    (folder / "cifar-10-batches-py").mkdir(parents=True)
    (folder / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps({}))


def other_classes(folder):
    shutil.rmtree(folder)
    (write_photos(folder) / "test" / "cat").rename(folder / "test" / "lion")


def damaged_photo(folder):
    shutil.rmtree(folder)
    (write_photos(folder) / "train" / "cat" / "0001.jpg").write_bytes(b"")


def wrong_label(folder):
    path = folder / "data_batch_1.bin"
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])


FAULTS = {
    "{root} is neither a folder nor an archive: set directory or CIFAR10_DIR to": shutil.rmtree,
    "{root} holds no CIFAR-10: set": lambda root: [path.unlink() for path in root.iterdir()],
    "{root} holds no data_batch_3.bin: set": lambda root: (root / "data_batch_3.bin").unlink(),
    "{root} holds no test_batch.bin: set": lambda root: (root / "test_batch.bin").unlink(),
    "{root}/data_batch_2.bin is no whole file of CIFAR-10: give an intact copy": lambda root: (
        root / "data_batch_2.bin"
    ).write_bytes(bytes(5000)),
    "{root}/test_batch.bin is no whole file": lambda root: (root / "test_batch.bin").write_bytes(
        b""
    ),
    "{root} holds the label 10 beyond 9: replace": wrong_label,
    "{root} holds the Python version, whose files are pickled: set": pickled,
    "{root} holds other classes than CIFAR-10: set": other_classes,
    "{root}/train/cat/0001.jpg cannot be read as an image (": damaged_photo,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence(tmp_path, fault):
    root = tmp_path / "given"
    write_binary(root)
    FAULTS[fault](root)
    with pytest.raises(InputError) as error:
        cifar10(directory=root, train_size=20, test_size=10)
    assert str(error.value).startswith(fault.format(root=root))
    assert ". " not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_size": 101}, "train_size=101 is out of range: choose 1 to 100."),
        ({"test_size": 0}, "test_size=0 is out of range: choose 1 to 20."),
        ({"sample": "last"}, "sample=last is unknown: choose one of first, stratified."),
        ({"train_size": 5}, "The 5 training images hold none of class dog, frog, horse, ship, tr"),
    ],
)
def test_options_out_of_range(tmp_path, options, message):
    write_binary(tmp_path)
    with pytest.raises(InputError) as error:
        cifar10(directory=tmp_path, **{**SMALL, **options})
    assert str(error.value).startswith(message)


@pytest.mark.skipif(not CANONICAL, reason="CIFAR10_DIR is not set")
def test_canonical_cifar10():
    data = cifar10(directory=CANONICAL, train_size=1000, test_size=100)
    assert data.train.images.shape == (1000, 32, 32, 3)
    assert data.name in ("cifar10", "cifar10-JPEG")
