"""Recipes: what is checked, what it is called, and what comes out."""

from dataclasses import replace

import numpy as np
import pytest

from slicing.baselines import UntrainedCNN
from slicing.data import Images, mnist5k
from slicing.engine.engine import Engine
from slicing.engine.recipe import Recipe
from slicing.errors import InputError


@pytest.fixture(scope="module")
def data():
    return mnist5k(train_size=200, test_size=100)


@pytest.fixture(scope="module")
def stack(data):
    return UntrainedCNN(filters=(2, 3)).build(data.train, data.classes).stack


def test_all_features_of_all_images_are_the_plain_engine(data, stack):
    plain = Engine.fit(stack, data.train, data.classes, 5, "cosine", "int8", 1)
    recipe = Recipe(k=5, metric="cosine", projection="none", average=1, storage="int8")
    assert recipe.build(stack, data.train, data.classes)._packed() == plain._packed()


def test_the_halves_make_the_whole(data, stack):
    recipe = Recipe(references="prototypes", per_class=3, k=1, storage="int8")
    whole = recipe.build(stack, data.train, data.classes, seed=4)
    halves = recipe.extract(stack, data.train)
    placed = recipe.place(*halves, data.train.labels, data.classes, seed=4)
    assert placed._packed() == whole._packed()


def test_what_tunes_gets_prototypes_and_all_features_and_reports(data, stack):
    seen, shown = [], []

    def tune(prototypes, labels, features, truth, show):
        seen.append((prototypes.shape, labels.shape, features.shape, truth.shape))
        show(0.0, "moving")
        show(1.0, "moved")
        return prototypes + np.float32(1.0)

    recipe = Recipe(references="prototypes", per_class=2, k=1)
    still = recipe.build(stack, data.train, data.classes)
    moved = recipe.build(
        stack, data.train, data.classes, tune=tune, show=lambda *told: shown.append(told)
    )
    assert seen == [((20, 9), (20,), (200, 9), (200,))]
    np.testing.assert_array_equal(moved.references, still.references + np.float32(1.0))
    assert shown[-2:] == [(0.3, "moving"), (1.0, "moved")]
    fractions = [done for done, _ in shown]
    assert fractions == sorted(fractions)
    shown.clear()
    with pytest.raises(InputError, match="references=all cannot be tuned: choose prototypes"):
        Recipe().build(
            stack, data.train, data.classes, tune=tune, show=lambda *told: shown.append(told)
        )
    # Not even the projection is learned.
    assert not shown


def test_its_name_says_what_makes_it_small():
    assert Recipe().describe() == ""
    small = Recipe(references="prototypes", per_class=5, storage="int8")
    assert small.describe() == "5 prototypes a class, int8"
    assert small.describe(is_tuned=True) == "5 prototypes a class, tuned, int8"
    assert Recipe(references="condensed").describe() == "condensed"
    assert small.with_all_references() == replace(Recipe(), per_class=5)


def test_it_says_how_many_numbers_are_left(data, stack):
    assert Recipe().check(stack, data.train) == 9
    assert Recipe(projection="pca", components=4).check(stack, data.train) == 4
    n_features = int(np.prod(stack.feature_shape))
    assert Recipe(projection="none").check(stack, data.train) == n_features
    two = data.train[np.flatnonzero(data.train.labels < 2)]
    assert Recipe().check(stack, Images(two.images, two.labels)) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"k": 0}, "choose 1 to 200 references"),
        ({"k": 201}, "choose 1 to 200 references"),
        ({"k": 21, "references": "prototypes", "per_class": 2}, "choose 1 to 20 references"),
        ({"metric": "l1"}, "choose one of euclidean, cosine"),
        ({"projection": "ldo"}, "did you mean lda?"),
        ({"components": 10}, "choose 1 to 9 for lda"),
        ({"components": 3, "projection": "none"}, "belongs to a projection"),
        ({"shift": 28}, "choose 0 to 27 pixels"),
        ({"average": -1}, "choose 0 to 27 pixels"),
        ({"references": "some"}, "choose one of all, condensed, prototypes"),
        ({"per_class": 0}, "choose 1 or more"),
        ({"storage": "int4"}, "did you mean int8?"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(options, sentence, data, stack):
    option, value = next(iter(options.items()))
    for refuse in (
        lambda: Recipe(**options).check(stack, data.train),
        lambda: Recipe(**options).build(stack, data.train, data.classes),
    ):
        with pytest.raises(InputError) as caught:
            refuse()
        assert caught.value.option == option
        assert str(caught.value).startswith(f"{option}={value} ")
        assert sentence in str(caught.value)
