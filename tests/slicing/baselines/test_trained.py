import errno
import logging
import os
import random

import keras
import numpy as np
import pytest

from slicing.baselines import TrainedCNN, training
from slicing.baselines.weight_cache import Trained, write_trained
from slicing.errors import InputError
from tests.slicing.baselines.blobs import CLASSES, blobs, flipped, truncated
from tests.slicing.baselines.cache_keys import cache_key

SMALL = {"filters": (4,), "pooling": (True,), "units": 8, "epochs": 1}


@pytest.fixture(scope="module")
def train():
    return blobs()


@pytest.fixture(scope="module")
def cached(train, tmp_path_factory):
    """A trained baseline and the cache file with its weights."""
    folder = tmp_path_factory.mktemp("cache")
    baseline = TrainedCNN(cache_dir=folder, **SMALL).build(train, CLASSES)
    [file] = folder.iterdir()
    return baseline, file


def weights_of(baseline):
    return b"".join(weight.tobytes() for weight in baseline.model.get_weights())


def test_training_learns_and_predicts(train, tmp_path):
    options = {**SMALL, "epochs": 15, "batch_size": 32, "learning_rate": 0.01}
    baseline = TrainedCNN(cache_dir=tmp_path, **options).build(train, CLASSES)
    assert baseline.model is not None
    assert not baseline.from_cache
    assert baseline.train_seconds > 0
    more = blobs(1200)
    losses = [epoch.loss for epoch in baseline.training]
    accuracies = [epoch.accuracy for epoch in baseline.training]
    assert len(losses) == 15
    assert losses[-1] < losses[0]
    assert 0 <= accuracies[0] < accuracies[-1] <= 1
    predictions = baseline.predict_labels(more.images)
    assert predictions.dtype == np.int64
    assert (predictions == more.labels).mean() > 0.95
    outputs = baseline.model.predict(more.images, verbose=0)
    np.testing.assert_array_equal(predictions, outputs.argmax(axis=1))
    assert baseline.predict_labels(more.images[:0]).shape == (0,)


def test_layers_in_their_order_with_the_classic_dropout_rates(train, tmp_path):
    baseline = TrainedCNN(
        dropout=0.5, batch_norm=True, units=8, epochs=1, cache_dir=tmp_path, kernel_size=2
    ).build(train, CLASSES)
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
    first = TrainedCNN(cache_dir=tmp_path / "a", **options).build(train, CLASSES)
    drawn = np.random.random(), random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    random.seed(5)
    assert drawn == (np.random.random(), random.random())  # noqa: NPY002
    keras.utils.set_random_seed(99)
    second = TrainedCNN(cache_dir=tmp_path / "b", **options).build(train, CLASSES)
    assert not second.from_cache
    assert weights_of(first) == weights_of(second)
    third = TrainedCNN(cache_dir=tmp_path / "a", **options, seed=1).build(train, CLASSES)
    assert weights_of(first) != weights_of(third)


def test_a_second_call_reads_the_cache(train, cached, monkeypatch):
    first, file = cached
    monkeypatch.setattr(keras.Model, "fit", None)
    second = TrainedCNN(cache_dir=file.parent, **{**SMALL, "filters": [4]}).build(train, CLASSES)
    assert second.from_cache
    assert second.train_seconds == first.train_seconds
    assert second.training == first.training
    assert len(first.training) == SMALL["epochs"]
    assert weights_of(second) == weights_of(first)
    shares = first.predict_proba(train.images)
    np.testing.assert_array_equal(second.predict_proba(train.images), shares)
    assert file.suffix == ".safetensors"


def test_the_default_cache_is_the_users(train, tmp_path, monkeypatch):
    monkeypatch.setattr(training.platformdirs, "user_cache_path", lambda name: tmp_path / name)
    TrainedCNN(**SMALL).build(train, CLASSES)
    assert len(list((tmp_path / "knn-slicing" / "baselines").glob("*.safetensors"))) == 1


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
def test_every_option_is_part_of_the_cache_key(change, train):
    assert key_of(train, **change) != key_of(train)


def test_what_else_determines_the_weights_is_part_of_the_cache_key(train, tmp_path, monkeypatch):
    same = blobs()
    other = blobs()
    other.images[0, 0, 0, 0] += 0.5
    key = key_of(train)
    assert key_of(same, cache_dir=tmp_path) == key
    assert key_of(other) != key
    assert key_of(train, (*CLASSES, "none")) != key
    for owner, name, value in [
        (training, "configure_threads", lambda threads: 77),
        (training, "processor", lambda: "other"),
        (training, "_RECIPE", 0),
        (keras, "__version__", "0"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            assert key_of(train) != key
    for name, value in [
        ("TF_ENABLE_ONEDNN_OPTS", "0"),
        ("TF_DETERMINISTIC_OPS", "1"),
        ("TF_XLA_FLAGS", "--tf_xla_auto_jit=2"),
        ("XLA_FLAGS", "--xla_cpu_enable_fast_math=true"),
        ("NVIDIA_TF32_OVERRIDE", "0"),
        ("ONEDNN_MAX_CPU_ISA", "SSE41"),
        ("TF_NUM_INTRAOP_THREADS", "1"),
    ]:
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert key_of(train) != key
    with monkeypatch.context() as patch:
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
        patch.setenv("TF_VAR_password", "of Terraform")
        assert key_of(train) == key


def key_of(images, classes=CLASSES, **change):
    return cache_key(TrainedCNN(**{**SMALL, **change}), images, classes)


@pytest.mark.parametrize(
    "damage", [truncated, flipped, lambda _: b"", lambda _: b"no archive"], ids=range(4)
)
def test_a_damaged_cache_file_is_trained_again(damage, train, cached, tmp_path, caplog):
    first, whole = cached
    file = tmp_path / whole.name
    file.write_bytes(damage(whole.read_bytes()))
    second = TrainedCNN(cache_dir=tmp_path, **SMALL).build(train, CLASSES)
    assert not second.from_cache
    assert weights_of(second) == weights_of(first)
    # TensorFlow has warnings of its own after many trainings in one process.
    [record] = [each for each in caplog.records if each.name.startswith("slicing")]
    assert record.levelno == logging.WARNING
    assert str(file) in record.message
    assert TrainedCNN(cache_dir=tmp_path, **SMALL).build(train, CLASSES).from_cache


def test_weights_of_another_network_are_trained_again(train, cached, tmp_path, caplog):
    first, whole = cached
    write_trained(tmp_path / whole.name, Trained([np.zeros(2)] * 6, 1.0, ()))
    assert weights_of(TrainedCNN(cache_dir=tmp_path, **SMALL).build(train, CLASSES)) == weights_of(
        first
    )
    assert "other shapes" in caplog.text


def test_an_unwritable_cache_does_not_lose_the_model(train, tmp_path, caplog):
    file = tmp_path / "file"
    file.write_text("where a folder should be")
    baseline = TrainedCNN(cache_dir=file / "baselines", **SMALL).build(train, CLASSES)
    assert baseline.model is not None
    assert "cannot be cached" in caplog.text


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_nothing_behind(error, train, tmp_path, monkeypatch, caplog):
    def fsync(file):
        raise error

    monkeypatch.setattr(os, "fsync", fsync)
    if isinstance(error, OSError):
        assert TrainedCNN(cache_dir=tmp_path, **SMALL).build(train, CLASSES).model is not None
        assert "No space left" in caplog.text
    else:
        with pytest.raises(KeyboardInterrupt):
            TrainedCNN(cache_dir=tmp_path, **SMALL).build(train, CLASSES)
    assert list(tmp_path.iterdir()) == []


def test_epochs_and_loss_are_shown(train, tmp_path):
    shown = []
    baseline = TrainedCNN(cache_dir=tmp_path, **{**SMALL, "epochs": 2}).build(
        train, CLASSES, lambda done, text: shown.append((done, text))
    )
    assert [done for done, _ in shown] == pytest.approx(np.arange(1, 7) / 6)
    assert [shown[2][1], shown[5][1]] == [
        f"epoch {number} of 2, loss {each.loss:.4f}, accuracy {each.accuracy:.1%}"
        for number, each in enumerate(baseline.training, 1)
    ]


def test_nothing_runs_ahead_of_the_training_or_after_it(train, tmp_path, monkeypatch):
    drawn, ahead, datasets = [], [], []
    batches, fit = training._batches, keras.Model.fit

    def counted(*given):
        for batch in batches(*given):
            drawn.append(len(batch[1]))
            yield batch
        drawn.append("end")

    def watched(model, dataset, **options):
        datasets.append(dataset)
        return fit(model, dataset, **options)

    monkeypatch.setattr(training, "_batches", counted)
    monkeypatch.setattr(keras.Model, "fit", watched)
    TrainedCNN(cache_dir=tmp_path, **{**SMALL, "epochs": 3}).build(
        train, CLASSES, lambda done, text: ahead.append(len(drawn))
    )
    assert ahead == [*range(1, 10)]
    assert drawn == [128, 128, 44] * 3
    # What tunes a dataset is a thread that sleeps up to a minute, and is waited for.
    assert datasets[0].options().autotune.enabled is False


def test_an_interrupted_training_is_not_cached(train, tmp_path):
    def interrupt(done, text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TrainedCNN(cache_dir=tmp_path, **SMALL).build(train, CLASSES, interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": 0}, "units=0"),
        ({"dropout": 1.5}, "dropout=1.5"),
        ({"dropout": float("nan")}, "dropout=nan"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0"),
        ({"learning_rate": 1e30}, "learning_rate=1e[+]30 is too large"),
        ({"filters": ()}, r"filters=\[\]"),
        ({"filters": (4, 0)}, r"filters=\[4, 0\]"),
        ({"pooling": (True, True)}, "pooling=.* each of the 1 convolutions"),
        ({"kernel_size": 0}, "kernel_size=0"),
        ({"kernel_size": 11}, "10 x 10 pixels are too small for convolution 1"),
        ({"filters": (4,) * 3, "pooling": (True,) * 3}, "too small for convolution 3"),
        ({"seed": -1}, "seed=-1"),
        ({"threads": 0}, "threads=0"),
    ],
    ids=str,
)
def test_bad_options_are_one_clear_error(options, message, train, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        TrainedCNN(cache_dir=tmp_path, **{**SMALL, **options}).build(train, CLASSES)
    if "=" in message:
        assert caught.value.option == next(iter(options))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_labels_beyond_the_classes_are_refused(train, tmp_path):
    with pytest.raises(InputError, match="labels run from 0 to 2"):
        TrainedCNN(cache_dir=tmp_path, **SMALL).build(train, CLASSES[:2])
    with pytest.raises(InputError, match="no images"):
        TrainedCNN(cache_dir=tmp_path, **SMALL).build(train[:0], CLASSES)


def test_images_that_are_watched_change_no_weight(train, tmp_path):
    options = {**SMALL, "epochs": 2, "dropout": 0.5, "batch_norm": True}
    plain = TrainedCNN(cache_dir=tmp_path / "a", **options).build(train, CLASSES)
    watching = TrainedCNN(cache_dir=tmp_path / "b", watched=train[:20], **options)
    watched = watching.build(train, CLASSES)
    assert watched.stack.equals(plain.stack)
    assert [(e.loss, e.accuracy) for e in watched.training] == [
        (e.loss, e.accuracy) for e in plain.training
    ]
    right = (watched.predict_labels(train.images[:20]) == train.labels[:20]).mean()
    assert watched.training[-1].choice_accuracy == right
    assert plain.training[-1].choice_accuracy is None
    # The cache is that of both, and keeps the curves.
    again = TrainedCNN(cache_dir=tmp_path / "b", **options).build(train, CLASSES)
    assert again.from_cache
    assert again.training == watched.training
