import numba
import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.datasets import load_digits

from evolve.optimizers import CMAES, PSO, RandomSearch
from evolve.prototypes import PrototypeTuning
from slicing.engine.reduction import class_centers
from slicing.errors import InputError


@pytest.fixture(scope="module")
def digits():
    pixels, labels = load_digits(return_X_y=True)
    return (pixels / 16).astype(np.float32)[:800], labels.astype(np.int64)[:800]


def tuning(digits, optimizer=CMAES, per_class=2, **options):
    features, labels = digits
    references, of_class = class_centers(features, labels, per_class, seed=0)
    return PrototypeTuning(references, of_class, features, labels, optimizer, **options), of_class


def plain_loss(references, of_class, features, labels, temperature):
    """Seo and Obermayer's loss, in a few lines of float64."""
    squares = ((features[:, None].astype(float) - references[None]) ** 2).sum(axis=2)
    exponents = -squares / temperature
    same = np.where(of_class[None] == labels[:, None], exponents, -np.inf)
    return (logsumexp(exponents, axis=1) - logsumexp(same, axis=1)).mean()


def unit_rows(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("temperature", [0.01, 0.3, 10.0])
def test_the_loss_is_the_plain_one_before_and_after_each_move(digits, metric, temperature):
    tuned, of_class = tuning(digits, metric=metric, temperature=temperature, generations=3)
    features, labels = digits
    if metric == "cosine":
        features = unit_rows(features)
    squares = ((features[:, None].astype(float) - tuned.references[None]) ** 2).sum(axis=2)
    unit = temperature * squares.min(axis=1).mean()
    losses = [tuned.loss, *tuned]
    assert len(losses) == 1 + len(tuned) == 21
    assert (np.diff(losses) <= 0).all()
    assert losses[-1] < losses[0]
    assert plain_loss(tuned.references, of_class, features, labels, unit) == pytest.approx(
        tuned.loss, rel=1e-4
    )


@pytest.mark.parametrize(
    ("optimizer", "options", "gain"),
    [
        (CMAES, {}, 0.005),
        (CMAES, {"temperature": 0.3}, 0.015),
        (PSO, {"temperature": 0.3}, 0.01),
        (RandomSearch, {"temperature": 0.3}, 0.0),
    ],
)
def test_moved_prototypes_classify_images_that_they_have_not_seen_better(
    digits, optimizer, options, gain
):
    pixels, labels = load_digits(return_X_y=True)
    unseen, truth = (pixels / 16).astype(np.float32)[800:], labels[800:]

    def accuracy(references, of_class):
        squares = ((unseen[:, None] - references[None]) ** 2).sum(axis=2)
        return (of_class[squares.argmin(axis=1)] == truth).mean()

    gains = []
    for seed in range(3):
        tuned, of_class = tuning(digits, optimizer, generations=20, seed=seed, **options)
        start, before = accuracy(tuned.references, of_class), tuned.loss
        for _ in tuned:
            pass
        assert tuned.loss < before
        gains.append(accuracy(tuned.references, of_class) - start)
    assert np.mean(gains) > gain


def test_neither_threads_nor_anything_else_but_the_seed_matter(digits):
    found = []
    for threads, seed in ((1, 0), (numba.config.NUMBA_NUM_THREADS, 0), (1, 1)):
        numba.set_num_threads(threads)
        tuned, _ = tuning(digits, generations=2, seed=seed)
        assert list(tuned)[-1] == tuned.loss
        found.append((tuned.references.tobytes(), tuned.loss, tuned.evaluations))
    assert found[0] == found[1] != found[2]


def test_mistakes_are_one_sentence(digits):
    features, labels = digits
    for options, sentence in (
        ({"generations": 0}, "generations=0"),
        ({"passes": 0}, "passes=0"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"step": float("inf")}, "step=inf"),
        ({"metric": "l1"}, "metric=l1"),
    ):
        with pytest.raises(InputError, match=sentence):
            tuning(digits, **options)
    with pytest.raises(InputError, match="each class needs one"):
        PrototypeTuning(features[:5], labels[:5], features, labels, CMAES)
