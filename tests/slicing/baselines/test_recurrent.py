from dataclasses import fields

import keras
import numpy as np
import pytest

from slicing.baselines import LSTM, TrainedCNN
from slicing.errors import InputError
from tests.slicing.baselines.blobs import CLASSES, blobs
from tests.slicing.baselines.cache_keys import cache_key

SMALL = {"units": 8, "epochs": 1, "batch_size": 32}


@pytest.fixture(scope="module")
def train():
    return blobs(channels=2)


def weights_of(baseline):
    return b"".join(weight.tobytes() for weight in baseline.model.get_weights())


def test_it_reads_rows_and_learns(train, tmp_path):
    builder = LSTM(**{**SMALL, "epochs": 8, "learning_rate": 0.01}, dropout=0.1, cache_dir=tmp_path)
    baseline = builder.build(train, CLASSES)
    lstm = next(each for each in baseline.model.layers if isinstance(each, keras.layers.LSTM))
    assert lstm.input.shape == (None, 10, 20)
    assert (baseline.stack.layers, baseline.stack.input_shape) == ((), (10, 10, 2))
    assert builder.shape((10, 10, 2), 3).layers == ()
    assert builder.variant == "8"
    assert len(baseline.training) == 8
    more = blobs(600, channels=2)
    assert (baseline.predict_labels(more.images) == more.labels).mean() > 0.95


def test_the_same_seed_trains_the_same_weights_and_the_cache_keeps_them(train, tmp_path):
    options = {**SMALL, "dropout": 0.3}
    first = LSTM(cache_dir=tmp_path / "a", **options).build(train, CLASSES)
    keras.utils.set_random_seed(99)
    second = LSTM(cache_dir=tmp_path / "b", **options).build(train, CLASSES)
    assert not second.from_cache
    assert weights_of(second) == weights_of(first)
    third = LSTM(cache_dir=tmp_path / "a", **options).build(train, CLASSES)
    assert third.from_cache
    assert weights_of(third) == weights_of(first)
    assert third.training == first.training
    np.testing.assert_array_equal(
        third.predict_proba(train.images), first.predict_proba(train.images)
    )
    changes = ({}, {"seed": 1}, {"units": 9}, {"dropout": 0.2}, {"epochs": 2})
    keys = [cache_key(LSTM(cache_dir=tmp_path, **{**options, **each}), train) for each in changes]
    assert len({*keys}) == len(changes)
    assert [path.name for path in (tmp_path / "a").iterdir()] == keys[:1]


def test_networks_of_two_classes_never_share_a_cache_file():
    names = [{each.name for each in fields(kind)} for kind in (TrainedCNN, LSTM)]
    assert names[0] != names[1]


@pytest.mark.parametrize(
    "options",
    [{"units": 0}, {"dropout": 1.0}, {"epochs": 0}, {"batch_size": 0}, {"seed": -1},
     {"learning_rate": 0.0}],
    ids=str,
)  # fmt: skip
def test_options_out_of_range_are_refused(options):
    [name] = options
    with pytest.raises(InputError, match=f"^{name}=") as caught:
        LSTM(**options).shape((10, 10, 1), 3)
    assert caught.value.option == name
