import builtins

import numpy as np
import pytest

from slicing.data.label_errors import find_label_errors
from slicing.errors import InputError


def clusters(n_classes, n_each, seed=0, distance=6.0, n_features=12):
    """Features of classes around their own centers, and right labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), n_each)
    centers = distance * rng.normal(size=(n_classes, n_features)) / np.sqrt(2)
    vectors = centers[labels] + rng.normal(size=(len(labels), n_features))
    return vectors.astype(np.float32), labels


def found(vectors, labels, n_classes, groups=None):
    groups = np.arange(len(labels)) if groups is None else groups
    return find_label_errors(vectors, labels, n_classes, groups)


def test_labels_that_were_swapped_are_found():
    pytest.importorskip("cleanlab")
    n_found = 0
    for seed in range(5):
        vectors, labels = clusters(4, 30, seed)
        wrong = np.random.default_rng(seed).choice(len(labels), 8, replace=False)
        given = labels.copy()
        given[wrong] = (labels[wrong] + 1) % 4
        suspects = found(vectors, given, 4)
        assert set(suspects.indices.tolist()) <= set(wrong.tolist())
        n_found += len(suspects.indices)
        best = suspects.probabilities[suspects.indices].argmax(axis=1)
        np.testing.assert_array_equal(best, labels[suspects.indices])
        assert suspects.accuracy == pytest.approx(1 - 8 / 120)
    # As many as it believes there are: 37 when this was written.
    assert n_found >= 35


def test_right_labels_give_few_false_alarms():
    """Of classes that overlap, a tenth of which the probe takes for another: 3.4 % are accused."""
    pytest.importorskip("cleanlab")
    alarms = []
    for seed in range(8):
        vectors, labels = clusters(3, 40, seed, distance=1.0)
        alarms.append(len(found(vectors, labels, 3).indices) / len(labels))
    assert np.mean(alarms) < 0.05


def test_the_least_probable_label_comes_first():
    pytest.importorskip("cleanlab")
    vectors, labels = clusters(3, 40, distance=2.0)
    labels[:3], labels[50:53] = 1, 2
    suspects = found(vectors, labels, 3)
    of_label = suspects.probabilities[suspects.indices, labels[suspects.indices]]
    assert len(of_label) >= 4
    assert np.all(np.diff(of_label) >= 0)


def test_copies_do_not_vouch_for_each_other():
    """A wrong label that all copies have is found, for no copy teaches the probe of another."""
    pytest.importorskip("cleanlab")
    vectors, labels = clusters(3, 20)
    vectors[:6], labels[:6] = vectors[0], 2
    groups = np.maximum(np.arange(60), 5)
    suspects = found(vectors, labels, 3, groups)
    assert {*range(6)} <= set(suspects.indices.tolist())
    alone = found(vectors, labels, 3)
    assert not {*range(6)} <= set(alone.indices.tolist())


def test_a_class_of_one_image_is_not_checked():
    pytest.importorskip("cleanlab")
    vectors, labels = clusters(3, 20)
    vectors, labels = vectors[:41], labels[:41]
    suspects = found(vectors, labels, 4)
    assert np.flatnonzero(~suspects.is_checked).tolist() == [40]
    assert 40 not in suspects.indices
    assert suspects.accuracy == 1
    np.testing.assert_allclose(suspects.probabilities.sum(axis=1), 1)
    assert np.all(suspects.probabilities[:, 3] == 0)


def test_features_that_never_change_do_no_harm():
    pytest.importorskip("cleanlab")
    vectors, labels = clusters(3, 20)
    labels[0] = 1
    constant = np.full((60, 3), 7, np.float32)
    assert found(np.hstack([vectors, constant]), labels, 3).indices.tolist() == [0]


def test_a_probe_that_knows_little_accuses_nobody():
    pytest.importorskip("cleanlab")
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(90, 5)).astype(np.float32), np.arange(90) % 3
    with pytest.raises(
        InputError, match=r"gets \d\d % of the images right, and below 75 % its own"
    ):
        found(vectors, labels, 3)


def test_without_cleanlab_it_says_how_to_get_it(monkeypatch):
    original = builtins.__import__

    def missing(name, *arguments, **options):
        if name.startswith("cleanlab"):
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(InputError, match=r"cleanlab is not installed.*'\.\[inspect\]'$"):
        found(*clusters(3, 20), 3)


def test_features_whose_products_do_not_fit_into_memory_are_refused():
    pytest.importorskip("cleanlab")
    vectors, labels = np.zeros((20, 10_001), np.float32), np.arange(20) % 2
    with pytest.raises(InputError, match=r"^10,001 features are too many for a projection or disc"):
        found(vectors, labels, 2)
