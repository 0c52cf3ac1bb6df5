import numpy as np
import pytest
from sklearn.covariance import OAS
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits

from slicing.baselines import UntrainedCNN
from slicing.data import Images, mnist5k
from slicing.engine import reduction
from slicing.engine.engine import Engine
from slicing.engine.reduction import check_components, class_centers, condense, project
from slicing.errors import InputError
from slicing.shifts import shifted
from slicing.stack import Conv, ConvStack, Pool


@pytest.fixture(scope="module")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32), labels.astype(np.int64)


@pytest.fixture(scope="module")
def images(digits):
    return Images(digits[0].reshape(-1, 8, 8, 1), digits[1])


@pytest.fixture(scope="module")
def stack():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 3, 1, 6)).astype(np.float32)
    return ConvStack((Conv(weights, np.zeros(6, np.float32)), Pool()), (8, 8, 1))


def test_pca_is_scikit_learns(stack, images):
    found = project(stack, images, "pca", 5).forward(images.images)
    theirs = PCA(5, svd_solver="full").fit_transform(stack.forward(images.images))
    # An axis may point either way.
    np.testing.assert_allclose(np.abs(found), np.abs(theirs), atol=1e-3)


def test_lda_is_fishers_with_scikit_learns_shrinkage(stack, images):
    features = stack.forward(images.images).astype(float)
    means = np.stack([features[images.labels == label].mean(axis=0) for label in range(10)])
    within = OAS(assume_centered=True).fit(features - means[images.labels]).covariance_
    between = np.cov(means[images.labels].T, bias=True)
    projected = project(stack, images, "lda")
    axes = projected.convs[-1].weights.reshape(-1, 9).astype(float)
    # It makes both diagonal, and no other axes would tell more of what is between the classes.
    np.testing.assert_allclose(axes.T @ within @ axes, np.eye(9), atol=1e-3)
    found = np.linalg.eigvals(np.linalg.solve(within, between)).real
    expected = np.sort(found)[::-1][:9]
    np.testing.assert_allclose(axes.T @ between @ axes, np.diag(expected), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(projected.forward(images.images).mean(axis=0), 0, atol=1e-3)


def test_pda_is_on_the_mean_and_has_the_best_discriminant_first(stack, images):
    features = stack.forward(images.images)
    projected = project(stack, images, "pda")
    assert projected.feature_shape == (1, 1, 9)
    found = projected.forward(images.images)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_array_equal(
        project(stack, images, "pda", 4).convs[-1].weights, projected.convs[-1].weights[..., :4]
    )
    means = np.stack([found[images.labels == label].mean(axis=0) for label in range(10)])
    within = np.cov((found - means[images.labels]).T)
    np.testing.assert_allclose(within, np.eye(9), atol=0.05)
    between = means.var(axis=0)
    assert (np.diff(between) < 0).all()
    # No other axes of so many tell more of the classes, but for what the ridge takes.
    theirs = LinearDiscriminantAnalysis().fit(features, images.labels)
    np.testing.assert_allclose(
        np.abs(np.corrcoef(found[:, 0], theirs.transform(features)[:, 0])[0, 1]), 1, atol=0.01
    )


def test_pda_finds_discriminants_where_there_are_more_features_than_images(stack, images):
    few = images[:40]
    engine = Engine.fit(project(stack, few, "pda"), few, tuple("0123456789"), k=1)
    assert engine.stack.feature_shape == (1, 1, 9)
    assert engine.score(images.images[40:], images.labels[40:]) > 0.7


def test_pda_takes_no_copies(stack, images):
    with pytest.raises(InputError, match="shift=1 adds copies, and pda leaves out") as caught:
        project(stack, images, "pda", shift=1)
    assert caught.value.option == "shift"
    with pytest.raises(InputError, match="components=10 is out of range: choose 1 to 9"):
        project(stack, images, "pda", 10)


def test_features_that_never_vary_have_no_discriminants(stack, images):
    same = Images(np.zeros_like(images.images), images.labels)
    for kind in ("lda", "pda"):
        with pytest.raises(InputError, match=rf"{kind} finds no components in 1797 images \("):
            project(stack, same, kind)


def test_shifted_copies_teach_as_images_do(stack, images):
    copies = np.concatenate([*shifted(images.images, 1)])
    assert len(copies) == 9 * len(images)
    np.testing.assert_array_equal(copies[4 * len(images) : 5 * len(images)], images.images)
    np.testing.assert_array_equal(copies[: len(images), 1:, 1:], images.images[:, :-1, :-1])
    np.testing.assert_array_equal(copies[: len(images), 0, 1:], images.images[:, 0, :-1])
    together = Images(copies, np.tile(images.labels, 9))
    taught = project(stack, images, "pca", 5, shift=1).convs[-1]
    expected = project(stack, together, "pca", 5).convs[-1]
    np.testing.assert_allclose(np.abs(taught.weights), np.abs(expected.weights), atol=1e-4)


def test_how_far_a_projection_is_is_shown(stack, images, monkeypatch):
    monkeypatch.setattr(reduction, "_CHUNK", len(images) // 3)
    shown = []
    project(stack, images[: len(images) // 3 * 3], "pca", 5, show=shown.append)
    assert shown == pytest.approx([0, 1 / 3, 2 / 3])


def test_shifted_copies_teach_discriminants_for_other_images():
    """Of images that lie elsewhere than those that taught, more are classified rightly."""
    data = mnist5k(train_size=1000, test_size=500)
    stack = UntrainedCNN(filters=(4, 8)).build(data.train, data.classes).stack
    test = data.read_test()
    scores = [
        Engine.fit(project(stack, data.train, "lda", shift=shift), data.train, data.classes).score(
            test.images, test.labels
        )
        for shift in (0, 1)
    ]
    assert scores[1] > scores[0] + 0.01


def test_components_are_checked(stack, images):
    assert check_components("lda", None, (len(images), 54), 10) == 9
    assert check_components("pca", None, (20, 54), 10) == 20
    with pytest.raises(InputError, match="12,544 features are too many"):
        check_components("lda", None, (len(images), 12_544), 10)
    for kind, components in (("lda", 10), ("lda", 0), ("pca", 55)):
        with pytest.raises(
            InputError, match=f"components={components} is out of range: choose 1 to "
        ):
            project(stack, images, kind, components)
    with pytest.raises(InputError, match="projection=umap is unknown"):
        project(stack, images, "umap", 2)
    for shift in (-1, 8):
        with pytest.raises(InputError, match=f"shift={shift} is out of range: choose 0 to 7"):
            project(stack, images, "pca", shift=shift)


@pytest.mark.parametrize("kind", ["pca", "lda", "pda"])
def test_threads_do_not_matter(kind):
    data = mnist5k(train_size=300, test_size=10)
    # Sums over so many features are divided among BLAS' threads.
    stack = UntrainedCNN(filters=(4, 10)).build(data.train, data.classes).stack
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            layer = project(stack, data.train, kind, shift=int(kind != "pda")).convs[-1]
        found.append((layer.weights.tobytes(), layer.bias.tobytes()))
    assert found[0] == found[1]


def test_too_few_images_for_lda_are_one_sentence(stack, images):
    with pytest.raises(InputError, match=r"lda finds no components in 10 images .* more images"):
        project(stack, Images(images.images[:10], np.arange(10)), "lda")


def test_prototypes_are_means_of_their_class(digits):
    features, labels = digits
    found, of_class = class_centers(features, labels, 1, seed=0)
    np.testing.assert_array_equal(of_class, np.arange(10))
    for label in range(10):
        np.testing.assert_allclose(found[label], features[labels == label].mean(axis=0), atol=1e-5)
    found, of_class = class_centers(features, labels, 12, seed=0)
    assert found.dtype == np.float32
    assert (np.bincount(of_class) == 12).all()
    nearest = KNeighborsClassifier(1).fit(found, of_class)
    assert nearest.score(features, labels) > 0.95


def test_a_small_class_keeps_its_references(digits):
    features, labels = digits
    few = np.flatnonzero(labels == 3)[:4]
    kept = np.sort(np.concatenate([few, np.flatnonzero(labels == 5)]))
    found, of_class = class_centers(features[kept], labels[kept], 6, seed=0)
    assert np.bincount(of_class).tolist() == [0, 0, 0, 4, 0, 6]
    np.testing.assert_array_equal(found[of_class == 3], features[few])
    with pytest.raises(InputError, match="per_class=0"):
        class_centers(features, labels, 0, seed=0)


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
