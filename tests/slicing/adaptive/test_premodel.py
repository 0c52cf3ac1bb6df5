import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from slicing.adaptive.cheap_features import NAMES, cheap_features
from slicing.adaptive.levels import decided, learned
from slicing.adaptive.outcome import Decisions
from slicing.adaptive.premodel import Premodel, cross_validated, uncorrelated
from tests.slicing.adaptive.planted import planted

NO_IMAGES = np.zeros((0, 1, 1, 1), np.float32)


@pytest.fixture(scope="module")
def seen():
    rng = np.random.default_rng(0)
    features = rng.random((300, 3), np.float32)
    return features, (features[:, 0] + 0.2 * rng.normal(size=300)) > 0.5


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        ("knn", KNeighborsClassifier(5)),
        ("tree", DecisionTreeClassifier(max_depth=16, random_state=0)),
        ("svm", SVC(gamma=1.0)),
    ],
)
def test_levels_decide_as_scikit_learns_classifiers(seen, kind, theirs):
    features, is_right = seen
    level = learned(kind, features, is_right)
    unseen = np.random.default_rng(1).random((200, 3), np.float32)
    expected = theirs.fit(features, is_right).predict(unseen)
    np.testing.assert_array_equal(decided(kind, level, unseen), expected)


@pytest.mark.parametrize("kind", ["knn", "tree", "svm"])
@pytest.mark.parametrize("always", [True, False])
def test_a_level_that_has_seen_one_answer_gives_it(seen, kind, always):
    features, _ = seen
    level = learned(kind, features, np.full(300, always))
    assert (decided(kind, level, features[:9]) == always).all()


def features_of(table):
    """Two features, of which one tells how hard an image is, and the other nothing."""
    hardness = np.where(table.right[0], 0.2, np.where(table.right[1], 0.5, 0.8))
    hardness = np.where(table.right.any(axis=0), hardness, 1.0)
    rng = np.random.default_rng(0)
    found = np.zeros((len(table), len(NAMES)), np.float32)
    found[:, 3] = 100 * hardness + rng.random(len(table))
    found[:, 9] = -50 * hardness
    return found


def test_the_first_level_that_says_yes_is_asked_and_none_is_given_up():
    table = planted()
    features = features_of(table)
    premodel = Premodel.fit(table, NO_IMAGES, (), features=features)
    # The tenth feature says what the fourth does.
    assert premodel.chosen.tolist() in ([3], [9])
    chosen = premodel.chosen_members(features)
    best = np.where(table.right.any(axis=0), table.right.argmax(axis=0), 3)
    assert (chosen == best).mean() > 0.98
    found = Decisions.of(premodel, features, table).outcome(0.0)
    np.testing.assert_array_equal(found.asked.argmax(axis=1), np.minimum(chosen, 2))


@pytest.mark.parametrize("kind", ["knn", "tree", "svm"])
def test_cross_validation_never_counts_what_is_given_up(kind):
    table = planted(300)
    right, gave_up = cross_validated(table, features_of(table), kind, 5, seed=0)
    assert right == pytest.approx(table.right.any(axis=0).mean(), abs=0.03)
    assert gave_up == pytest.approx((~table.right.any(axis=0)).mean(), abs=0.03)
    assert right + gave_up <= 1.0


def test_features_are_scaled_to_0_and_1_and_clipped():
    table = planted(100)
    features = features_of(table)
    premodel = Premodel.fit(table, NO_IMAGES, (), features=features)
    scaled = premodel._scaled(np.concatenate([features, 10 * features, -10 * features]))
    assert (scaled.min(), scaled.max()) == (0.0, 1.0)
    assert scaled[:100].min() == 0.0
    assert scaled[:100].max() == 1.0


def test_of_correlated_features_the_one_that_tells_more_is_kept():
    rng = np.random.default_rng(0)
    is_right = rng.random(500) < 0.5
    good = is_right + 0.1 * rng.normal(size=500)
    features = np.stack([good + 0.3 * rng.normal(size=500), good, np.ones(500), rng.random(500)])
    assert uncorrelated(features.T.astype(np.float32), is_right).tolist() == [1, 3]
    assert uncorrelated(np.ones((500, 4), np.float32), is_right).tolist() == [0]


def feature(images, name):
    return cheap_features(images)[:, NAMES.index(name)]


def test_cheap_features_see_what_they_are_named_after():
    gray = np.full((1, 28, 28, 1), 0.5, np.float32)
    square = gray * 0
    square[0, 6:16, 8:22] = 1.0
    rotated = np.swapaxes(square, 1, 2)
    assert feature(gray, "brightness")[0] == pytest.approx(0.5)
    assert feature(gray, "contrast")[0] == pytest.approx(0.0, abs=1e-6)
    assert feature(gray, "keypoints")[0] == 0
    assert feature(square, "keypoints")[0] == 4
    assert feature(square, "brightness")[0] == pytest.approx(140 / 784)
    assert feature(square, "aspect_ratio")[0] == pytest.approx(1.4)
    assert feature(square, "area_by_perimeter")[0] == pytest.approx(140 / 48)
    # Its longer edges lie across, whose gradient points down.
    assert feature(square, "edge_angle4")[0] > feature(square, "edge_angle1")[0]
    assert feature(rotated, "edge_angle4")[0] < feature(rotated, "edge_angle1")[0]


def test_colors_have_hues_and_weigh_as_eyes_see_them():
    red, green = np.zeros((2, 1, 12, 12, 3), np.float32)
    red[..., 0], green[..., 1] = 1.0, 1.0
    assert feature(red, "hue1")[0] == 1.0
    assert feature(green, "hue3")[0] == 1.0
    assert feature(green, "perceived_brightness")[0] == pytest.approx(0.691**0.5)
    assert feature(red, "perceived_brightness_rms")[0] == pytest.approx(0.241**0.5)
    one = np.concatenate([red, green])
    np.testing.assert_array_equal(cheap_features(one)[1:], cheap_features(green))
