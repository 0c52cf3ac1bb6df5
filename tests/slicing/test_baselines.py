import logging
import random
import zipfile

import keras
import numpy as np
import pytest

from slicing import baselines
from slicing.baselines import random_cnn, saved_cnn, trained_cnn
from slicing.data.dataset import Images
from slicing.errors import InputError

SMALL = {"filters": (4,), "pooling": (True,), "units": 8, "epochs": 1}


def blobs(n=300, side=10, channels=1, n_classes=3):
    """Images whose class is the third of the width that is bright."""
    rng = np.random.default_rng(0)
    labels = rng.integers(n_classes, size=n)
    images = rng.random((n, side, side, channels), dtype=np.float32) * 0.3
    for image, label in zip(images, labels, strict=True):
        image[:, label * side // n_classes : (label + 1) * side // n_classes] += 0.7
    return Images(images, labels)


@pytest.fixture(scope="module")
def train():
    return blobs()


@pytest.fixture(scope="module")
def cached(train, tmp_path_factory):
    """A trained baseline and the cache file with its weights."""
    folder = tmp_path_factory.mktemp("cache")
    baseline = trained_cnn(train, 3, cache_dir=folder, **SMALL)
    [file] = folder.iterdir()
    return baseline, file


def weights_of(baseline):
    return b"".join(weight.tobytes() for weight in baseline.model.get_weights())


def test_training_learns_and_predicts(train, tmp_path):
    options = {**SMALL, "epochs": 15, "batch_size": 32, "learning_rate": 0.01}
    baseline = trained_cnn(train, 3, cache_dir=tmp_path, **options)
    assert baseline.model is not None
    assert not baseline.from_cache
    assert baseline.train_seconds > 0
    more = blobs(1200)
    predictions = baseline.predict(more.images)
    assert predictions.dtype == np.int64
    assert (predictions == more.labels).mean() > 0.95
    outputs = baseline.model.predict(more.images, verbose=0)
    np.testing.assert_array_equal(predictions, outputs.argmax(axis=1))
    assert baseline.predict(more.images[:0]).shape == (0,)


def test_layers_in_their_order_with_the_classic_dropout_rates(train, tmp_path):
    baseline = trained_cnn(
        train, 3, dropout=0.5, batch_norm=True, units=8, epochs=1, cache_dir=tmp_path, kernel_size=2
    )
    layers = baseline.model.layers
    assert [type(layer).__name__ for layer in layers] == [
        *(["Conv2D", "BatchNormalization", "ReLU", "MaxPooling2D"] * 2),
        *["Dropout", "Flatten", "Dense", "Dropout", "Dense"],
    ]
    rates = [layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.25, 0.5]
    assert layers[0].activation is keras.activations.linear


def test_the_same_seed_trains_the_same_weights_and_global_generators_stay(train, tmp_path):
    options = {**SMALL, "dropout": 0.3, "epochs": 2}
    np.random.seed(5)  # noqa: NPY002  (the global generator is what is tested)
    random.seed(5)
    first = trained_cnn(train, 3, cache_dir=tmp_path / "a", **options)
    drawn = np.random.random(), random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    assert drawn == (np.random.random(), random.random())  # noqa: NPY002
    keras.utils.set_random_seed(99)
    second = trained_cnn(train, 3, cache_dir=tmp_path / "b", **options)
    assert not second.from_cache
    assert weights_of(first) == weights_of(second)
    third = trained_cnn(train, 3, cache_dir=tmp_path / "a", **options, seed=1)
    assert weights_of(first) != weights_of(third)


def test_a_second_call_reads_the_cache(train, cached, monkeypatch):
    first, file = cached
    monkeypatch.setattr(keras.Model, "fit", None)
    second = trained_cnn(train, 3, cache_dir=file.parent, **{**SMALL, "filters": [4]})
    assert second.from_cache
    assert second.train_seconds == first.train_seconds
    assert weights_of(second) == weights_of(first)
    np.testing.assert_array_equal(second.predict(train.images), first.predict(train.images))
    assert file.suffix == ".npz"


def test_the_default_cache_is_the_users(train, tmp_path, monkeypatch):
    monkeypatch.setattr(baselines.platformdirs, "user_cache_path", lambda name: tmp_path / name)
    trained_cnn(train, 3, **SMALL)
    assert len(list((tmp_path / "knn-slicing" / "baselines").glob("*.npz"))) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"filters": (5,)},
        {"kernel_size": 2},
        {"pooling": (False,)},
        {"units": 9},
        {"dropout": 0.1},
        {"batch_norm": True},
        {"epochs": 2},
        {"batch_size": 64},
        {"learning_rate": 1e-2},
        {"seed": 1},
    ],
    ids=str,
)
def test_every_option_is_part_of_the_cache_key(change, train, tmp_path):
    keys = baseline_keys(train, tmp_path, [{}, change])
    assert len(set(keys)) == 2


def test_what_else_determines_the_weights_is_part_of_the_cache_key(train, tmp_path, monkeypatch):
    same = blobs()
    other = blobs()
    other.images[0, 0, 0, 0] += 0.5
    [key] = baseline_keys(train, tmp_path, [{}])
    assert baseline_keys(same, tmp_path, [{"cache_dir": tmp_path}]) == [key]
    assert baseline_keys(other, tmp_path, [{}]) != [key]
    assert baseline_keys(train, tmp_path, [{}], n_classes=4) != [key]
    for owner, name, value in [
        (baselines, "configure_threads", lambda threads: 77),
        (baselines.platform, "machine", lambda: "other"),
        (baselines, "_RECIPE", 0),
        (keras, "__version__", "0"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            assert baseline_keys(train, tmp_path, [{}]) != [key]


def baseline_keys(train, folder, changes, n_classes=3):
    """Return the names of the cache files that would be read, without training."""
    names = []

    class FoundError(Exception):
        pass

    def read_weights(path, shapes):
        names.append(path.name)
        raise FoundError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "read_weights", read_weights)
        for change in changes:
            with pytest.raises(FoundError):
                trained_cnn(train, n_classes, **{"cache_dir": folder, **SMALL, **change})
    return names


def truncated(content):
    return content[: len(content) // 2]


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage", [truncated, flipped, lambda _: b"", lambda _: b"no archive"], ids=range(4)
)
def test_a_damaged_cache_file_is_trained_anew(damage, train, cached, tmp_path, caplog):
    first, whole = cached
    file = tmp_path / whole.name
    file.write_bytes(damage(whole.read_bytes()))
    second = trained_cnn(train, 3, cache_dir=tmp_path, **SMALL)
    assert not second.from_cache
    assert weights_of(second) == weights_of(first)
    # TensorFlow has warnings of its own after many trainings in one process.
    [record] = [each for each in caplog.records if each.name.startswith("slicing")]
    assert record.levelno == logging.WARNING
    assert str(file) in record.message
    assert trained_cnn(train, 3, cache_dir=tmp_path, **SMALL).from_cache


def test_weights_of_another_network_are_trained_anew(train, cached, tmp_path, caplog):
    first, whole = cached
    with (tmp_path / whole.name).open("wb") as file:
        np.savez(file, *[np.zeros(2)] * 6, train_seconds=1)
    assert weights_of(trained_cnn(train, 3, cache_dir=tmp_path, **SMALL)) == weights_of(first)
    assert "other shapes" in caplog.text


def test_an_unwritable_cache_does_not_lose_the_model(train, tmp_path, caplog):
    file = tmp_path / "file"
    file.write_text("where a folder should be")
    baseline = trained_cnn(train, 3, cache_dir=file / "baselines", **SMALL)
    assert baseline.model is not None
    assert "cannot be cached" in caplog.text


@pytest.mark.parametrize("error", [OSError("No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_nothing_behind(error, train, tmp_path, monkeypatch, caplog):
    def savez(file, *args, **kwargs):
        file.write(b"half")
        raise error

    monkeypatch.setattr(np, "savez", savez)
    if isinstance(error, OSError):
        assert trained_cnn(train, 3, cache_dir=tmp_path, **SMALL).model is not None
        assert "No space left" in caplog.text
    else:
        with pytest.raises(KeyboardInterrupt):
            trained_cnn(train, 3, cache_dir=tmp_path, **SMALL)
    assert list(tmp_path.iterdir()) == []


class Watcher(keras.callbacks.Callback):
    def __init__(self, interrupt=False):
        super().__init__()
        self.epochs = []
        self.batches = 0
        self.interrupt = interrupt

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, logs["loss"]))
        if self.interrupt:
            raise KeyboardInterrupt


def test_callbacks_see_the_training(train, tmp_path):
    watcher = Watcher()
    trained_cnn(train, 3, cache_dir=tmp_path, callbacks=[watcher], **{**SMALL, "epochs": 2})
    assert watcher.batches == 2 * 3
    assert [epoch for epoch, _ in watcher.epochs] == [0, 1]
    assert all(np.isfinite(loss) for _, loss in watcher.epochs)


def test_an_interrupted_training_is_not_cached(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        trained_cnn(train, 3, cache_dir=tmp_path, callbacks=[Watcher(interrupt=True)], **SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "units is 0"),
        ({"dropout": 1.5}, "dropout is 1.5"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"epochs": 0}, "epochs is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": 1e30}, "diverged at learning_rate 1e[+]30"),
        ({"filters": ()}, r"filters is \[\]"),
        ({"filters": (4, 0)}, r"filters is \[4, 0\]"),
        ({"pooling": (True, True)}, "pooling is .* each of the 1 convolutions"),
        ({"kernel_size": 0}, "kernel_size is 0"),
        ({"kernel_size": 11}, "10 x 10 pixels are too small for convolution 1"),
        ({"filters": (4,) * 3, "pooling": (True,) * 3}, "too small for convolution 3"),
        ({"seed": -1}, "seed is -1"),
        ({"threads": 0}, "threads is 0"),
    ],
    ids=str,
)
def test_bad_options_are_one_clear_error(options, message, train, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        trained_cnn(train, 3, cache_dir=tmp_path, **{**SMALL, **options})
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_labels_beyond_the_classes_are_refused(train, tmp_path):
    with pytest.raises(InputError, match="labels run from 0 to 2"):
        trained_cnn(train, 2, cache_dir=tmp_path, **SMALL)
    with pytest.raises(InputError, match="no images"):
        trained_cnn(train[:0], 2, cache_dir=tmp_path, **SMALL)


def test_random_kernels_are_seeded_he_normal_and_untrained():
    tiny = Images(np.zeros((1, 28, 28, 1), np.float32), np.zeros(1, np.int64))
    baseline = random_cnn(tiny, 10)
    assert baseline.model is None
    assert not baseline.from_cache
    assert baseline.train_seconds == 0
    assert baseline.n_parameters == 18_816
    stack = baseline.stack
    assert stack.feature_shape == (5, 5, 64)
    assert not any(conv.bias.any() for conv in stack.convs)
    assert stack.convs[1].weights.std() == pytest.approx(np.sqrt(2 / (9 * 32)), rel=0.02)
    assert random_cnn(tiny, 10).stack.equals(stack)
    assert not random_cnn(tiny, 10, seed=1).stack.equals(stack)
    with pytest.raises(InputError, match="no trained head"):
        baseline.predict(tiny.images)
    with pytest.raises(InputError, match="filters is"):
        random_cnn(tiny, 10, filters=(), pooling=())


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    model = keras.Sequential(
        [
            keras.Input((10, 10, 1)),
            keras.layers.Conv2D(2, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    model.compile("adam", "mse")
    path = tmp_path_factory.mktemp("model") / "mine.keras"
    model.save(path)
    return path, model


def test_a_users_model_is_loaded(train, model_file):
    path, model = model_file
    baseline = saved_cnn(train, 3, path=str(path))
    assert baseline.model is not None
    assert baseline.train_seconds == 0
    assert not baseline.from_cache
    expected = model.predict(train.images, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(baseline.predict(train.images), expected)


def foreign_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "not a model")


def lambda_model(path):
    doubled = keras.layers.Lambda(lambda images: images * 2)
    keras.Sequential([keras.Input((10, 10, 1)), doubled, keras.layers.Flatten()]).save(path)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("missing.keras", lambda path: None, "no model file"),
        ("model.h5", lambda path: path.write_bytes(b"x"), "not a complete .keras file"),
        ("text.keras", lambda path: path.write_text("text"), "not a complete .keras file"),
        ("foreign.keras", foreign_archive, "cannot be loaded as a Keras model"),
        ("lambda.keras", lambda_model, "cannot be loaded as a Keras model .*Lambda"),
    ],
)
def test_a_bad_model_file_is_one_clear_error(name, write, message, train, tmp_path):
    path = tmp_path / name
    write(path)
    with pytest.raises(InputError, match=message) as caught:
        saved_cnn(train, 3, path=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(truncated, "not a complete .keras file"), (flipped, "cannot be loaded as a Keras model")],
)
def test_a_damaged_model_file_is_one_clear_error(damage, message, train, model_file, tmp_path):
    path = tmp_path / "damaged.keras"
    path.write_bytes(damage(model_file[0].read_bytes()))
    with pytest.raises(InputError, match=message):
        saved_cnn(train, 3, path=path)


def test_a_model_for_other_images_or_classes_is_refused(train, model_file):
    path, _ = model_file
    with pytest.raises(InputError, match=r"inputs of shape \(None, 10, 10, 1\)"):
        saved_cnn(blobs(2, side=12), 3, path=path)
    with pytest.raises(InputError, match=r"outputs of shape \(None, 3\).*\(None, 4\)"):
        saved_cnn(train, 4, path=path)
