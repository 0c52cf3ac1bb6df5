import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier

from slicing.errors import InputError
from slicing.reduction import condense, most_components, project, prototypes
from slicing.stack import Conv, ConvStack, Pool


@pytest.fixture(scope="module")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32), labels.astype(np.int64)


@pytest.fixture(scope="module")
def sliced(digits):
    """A small stack, and its features of the digits."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 3, 1, 6)).astype(np.float32)
    stack = ConvStack((Conv(weights, np.zeros(6, np.float32)), Pool()), (8, 8, 1))
    images = digits[0].reshape(-1, 8, 8, 1)
    return stack, images, stack.forward(images)


def test_pca_is_scikit_learns(sliced, digits):
    stack, images, features = sliced
    found = project(stack, features, digits[1], "pca", 5).forward(images)
    theirs = PCA(5, svd_solver="full").fit_transform(features)
    # An axis may point either way.
    np.testing.assert_allclose(np.abs(found), np.abs(theirs), atol=1e-3)


def test_lda_is_scikit_learns_up_to_its_mean(sliced, digits):
    stack, images, features = sliced
    found = project(stack, features, digits[1], "lda").forward(images)
    assert found.shape == (len(images), 9)
    theirs = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto").fit(features, digits[1])
    expected = theirs.transform(features)
    np.testing.assert_allclose(found, expected - expected.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)


def test_components_are_checked(sliced, digits):
    stack, _, features = sliced
    assert most_components("lda", features.shape, 10) == 9
    assert most_components("pca", (20, 54), 10) == 20
    for kind, components in (("lda", 10), ("lda", 0), ("pca", 55)):
        with pytest.raises(InputError, match=f"components={components} is out of range for {kind}"):
            project(stack, features, digits[1], kind, components)
    with pytest.raises(InputError, match="projection='umap' is unknown"):
        project(stack, features, digits[1], "umap", 2)


def test_too_few_images_for_lda_are_one_sentence(sliced):
    stack, _, features = sliced
    with pytest.raises(InputError, match="take more images, or pca"):
        project(stack, features[:10], np.arange(10), "lda")


def test_prototypes_are_means_of_their_class(digits):
    features, labels = digits
    found, of_class = prototypes(features, labels, 1, seed=0)
    np.testing.assert_array_equal(of_class, np.arange(10))
    for label in range(10):
        np.testing.assert_allclose(found[label], features[labels == label].mean(axis=0), atol=1e-5)
    found, of_class = prototypes(features, labels, 12, seed=0)
    assert found.dtype == np.float32
    assert (np.bincount(of_class) == 12).all()
    nearest = KNeighborsClassifier(1).fit(found, of_class)
    assert nearest.score(features, labels) > 0.95


def test_a_small_class_keeps_its_references(digits):
    features, labels = digits
    few = np.flatnonzero(labels == 3)[:4]
    kept = np.sort(np.concatenate([few, np.flatnonzero(labels == 5)]))
    found, of_class = prototypes(features[kept], labels[kept], 6, seed=0)
    assert np.bincount(of_class).tolist() == [0, 0, 0, 4, 0, 6]
    np.testing.assert_array_equal(found[of_class == 3], features[few])
    with pytest.raises(InputError, match="per_class=0"):
        prototypes(features, labels, 0, seed=0)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_condensed_references_classify_all_others_rightly(digits, metric):
    features, labels = digits
    chosen = condense(features, labels, metric, seed=0)
    assert (np.diff(chosen) > 0).all()
    assert len(chosen) < len(labels) / 5
    nearest = KNeighborsClassifier(1, algorithm="brute", metric=metric)
    nearest.fit(features[chosen].astype(float), labels[chosen])
    np.testing.assert_array_equal(nearest.predict(features.astype(float)), labels)
    np.testing.assert_array_equal(condense(features, labels, metric, seed=0), chosen)
    more = condense(features, labels, metric, seed=0, least=len(chosen) + 5)
    assert len(more) == len(chosen) + 5
    assert set(chosen) < set(more)


def test_condensing_ends_where_equal_images_have_different_labels():
    features = np.zeros((6, 2), np.float32)
    chosen = condense(features, np.array([0, 1, 0, 1, 2, 2]), "euclidean", seed=0)
    assert set(np.array([0, 1, 0, 1, 2, 2])[chosen]) == {0, 1, 2}
