"""What everything that classifies keeps: see slicing.classifier."""

import keras
import numpy as np
import pytest

from slicing.baselines import (
    LSTM,
    SVM,
    Baseline,
    DecisionTree,
    KerasHead,
    LogisticRegression,
    NaiveBayes,
    NearestNeighbors,
    RandomForest,
    TrainedCNN,
)
from slicing.classifier import Classifier
from slicing.cutting import cut
from slicing.engine.engine import Engine
from slicing.errors import InputError
from tests.slicing.baselines.blobs import CLASSES, blobs


def trained(train, folder):
    options = {"filters": (4,), "pooling": (True,), "units": 8, "epochs": 3, "batch_size": 32}
    return TrainedCNN(**options, cache_dir=folder).build(train, CLASSES)


def without_softmax(train, folder):
    """A user's model, whose outputs are no shares, and equal for the first two classes."""
    model = keras.Sequential(
        [
            keras.Input((10, 10, 1)),
            keras.layers.Conv2D(2, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    weights = np.zeros((8 * 8 * 2, 3), np.float32)
    weights[:, :2] = 0.01
    model.layers[0].set_weights([np.ones((3, 3, 1, 2)), np.zeros(2)])
    model.layers[-1].set_weights([weights, np.zeros(3)])
    return Baseline(cut(model), CLASSES, KerasHead(model))


def engine(train, folder):
    return Engine.fit(trained(train, folder).stack, train, CLASSES, k=4)


@pytest.fixture(scope="module")
def train():
    return blobs()


def recurrent(train, folder):
    return LSTM(units=8, epochs=1, cache_dir=folder).build(train, CLASSES)


def shallow(kind):
    def build(train, folder):
        return kind().build(train, CLASSES)

    build.__name__ = kind.__name__
    return build


SHALLOW = (SVM, LogisticRegression, NaiveBayes, NearestNeighbors, DecisionTree, RandomForest)


@pytest.fixture(
    scope="module",
    params=[trained, without_softmax, engine, recurrent, *map(shallow, SHALLOW)],
)
def classifier(request, train, tmp_path_factory) -> Classifier:
    return request.param(train, tmp_path_factory.mktemp("classifier"))


def test_labels_are_the_argmax_of_shares_that_sum_to_one(classifier, train):
    shares = classifier.predict_proba(train.images)
    assert (shares.dtype, shares.shape) == (np.float64, (len(train), 3))
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-12)
    labels = classifier.predict_labels(train.images)
    assert (labels.dtype, labels.shape) == (np.int64, (len(train),))
    np.testing.assert_array_equal(labels, shares.argmax(axis=1))
    np.testing.assert_array_equal(classifier.predict(train.images), np.array(CLASSES)[labels])


def test_ties_go_to_the_smallest_label(train, tmp_path):
    tied = without_softmax(train, tmp_path)
    shares = tied.predict_proba(train.images)
    np.testing.assert_array_equal(shares[:, 0], shares[:, 1])
    assert (shares[:, 0] > shares[:, 2]).all()
    assert not tied.predict_labels(train.images).any()


NEAR = np.nextafter(np.float32(0.4), np.float32(1.0))


@pytest.mark.parametrize(
    ("bias", "activations"),
    [
        ([0.0, 1.0, 2.0], ["softmax"]),
        # Nothing in the last layer says that its inputs are shares.
        ([0.0, 1.0, 2.0], ["softmax", "linear"]),
        ([0.4, NEAR, 0.3], ["linear"]),
        ([-3.0, 0.4, NEAR], ["linear"]),
        ([0.0, 0.0, 0.0], ["relu"]),
        ([800.0, 0.4, 0.2], ["linear"]),
    ],
)
def test_outputs_become_shares_once_and_keep_their_order(bias, activations, train):
    model = keras.Sequential([keras.Input((10, 10, 1)), keras.layers.Conv2D(2, 3)])
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(3))
    for activation in activations:
        model.add(keras.layers.Activation(activation))
    model.layers[2].set_weights([np.zeros((128, 3)), np.array(bias)])
    baseline = Baseline(cut(model), CLASSES, KerasHead(model))
    shares = baseline.predict_proba(train.images[:2])
    exponentials = np.exp(np.float32(bias) - max(bias))
    np.testing.assert_allclose(shares, [exponentials / exponentials.sum()] * 2, rtol=1e-6)
    assert baseline.predict_labels(train.images[:2]).tolist() == [np.argmax(np.float32(bias))] * 2


def test_no_images_give_no_labels(classifier, train):
    assert classifier.predict_labels(train.images[:0]).shape == (0,)
    assert classifier.predict_proba(train.images[:0]).shape == (0, 3)


def test_images_of_another_shape_are_refused(classifier, train):
    with pytest.raises(InputError, match=r"takes images of shape \(10, 10, 1\)"):
        classifier.predict_labels(train.images[:, :5])


def test_sizes_are_those_of_all_that_classifying_needs(classifier, train, tmp_path):
    assert classifier.classes == CLASSES
    assert classifier.total_bytes >= 4 * classifier.n_parameters > 0
    if isinstance(classifier, Engine):
        classifier.save(tmp_path / "engine")
        assert classifier.total_bytes == (tmp_path / "engine").stat().st_size
        assert classifier.n_parameters == classifier.stack.n_parameters
    elif classifier.model is not None:
        assert classifier.n_parameters == sum(w.size for w in classifier.model.get_weights())
