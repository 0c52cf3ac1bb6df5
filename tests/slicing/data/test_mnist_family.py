import os

import numpy as np
import pytest

from slicing.data import fashion_mnist, idx, mnist, mnist5k, mnist_held_out
from slicing.errors import InputError
from tests.idx_files import write_idx, write_mnist

CANONICAL = os.environ.get("MNIST_DIR")


@pytest.fixture(autouse=True)
def _no_folder_from_outside(monkeypatch, tmp_path):
    monkeypatch.delenv("MNIST_DIR", raising=False)
    monkeypatch.delenv("FASHION_MNIST_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def rows(images):
    return {image.tobytes() for image in images.images}


@pytest.fixture(scope="module")
def whole():
    return mnist5k()


@pytest.fixture(scope="module")
def whole_test(whole):
    return whole.read_test()


def test_mnist5k_is_split_without_overlap(whole, whole_test):
    assert whole.name == "mnist5k"
    assert whole.classes == tuple("0123456789")
    assert whole.train.images.shape[1:] == (28, 28, 1)
    assert whole.read_test_all is None
    for images, per_class in ((whole.train, 400), (whole_test, 100)):
        assert images.images.dtype == np.float32
        assert images.labels.dtype == np.int64
        assert images.images.min() == 0
        assert images.images.max() == 1
        assert np.bincount(images.labels).tolist() == [per_class] * 10
    assert rows(whole.train).isdisjoint(rows(whole_test))
    assert len(rows(whole.train) | rows(whole_test)) == 5000


def test_mnist5k_smaller_sizes_are_stratified_parts_of_the_same_split(whole, whole_test):
    part = mnist5k(train_size=200, test_size=35)
    test = part.read_test()
    assert np.bincount(part.train.labels).tolist() == [20] * 10
    assert set(np.bincount(test.labels)) == {3, 4}
    assert rows(part.train) < rows(whole.train)
    assert part.read_test_all is not None
    assert part.read_test_all().digest == whole_test.digest
    assert rows(test) < rows(whole_test)


def test_mnist5k_split_depends_on_the_seed(whole):
    assert mnist5k(seed=0).train.digest == whole.train.digest
    assert mnist5k(seed=1).train.digest != whole.train.digest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_size": 4001}, "train_size=4001 is out of range: choose 10 to 4000."),
        ({"train_size": 9}, "train_size=9 is out of range: choose 10 to 4000."),
        ({"test_size": 1001}, "test_size=1001 is out of range: choose 10 to 1000."),
        ({"seed": -1}, "seed=-1 is out of range: choose 0 to 4294967295."),
    ],
)
def test_mnist5k_refuses_what_is_out_of_range(options, message):
    with pytest.raises(InputError) as error:
        mnist5k(**options)
    assert str(error.value) == message


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_first_images(tmp_path, suffix):
    arrays = write_mnist(tmp_path, suffix=suffix)
    data = mnist(directory=tmp_path, train_size=20, test_size=10)
    pixels = arrays["train-images-idx3-ubyte"][:20, :, :, np.newaxis]
    np.testing.assert_array_equal(data.train.images, (pixels / 255).astype(np.float32))
    np.testing.assert_array_equal(data.train.labels, np.arange(20) % 10)
    test = data.read_test()
    pixels = arrays["t10k-images-idx3-ubyte"][:10, :, :, np.newaxis]
    np.testing.assert_array_equal(test.images, (pixels / 255).astype(np.float32))
    np.testing.assert_array_equal(test.labels, np.arange(10))
    assert len(data.read_test_all()) == 30
    assert mnist(directory=tmp_path, train_size=60, test_size=30).read_test_all is None


def test_a_stratified_sample(tmp_path):
    write_mnist(tmp_path)
    options = {"directory": tmp_path, "train_size": 20, "test_size": 10, "sample": "stratified"}
    data = mnist(**options)
    everything = mnist(directory=tmp_path, train_size=60, test_size=30)
    for part, whole, per_class in (
        (data.train, everything.train, 2),
        (data.read_test(), everything.read_test(), 1),
    ):
        assert np.bincount(part.labels).tolist() == [per_class] * 10
        label_of = {i.tobytes(): n for i, n in zip(whole.images, whole.labels, strict=True)}
        assert [label_of[image.tobytes()] for image in part.images] == part.labels.tolist()
    assert mnist(**options).train.digest == data.train.digest
    assert mnist(**options, seed=1).train.digest != data.train.digest


def test_the_test_images_are_read_only_when_asked_for(tmp_path, monkeypatch):
    write_mnist(tmp_path)
    read = []
    read_idx = idx.read
    monkeypatch.setattr(
        idx, "read", lambda path, *more: read.append(path.name) or read_idx(path, *more)
    )
    data = mnist(directory=tmp_path, train_size=60, test_size=30)
    assert sorted(read) == ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
    read.clear()
    data.read_test()
    assert sorted(read) == ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]


def test_held_out_training_images_in_the_place_of_the_test_images(tmp_path, monkeypatch):
    write_mnist(tmp_path, n_train=120)
    read = []
    read_idx = idx.read
    monkeypatch.setattr(
        idx, "read", lambda path, *more: read.append(path.name) or read_idx(path, *more)
    )
    data = mnist_held_out(directory=tmp_path, train_size=30, test_size=10)
    test, test_all = data.read_test(), data.read_test_all()
    assert not any("t10k" in name for name in read)
    whole = mnist(directory=tmp_path, train_size=120, test_size=30).train
    np.testing.assert_array_equal(data.train.images, whole.images[:30])
    np.testing.assert_array_equal(test_all.images, whole.images[100:])
    np.testing.assert_array_equal(test_all.labels, whole.labels[100:])
    np.testing.assert_array_equal(test.images, whole.images[100:110])
    assert mnist_held_out(directory=tmp_path, train_size=100, test_size=20).read_test_all is None
    for options in ({"train_size": 101}, {"train_size": 30, "test_size": 21}):
        with pytest.raises(InputError, match="is out of range"):
            mnist_held_out(directory=tmp_path, **options)


def test_a_truncated_test_file_is_found_when_the_data_is_loaded(tmp_path):
    write_mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz is"):
        mnist(directory=tmp_path, train_size=60, test_size=30)


def test_damage_beyond_the_header_of_a_test_file_is_found_when_it_is_read(tmp_path):
    write_mnist(tmp_path)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    data = mnist(directory=tmp_path, train_size=60, test_size=30)
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz cannot be read"):
        data.read_test()


@pytest.mark.parametrize(
    ("load", "variable"), [(mnist, "MNIST_DIR"), (fashion_mnist, "FASHION_MNIST_DIR")]
)
def test_search_order(tmp_path, monkeypatch, load, variable):
    folders = {
        "cache": tmp_path / "cache" / "knn-slicing" / load.__name__,
        "variable": tmp_path / "variable",
        "argument": tmp_path / "argument",
    }
    for size, folder in zip((20, 30, 40), folders.values(), strict=True):
        write_mnist(folder, n_train=size)

    def found(**options):
        with pytest.raises(InputError) as error:  # the allowed range tells which folder it was
            load(train_size=99, **options)
        return str(error.value).rsplit(" ", 1)[1]

    assert found() == "20."
    monkeypatch.setenv(variable, str(folders["variable"]))
    assert found() == "30."
    assert found(directory=folders["argument"]) == "40."
    data = load(directory=str(folders["argument"]), train_size=40, test_size=30)
    assert data.name == load.__name__
    assert data.classes[9] == {"mnist": "9", "fashion_mnist": "Ankle boot"}[data.name]


def put(folder, name, array):
    write_idx(folder / f"{name}-ubyte.gz", np.asarray(array))


def swap(folder):
    images, labels = (folder / f"train-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    content = images.read_bytes()
    images.write_bytes(labels.read_bytes())
    labels.write_bytes(content)


LOAD_FAULTS = {
    "test file missing": (
        lambda folder: (folder / "t10k-labels-idx1-ubyte.gz").unlink(),
        "{folder} holds neither t10k-labels-idx1-ubyte nor t10k-labels-idx1-ubyte.gz: set",
    ),
    "images given as labels": (
        swap,
        "{folder}/train-images-idx3-ubyte.gz does not hold images in IDX format",
    ),
    "counts differ": (
        lambda folder: put(folder, "train-labels-idx1", np.arange(59) % 10),
        "{folder}/train-images-idx3-ubyte.gz holds 60 images but",
    ),
    "test counts differ": (
        lambda folder: put(folder, "t10k-labels-idx1", np.arange(31) % 10),
        "{folder}/t10k-images-idx3-ubyte.gz holds 30 images but",
    ),
    "label out of range": (
        lambda folder: put(folder, "train-labels-idx1", np.arange(60) % 11),
        "{folder}/train-labels-idx1-ubyte.gz holds the label 10 beyond 9: replace",
    ),
    "single class": (
        lambda folder: put(folder, "train-labels-idx1", np.full(60, 3)),
        "{folder}/train-labels-idx1-ubyte.gz holds a single class: set directory or MNIST_DIR",
    ),
}


@pytest.mark.parametrize("fault", LOAD_FAULTS)
def test_a_fault_of_the_input_is_one_sentence(tmp_path, fault):
    break_it, expected = LOAD_FAULTS[fault]
    write_mnist(tmp_path)
    break_it(tmp_path)
    with pytest.raises(InputError) as error:
        mnist(directory=tmp_path, train_size=60, test_size=30)
    assert str(error.value).startswith(expected.format(folder=tmp_path))
    assert ". " not in str(error.value)


def test_a_sample_that_lacks_a_class(tmp_path):
    write_mnist(tmp_path)
    put(tmp_path, "train-labels-idx1", np.repeat(np.arange(10), 6))
    options = {"directory": tmp_path, "train_size": 48, "test_size": 30}
    with pytest.raises(InputError) as error:
        mnist(**options)
    assert str(error.value) == (
        f"The 48 training images hold none of class 8, 9, which "
        f"{tmp_path}/train-labels-idx1-ubyte.gz has: "
        f"ask for more of them, or for sample=stratified."
    )
    assert len(np.unique(mnist(**options, sample="stratified").train.labels)) == 10


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(30) % 11, "t10k-labels-idx1-ubyte.gz holds the label 10 beyond 9"),
        (np.arange(30) % 9, "The 60 training images hold none of class 8, which"),
    ],
)
def test_wrong_test_labels_are_found_when_they_are_read(tmp_path, labels, message):
    write_mnist(tmp_path, classes=8)
    put(tmp_path, "t10k-labels-idx1", labels)
    data = mnist(directory=tmp_path, train_size=60, test_size=30)
    with pytest.raises(InputError) as error:
        data.read_test()
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_size": 61}, "train_size=61 is out of range: choose 1 to 60."),
        ({"train_size": 0}, "train_size=0 is out of range: choose 1 to 60."),
        ({"test_size": 31}, "test_size=31 is out of range: choose 1 to 30."),
        ({"sample": "last"}, "sample=last is unknown: choose one of first, stratified."),
    ],
)
def test_options_out_of_range(tmp_path, options, message):
    write_mnist(tmp_path)
    with pytest.raises(InputError) as error:
        mnist(directory=tmp_path, **{"train_size": 60, "test_size": 30, **options})
    assert str(error.value) == message


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(
        InputError, match=r"nowhere is not a folder: set directory or MNIST_DIR .* m"
    ):
        mnist(directory=tmp_path / "nowhere")


@pytest.mark.skipif(not CANONICAL, reason="MNIST_DIR is not set")
def test_canonical_mnist():
    data = mnist(directory=CANONICAL)
    test = data.read_test()
    assert data.train.images.shape == (60000, 28, 28, 1)
    assert test.images.shape == (10000, 28, 28, 1)
    assert data.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    # The mean and standard deviation that everyone normalizes MNIST with.
    assert data.train.images.mean() == pytest.approx(0.1307, abs=1e-4)
    assert data.train.images.std() == pytest.approx(0.3081, abs=1e-4)
