from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression as TheirLogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from slicing.backbones.maps import MapsAtHand, through
from slicing.baselines import (
    SVM,
    DecisionTree,
    LogisticRegression,
    NaiveBayes,
    NearestNeighbors,
    RandomForest,
    shallow,
)
from slicing.baselines.hog import hog
from slicing.data.dataset import Images
from slicing.data.preparation import Preparation
from slicing.errors import InputError
from tests.slicing.backbones.networks import residual
from tests.slicing.baselines.blobs import CLASSES, blobs

OURS_AND_THEIRS = [
    (SVM(C=2), SVC(C=2, break_ties=True, gamma="scale")),
    (LogisticRegression(C=0.5), TheirLogisticRegression(C=0.5, max_iter=1000)),
    (NaiveBayes(smoothing=0.1), GaussianNB(var_smoothing=0.1)),
    (NearestNeighbors(k=4), KNeighborsClassifier(4)),
    (DecisionTree(max_depth=4, seed=3), DecisionTreeClassifier(max_depth=4, random_state=3)),
    (RandomForest(trees=7, seed=3), RandomForestClassifier(7, random_state=3)),
]
ALL = [ours for ours, _ in OURS_AND_THEIRS]


def name_of(value):
    return type(value).__name__


@pytest.fixture(scope="module")
def train():
    """Blobs that some classifiers confuse."""
    images = blobs(200)
    noise = np.random.default_rng(1).normal(0, 0.4, images.images.shape)
    return Images((images.images + noise).clip(0, 1).astype(np.float32), images.labels)


class Maps(Images):
    """Feature maps, which have no range."""

    def __post_init__(self):
        """Take them as they are."""


@pytest.fixture(scope="module")
def test():
    return blobs(500).images[200:]


@pytest.mark.parametrize(("ours", "theirs"), OURS_AND_THEIRS, ids=name_of)
def test_it_is_the_classifier_of_scikit_learn(ours, theirs, train, test):
    baseline = ours.build(train, CLASSES)
    features = train.images.reshape(len(train), -1)
    mean, deviation = features.mean(dtype=float), features.std(dtype=float)

    def scaled(images):
        flat = images.reshape(len(images), -1)
        return (flat - np.float32(mean)) / np.float32(deviation)

    expected = theirs.fit(scaled(train.images), train.labels).predict(scaled(test))
    np.testing.assert_array_equal(baseline.predict_labels(test), expected)
    assert baseline.train_seconds > 0
    assert not baseline.from_cache
    assert baseline.warning is None
    assert (baseline.stack.layers, baseline.stack.input_shape) == ((), (10, 10, 1))


@pytest.mark.parametrize("ours", ALL, ids=name_of)
@pytest.mark.parametrize("features", ["pixels", "hog"])
def test_maps_of_any_range_and_channels_will_do(ours, features, train, test):
    maps = np.concatenate([train.images, 1 - train.images, train.images**2], axis=3)
    others = np.concatenate([test, 1 - test, test**2], axis=3)
    builder = type(ours)(features=features, cells=3)
    at_first = builder.build(Maps(maps, train.labels), CLASSES)
    moved = builder.build(Maps(300 * maps - 77, train.labels), CLASSES)
    labels = at_first.shares(others).argmax(axis=1)
    assert (labels == blobs(500).labels[200:]).mean() > 0.5
    # Rounding decides a few.
    assert (moved.shares(300 * others - 77).argmax(axis=1) == labels).mean() > 0.97
    assert builder.variant == ("" if features == "pixels" else "-hog")


def test_what_a_classifier_needs_is_counted(train):
    n, d, c = len(train), 100, 3
    expected = {
        NearestNeighbors: (n * d + n, 4 * n * d + 8 * n),
        LogisticRegression: ((d + 1) * c, 4 * (d + 1) * c),
        NaiveBayes: ((2 * d + 1) * c, None),
    }
    for builder, (numbers, n_bytes) in expected.items():
        baseline = builder().build(train, CLASSES)
        assert baseline.n_parameters == numbers
        assert baseline.total_bytes >= 4 * numbers if n_bytes is None else n_bytes
    hogs = NearestNeighbors(features="hog", cells=3).build(train, CLASSES)
    assert hogs.n_parameters == n * (hog(train.images[:1], 3).shape[1] + 1)


def test_the_nodes_of_a_tree_are_all_that_it_needs(train, test):
    baseline = DecisionTree().build(train, CLASSES)
    left, right, feature, threshold, shares = arrays = baseline.head._arrays
    assert baseline.total_bytes == sum(array.nbytes for array in arrays)
    assert baseline.n_parameters == len(left) * 7  # as many numbers a node, 3 of them shares
    mean, deviation = train.images.mean(dtype=float), train.images.std(dtype=float)
    found = []
    for image in (test - np.float32(mean)) / np.float32(deviation):
        node = 0
        while left[node] >= 0:
            is_left = image.ravel()[feature[node]] <= threshold[node]
            node = left[node] if is_left else right[node]
        found.append(shares[node, 0].argmax())
    np.testing.assert_array_equal(baseline.predict_labels(test), found)


def test_a_forest_is_the_trees_it_has(train):
    few, many = (RandomForest(trees=n, max_depth=3).build(train, CLASSES) for n in (2, 20))
    assert 5 * few.total_bytes < many.total_bytes < 20 * few.total_bytes


@pytest.mark.parametrize("ours", ALL, ids=name_of)
def test_a_seed_repeats_it_on_any_number_of_threads(ours, train, test):
    shares = ours.build(train, CLASSES).shares(test)
    np.testing.assert_array_equal(ours.build(train, CLASSES).shares(test), shares)
    if isinstance(ours, RandomForest):
        several = RandomForest(trees=7, seed=3, threads=2).build(train, CLASSES)
        np.testing.assert_array_equal(several.shares(test), shares)
        other = RandomForest(trees=7, seed=4).build(train, CLASSES)
        assert (other.shares(test) != shares).any()


@pytest.mark.parametrize("ours", ALL, ids=name_of)
@pytest.mark.parametrize("missing", [0, 2])
def test_a_class_without_images_is_never_named(ours, missing, train, test):
    some = train[train.labels != missing]
    baseline = ours.build(some, CLASSES)
    shares = baseline.predict_proba(test)
    assert shares.shape == (len(test), 3)
    assert not shares[:, missing].any()
    true = blobs(500).labels[200:]
    known = true != missing
    assert (shares.argmax(axis=1)[known] == true[known]).mean() > 0.8


def test_a_regression_that_has_not_converged_says_so(train, monkeypatch, recwarn):
    monkeypatch.setattr(shallow, "_STEPS", 2)
    baseline = LogisticRegression().build(train, CLASSES)
    assert baseline.warning == (
        "The logistic regression has not converged in 2 steps: a smaller C than 0.01 would make it"
    )
    assert not [each for each in recwarn if "onverge" in str(each.message)]


@pytest.mark.parametrize(
    ("builder", "words"),
    [
        (SVM(C=0), "C=0 is out of range"),
        (LogisticRegression(C=float("nan")), "C=nan is out of range"),
        (NaiveBayes(smoothing=-1), "smoothing=-1 is out of range"),
        (NearestNeighbors(k=0), "k=0 is out of range"),
        (DecisionTree(max_depth=0), "max_depth=0 is out of range"),
        (DecisionTree(seed=-1), "seed=-1 is out of range"),
        (RandomForest(seed=2**32), "seed=4294967296 is out of range"),
        (RandomForest(trees=0), "trees=0 is out of range"),
        (RandomForest(threads=0), "threads=0 is out of range"),
        (RandomForest(max_depth=-1), "max_depth=-1 is out of range"),
        (SVM(features="hogs"), "features=hogs is unknown: did you mean hog?"),
        (SVM(features="hog", cells=11), "cells=11 is out of range: choose 2 to 10"),
    ],
    ids=str,
)
def test_options_out_of_range_are_refused_before_anything_is_trained(builder, words, train):
    for refused in (lambda: builder.shape((10, 10, 1), 3), lambda: builder.build(train, CLASSES)):
        with pytest.raises(InputError) as caught:
            refused()
        assert str(caught.value).startswith(words)
        assert caught.value.option == words.partition("=")[0]


@pytest.mark.parametrize("ours", ALL, ids=name_of)
def test_images_that_cannot_teach_are_refused(ours, train):
    with pytest.raises(InputError, match="All training images are of the class center"):
        ours.build(train[train.labels == 1], CLASSES)
    with pytest.raises(InputError, match="no images"):
        ours.build(train[:0], CLASSES)
    with pytest.raises(InputError, match="between 0 and 1 for 2 classes"):
        ours.build(train, CLASSES[:2])


def test_more_neighbors_than_images_are_refused(train):
    with pytest.raises(InputError, match="k=9 is out of range: choose 1 to 8 training images"):
        NearestNeighbors(k=9).build(train[:8], CLASSES)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A small network in a file."""
    pytest.importorskip("tf2onnx")
    path = tmp_path_factory.mktemp("network") / "mine.keras"
    residual().save(path)
    return path


@pytest.mark.parametrize("ours", ALL, ids=name_of)
def test_the_maps_of_a_network_are_features(ours, path, tmp_path):
    photos, more = (blobs(n, side=12, channels=3) for n in (90, 150))
    builder = replace(ours, features="maps", path=path)
    assert builder.is_frozen
    assert builder.variant == "-mine"
    network = builder.network()
    preparation = Preparation((12, 12), 3)
    found = builder.adapt(network, preparation, photos, CLASSES)
    assert (found.network, found.knows_labels, found.training) == (network, True, ())
    backbone = builder.frozen(network, ["joined", "last"], 2)
    maps = through(backbone, preparation, photos, cache=tmp_path)
    baseline = builder.build(maps, CLASSES)
    assert baseline.stack.input_shape == maps.images.shape[1:] == (2, 2, 11)
    # The same classifier, given the same numbers.
    plain = ours.build(Maps(maps.images, maps.labels), CLASSES)
    images = more.prepared(preparation)
    wanted = plain.shares(backbone.maps(images))
    assert (wanted.argmax(axis=1) == more.labels).mean() > 0.8
    from_images = replace(baseline, backbone=backbone)
    np.testing.assert_array_equal(from_images.predict_proba(images), wanted)
    at_hand = replace(baseline, backbone=MapsAtHand.of(backbone))
    np.testing.assert_array_equal(at_hand.predict_proba(backbone.maps(images)), wanted)
    # What makes the maps is part of what classifying takes.
    assert from_images.total_bytes == plain.total_bytes + len(backbone.graph)
    assert from_images.n_parameters == plain.n_parameters + backbone.n_parameters


def test_images_in_place_of_maps_are_refused(train):
    words = r"^features=maps needs maps, and these are images"
    with pytest.raises(InputError, match=words) as caught:
        SVM(features="maps").build(train, CLASSES)
    assert caught.value.option == "features"


@pytest.mark.parametrize(
    "given",
    [
        {"path": "mine.keras"}, {"name": "MobileNetV2"}, {"image_size": [64, 64]},
        {"pixels": [0, 255]},
    ],
)  # fmt: skip
def test_options_of_a_network_are_not_ignored_where_there_is_none(given):
    [option] = given
    with pytest.raises(InputError, match=rf"^{option}=.* is for features=maps") as caught:
        SVM(features="hog", **given)
    assert caught.value.option == option
