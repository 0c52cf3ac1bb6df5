import itertools
import pickle

import numba
import numpy as np
import pytest
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from evolve.events import BlockEnd
from evolve.fitness.discriminant import DiscriminantFitness
from evolve.optimizers import RandomSearch
from evolve.protocols import Split
from evolve.schedule import Serial
from evolve.schedule_options import ScheduleOptions
from slicing.data import Images
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Pool
from tests.evolve.blocks import make_blocks

N_CLASSES = 3


def make_images(rng, n):
    labels = np.append(np.arange(N_CLASSES), rng.integers(0, N_CLASSES, n - N_CLASSES))
    # What the classes differ in.
    images = (
        0.5 * rng.random((n, 8, 8, 1))
        + 0.5 * (np.arange(8) % N_CLASSES == labels[:, None])[:, None, :, None]
    )
    return Images(images.astype(np.float32), labels)


def make_stack(rng, kernels=(3, 4)):
    layers, channels = [], 1
    for n in kernels:
        weights = rng.normal(size=(3, 3, channels, n)).astype(np.float32)
        layers.append(Conv(weights, 0.1 * rng.normal(size=n).astype(np.float32)))
        channels = n
    return ConvStack((*layers, Pool()), (8, 8, 1))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def stack(rng):
    return make_stack(rng)


def plain_losses(fitness, stack):
    """Squared errors of regressions that scikit-learn learns without the query, one by one."""
    features = stack.forward(fitness._images).astype(np.float64)
    targets, n = fitness._targets, fitness._roles.n_references
    others = np.arange(n)
    errors = []
    for query in range(n if n == len(features) else 0) or range(n, len(features)):
        kept = others[others != query]
        regression = Ridge(fitness._ridge).fit(features[kept], targets[kept])
        errors.append(((targets[query] - regression.predict(features[[query]])) ** 2).sum())
    return errors


BLOCKS = {
    "last": ("kernel", [-1]), "first": ("kernel", [1]), "group": ("group", [-1]),
    "layer": ("layer", [-1]), "first layer": ("layer", [1]), "network": ("network", None),
}  # fmt: skip


@pytest.mark.parametrize("queries", [0, 20])
@pytest.mark.parametrize("kind", BLOCKS)
def test_candidates_are_regressed_anew_without_their_query(rng, stack, kind, queries):
    split = Split(make_images(rng, 40), make_images(rng, queries) if queries else None)
    fitness = DiscriminantFitness(stack, split)
    name, layers = BLOCKS[kind]
    options = {"size": 3} if name == "group" else {}
    block = make_blocks(stack, name, layers, **options)[0]
    fitness.bind(block)
    start = block.read(stack)
    candidates = start + rng.normal(size=(3, len(start)))
    found = fitness.query_losses(candidates)
    for candidate, losses in zip(candidates, found, strict=True):
        expected = plain_losses(fitness, block.write(stack, candidate))
        np.testing.assert_allclose(losses, expected, rtol=1e-3, atol=1e-5)
    assert fitness.losses(start[None])[0] == pytest.approx(fitness.loss, rel=1e-4)
    expected = np.mean(plain_losses(fitness, stack))
    assert fitness.loss == pytest.approx(expected, rel=1e-4)
    assert fitness.loss_of(stack) == pytest.approx(fitness.loss, rel=1e-4)


def exact_loss(fitness, stack):
    """The loss of one regression in float64, by leverages."""
    features = stack.forward(fitness._images).astype(np.float64)
    features -= features.mean(axis=0)
    targets = fitness._targets - fitness._targets.mean(axis=0)
    scatter = features.T @ features + fitness.ridge * np.eye(features.shape[1])
    by_feature = np.linalg.solve(scatter, features.T)
    leverages = 1 / len(features) + np.einsum("ij,ji->i", features, by_feature)
    errors = (targets - features @ (by_feature @ targets)) / (1 - leverages)[:, None]
    return (errors**2).sum(axis=1).mean()


def test_the_blocks_of_a_network_share_one_factor_and_are_exact_to_six_digits(rng):
    stack = make_stack(rng, (8, 40))
    fitness = DiscriminantFitness(stack, Split(make_images(rng, 700), None))
    assert fitness.loss == pytest.approx(exact_loss(fitness, stack), rel=1e-6)
    blocks = [
        *make_blocks(stack, "kernel", [-1])[::39],
        make_blocks(stack, "group", [-1], size=8)[1],
    ]
    for block in [*blocks, blocks[0]]:
        fitness.bind(block)
        start = block.read(stack)
        candidates = start + [[0.01], [1.0]] * rng.normal(size=(2, len(start)))
        expected = [exact_loss(fitness, block.write(stack, each)) for each in candidates]
        assert fitness.losses(candidates) == pytest.approx(expected, rel=1e-6)


def test_the_ridge_is_about_the_best(rng, stack):
    fitness = DiscriminantFitness(stack, Split(make_images(rng, 60), None))
    best, loss = fitness._ridge, fitness.loss
    for factor in (0.3, 3.0):
        fitness._ridge = factor * best
        assert fitness.loss_of(stack) > loss


def test_each_network_has_references_of_its_own(rng, stack):
    references = make_images(rng, 40)
    fitness = DiscriminantFitness(stack, Split(references, None), max_references=20, seed=1)
    first = fitness._images
    assert len(first) == 20
    changed = make_blocks(stack, "kernel", [-1])[0].write(stack, rng.normal(size=28))
    fitness.adopt(changed, 0.0)
    assert fitness.stack is changed
    assert not np.array_equal(fitness._images, first)
    # It is measured on them.
    assert fitness.loss == pytest.approx(np.mean(plain_losses(fitness, changed)), rel=1e-4)
    fitness.adopt(stack, 0.0)
    np.testing.assert_array_equal(fitness._images, first)
    again = DiscriminantFitness(stack, Split(references, None), max_references=20, seed=1)
    np.testing.assert_array_equal(again._images, first)
    other = DiscriminantFitness(stack, Split(references, None), max_references=20, seed=2)
    assert not np.array_equal(other._images, first)


def test_references_are_shifted_and_queries_are_not(rng, stack):
    references, queries = make_images(rng, 30), make_images(rng, 10)
    fitness = DiscriminantFitness(stack, Split(references, queries), shift=1)
    np.testing.assert_array_equal(fitness._images[30:], queries.images)
    for moved, image in zip(fitness._images[:30], references.images, strict=True):
        middles = [image[y : y + 6, x : x + 6] for y in range(3) for x in range(3)]
        assert any(np.array_equal(moved[1:-1, 1:-1], middle) for middle in middles)
    assert not np.array_equal(fitness._images[:30], references.images)
    still = DiscriminantFitness(stack, Split(references, queries), shift=0)
    np.testing.assert_array_equal(still._images[:30], references.images)


@pytest.mark.parametrize("kind", ["last", "first", "layer"])
def test_threads_and_processes_change_no_bit(rng, kind):
    # More features and images than one thread takes at a time.
    stack = make_stack(rng, (8, 130))
    fitness = DiscriminantFitness(stack, Split(make_images(rng, 300), None))
    name, layers = BLOCKS[kind]
    block = make_blocks(stack, name, layers)[0]
    start = block.read(stack)
    candidates = start + rng.normal(size=(4, len(start)))
    found = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        with threadpool_limits(threads, user_api="blas"):
            again = DiscriminantFitness(stack, fitness._split)
            for each in (fitness, again, pickle.loads(pickle.dumps(fitness))):
                each.bind(block)
                found.append([each.query_losses(candidates), each._ridge, each.loss])
    for losses, *rest in found[1:]:
        np.testing.assert_array_equal(losses, found[0][0])
        assert rest == found[0][1:]


def test_a_block_begins_and_ends_on_the_same_images(rng, stack):
    images = Split(make_images(rng, 40), None)
    fitness = DiscriminantFitness(stack, images)
    blocks = make_blocks(stack, "kernel", [-1])
    ends, at_first = [], pickle.loads(pickle.dumps(fitness))
    for event in Serial(fitness, blocks, RandomSearch, ScheduleOptions(3, order="layer")):
        if isinstance(event, BlockEnd):
            assert event.loss_before == at_first.loss
            assert event.loss_after == pytest.approx(at_first.loss_of(fitness.stack), rel=1e-4)
            ends, at_first = [*ends, event], pickle.loads(pickle.dumps(fitness))
    assert any(end.accepted for end in ends)
    # What comes next is measured on others.
    changed = [one.loss_after != two.loss_before for one, two in itertools.pairwise(ends)]
    assert changed == [end.accepted for end in ends[:-1]]


def test_asking_for_the_loss_leaves_the_block_bound(rng, stack):
    fitness = DiscriminantFitness(stack, Split(make_images(rng, 40), None))
    block = make_blocks(stack, "kernel", [-1])[0]
    candidates = block.read(stack) + rng.normal(size=(3, 28))
    fitness.bind(block)
    before = fitness.losses(candidates)
    assert fitness.loss > 0
    np.testing.assert_array_equal(fitness.losses(candidates), before)


@pytest.mark.parametrize("n", [8, 30, 90])
def test_few_images_and_many_features(rng, n):
    stack = make_stack(rng, (4, 128))
    fitness = DiscriminantFitness(stack, Split(make_images(rng, n), None))
    block = make_blocks(stack, "kernel", [-1])[0]
    fitness.bind(block)
    losses = fitness.losses(block.read(stack)[None])
    assert losses[0] == pytest.approx(fitness.loss, rel=1e-2)
    assert fitness.loss == pytest.approx(np.mean(plain_losses(fitness, stack)), rel=1e-2)


def test_what_overflows_is_infinitely_bad(rng, stack):
    fitness = DiscriminantFitness(stack, Split(make_images(rng, 30), None))
    block = make_blocks(stack, "kernel", [-1])[0]
    fitness.bind(block)
    start = block.read(stack)
    losses = fitness.losses(np.stack([start, start * 1e38, start]))
    assert losses[1] == np.inf
    assert losses[[0, 2]] == pytest.approx(fitness.loss, rel=1e-4)
    assert fitness.loss_of(block.write(stack, start * 1e38)) == np.inf


def test_too_many_features_are_refused(rng):
    stack = ConvStack(make_stack(rng, (1, 20)).layers, (60, 60, 1))
    with pytest.raises(
        InputError, match=r"15,680 features are too many .* see all features as they are"
    ):
        DiscriminantFitness.check(stack, Split(make_images(rng, 30), None))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_references": 5}, "max_references=5 is out of range: choose 6 or more"),
        ({"seed": -1}, "seed=-1 is out of range"),
        ({"shift": 8}, "shift=8 is out of range: choose 0 to 7 pixels"),
    ],
)
def test_options_out_of_range(rng, stack, options, sentence):
    with pytest.raises(InputError, match=sentence):
        DiscriminantFitness(stack, Split(make_images(rng, 30), None), **options)
