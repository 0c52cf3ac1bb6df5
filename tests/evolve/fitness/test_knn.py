import numba
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_distances, euclidean_distances

from evolve.block import Block
from evolve.fitness import incremental_knn
from evolve.fitness import moved_features as shifted
from evolve.fitness.incremental_knn import IncrementalKNN
from evolve.fitness.knn import KNNFitness
from evolve.fitness.knn_objectives import query_loss
from evolve.protocols import Split
from evolve.roles import Roles
from slicing.data import Images
from slicing.errors import InputError
from slicing.neighbors import exact as knn
from slicing.stack import Conv, ConvStack, Pool
from tests.evolve.blocks import make_blocks

METRICS = ("euclidean", "cosine")
OBJECTIVES = ("accuracy", "neighbors")


@pytest.fixture(scope="module", autouse=True)
def _short_lists():
    """Let lists be too short now and then: of their own length, few images fill none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(incremental_knn, "_SHORTLIST", 4)
        patch.setattr(shifted, "_SHORTLIST", 4)
        yield


def make_stack(rng, shape=(8, 8, 1), kernels=(2, 4), whole=False):
    layers, channels = [], shape[2]
    for n in kernels:
        size = (3, 3, channels, n)
        weights = rng.integers(-1, 2, size) if whole else rng.normal(size=size)
        # Real biases keep most channels alive: dead ones make distances without a clear order.
        bias = np.zeros(n) if whole else 0.1 + rng.normal(size=n) * 0.1
        layers.append(Conv(weights.astype(np.float32), bias.astype(np.float32)))
        channels = n
    return ConvStack((*layers, Pool()), shape)


def make_split(rng, n_references, n_queries, shape=(8, 8, 1), whole=False, n_classes=3):
    def images(n):
        pixels = rng.integers(0, 2, (n, *shape)) if whole else rng.random((n, *shape))
        return Images(pixels.astype(np.float32), rng.integers(0, n_classes, n))

    references = images(n_references)
    # Duplicates. Under other labels too where distances are exact: else rounding orders them.
    copies = slice(n_references // 2, n_references // 2 + 5)
    references.images[copies] = references.images[:5]
    if not whole:
        references.labels[copies] = references.labels[:5]
    return Split(references, images(n_queries) if n_queries else None)


def plain_losses(stack, split, objective, k, metric, temperature):
    """The plain path: stack forward, scikit-learn's distances, sort by (distance, index)."""
    return plain_path(stack, split, objective, k, metric, temperature)[0]


def plain_distances(stack, split, metric):
    """Distances of queries to references, by scikit-learn in float64; infinite to themselves."""
    references = stack.forward(split.references.images).astype(np.float64)
    queries = references
    if split.queries is not None:
        queries = stack.forward(split.queries.images).astype(np.float64)
    if metric == "euclidean":
        distances = euclidean_distances(queries, references, squared=True)
    else:
        distances = cosine_distances(queries, references)
    if split.queries is None:
        np.fill_diagonal(distances, np.inf)
    return distances


def plain_temperature(stack, split, k, metric, temperature):
    """The temperature in units of the mean distance to the k nearest."""
    mean = np.sort(plain_distances(stack, split, metric), axis=1)[:, :k].mean()
    # Images that are all alike are at distance 0, but for rounding.
    return temperature * (mean if mean > 1e-9 else 1.0)


def plain_path(stack, split, objective, k, metric, temperature):
    """The losses, and for which queries float32 features do not tell which are the k nearest."""
    truth = (split.queries or split.references).labels
    distances = plain_distances(stack, split, metric)
    order = np.argsort(distances, axis=1, kind="stable")
    ascending = np.take_along_axis(distances, order, axis=1)
    # Copies of one label may come in any order.
    boundary = ascending[:, k - 1 : k]
    tied = np.abs(ascending - boundary) < 1e-6 * (1 + boundary)
    tied_labels = np.where(tied, split.references.labels[order], -1)
    unclear = tied_labels.max(axis=1) != np.where(tied, tied_labels, 99).min(axis=1)
    order, nearest = order[:, :k], ascending[:, :k]
    labels = split.references.labels[order]
    if objective == "accuracy":
        votes = np.stack([(labels == c).sum(axis=1) for c in range(labels.max() + 1)], axis=1)
        return (votes.argmax(axis=1) != truth).astype(float), unclear
    weights = np.exp((nearest[:, :1] - nearest) / temperature)
    p = (weights * (labels == truth[:, None])).sum(axis=1) / weights.sum(axis=1)
    return -np.log((p + 1e-3) / 1.001), unclear


def candidates_of(rng, block, stack, n, whole=False):
    start = block.read(stack)
    if whole:
        return rng.integers(-2, 3, (n, len(start))).astype(np.float64)
    return start + rng.normal(size=(n, len(start)))


def pick(stack, kind):
    if kind == "first":
        return make_blocks(stack, "kernel")[0]
    if kind == "middle":
        return make_blocks(stack, "kernel", layers=[len(stack.convs) // 2 + 1])[0]
    options = {"size": 2} if kind == "group" else {}
    return make_blocks(stack, kind, **options)[-1]


blocks = st.sampled_from(["kernel", "first", "middle", "group", "layer", "network"])
sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))
steps = st.tuples(st.integers(1, 2), st.integers(1, 2))
paddings = st.sampled_from(["valid", "same"])


@st.composite
def stacks(draw, rng, whole):
    """Any stack that the cut supports: strides, paddings, poolings of both kinds or none."""
    layers, channels = [], draw(st.integers(1, 2))
    shape = (draw(st.integers(6, 9)), draw(st.integers(6, 9)), channels)
    for _ in range(draw(st.integers(1, 3))):
        n = draw(st.sampled_from([1, 2, 3, 4, 6]))
        size = (*draw(sizes), channels, n)
        weights = rng.integers(-1, 2, size) if whole else rng.normal(size=size)
        bias = np.zeros(n) if whole else 0.1 + rng.normal(size=n) * 0.1
        layers.append(
            Conv(
                weights.astype(np.float32),
                bias.astype(np.float32),
                draw(steps),
                draw(paddings),
                draw(st.booleans()),
            )
        )
        # The average of whole numbers is whole no more.
        kinds = st.sampled_from(["max"] if whole else ["max", "average"])
        for _ in range(draw(st.integers(0, 2))):
            layers.append(Pool(draw(kinds), draw(sizes), draw(steps), draw(paddings)))
        channels = n
    try:
        return ConvStack(tuple(layers), shape)
    except InputError:  # too small for so many layers
        assume(False)


def assert_equal_to_the_plain_path(
    stack, split, block, candidates, metric, objective, k, whole, require
):
    fitness = KNNFitness(stack, split, objective, k, metric, neighbors=k, temperature=0.3)
    fitness.bind(block)
    temperature = plain_temperature(stack, split, k, metric, 0.3)
    for candidate, loss in zip(candidates, fitness.losses(candidates), strict=True):
        changed = block.write(stack, candidate)
        expected, unclear = plain_path(changed, split, objective, k, metric, temperature)
        if whole:
            assert loss == pytest.approx(expected.mean(), rel=1e-9)
        else:
            require(unclear.mean() < 0.05)
            # No query costs more than -log of the floor.
            slack = unclear.mean() * (1 if objective == "accuracy" else 7)
            assert loss == pytest.approx(expected.mean(), rel=1e-4, abs=slack)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(METRICS),
    st.sampled_from(OBJECTIVES),
    blocks,
    st.sampled_from([0, 11]),
    st.integers(1, 20),
)
# All images are alike to the first network, but for rounding.
@example(1456, "cosine", "neighbors", "network", 11, 2)
def test_losses_equal_the_plain_path(seed, metric, objective, kind, n_queries, k):
    rng = np.random.default_rng(seed)
    # Whole numbers: squared distances are exact and ties are many; the cosine rounds, so real ones.
    whole = metric == "euclidean"
    stack = make_stack(rng, whole=whole)
    split = make_split(rng, int(rng.integers(22, 60)), n_queries, whole=whole)
    block = pick(stack, kind)
    candidates = candidates_of(rng, block, stack, 3, whole)
    assert_equal_to_the_plain_path(
        stack, split, block, candidates, metric, objective, k, whole, assume
    )


@settings(max_examples=100, deadline=None)
@given(st.data(), st.integers(0, 10**6), st.sampled_from(METRICS), blocks, st.booleans())
def test_losses_equal_the_plain_path_in_any_stack(data, seed, metric, kind, whole):
    rng = np.random.default_rng(seed)
    whole = whole and metric == "euclidean"
    stack = data.draw(stacks(rng, whole))
    split = make_split(rng, 40, data.draw(st.sampled_from([0, 11])), stack.input_shape, whole)
    block = pick(stack, kind)
    candidates = candidates_of(rng, block, stack, 2, whole)
    k = data.draw(st.integers(1, 39))
    objective = data.draw(st.sampled_from(OBJECTIVES))
    assert_equal_to_the_plain_path(
        stack, split, block, candidates, metric, objective, k, whole, assume
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["kernel", "first", "layer"])
@pytest.mark.parametrize("n_queries", [0, 150])
def test_losses_equal_the_plain_path_where_projections_prune(metric, kind, n_queries, monkeypatch):
    monkeypatch.setattr(knn, "_AXES", 3)
    monkeypatch.setattr(incremental_knn, "_SHORTLIST", 2)
    monkeypatch.setattr(shifted, "_SHORTLIST", 2)
    rng = np.random.default_rng(7)
    stack, split = make_stack(rng), make_split(rng, 300, n_queries)
    block = pick(stack, kind)
    start = block.read(stack)
    candidates = start + 0.3 * rng.normal(size=(10, len(start)))

    def hard(clear):
        assert clear

    for objective in OBJECTIVES:
        assert_equal_to_the_plain_path(
            stack, split, block, candidates, metric, objective, 9, False, hard
        )


def accept(fitness, candidate):
    loss = fitness.losses(candidate[None])[0]
    fitness.adopt(fitness.block.write(fitness.stack, candidate), loss)


@pytest.mark.parametrize(("metric", "n_queries"), [("euclidean", 0), ("cosine", 40)])
def test_many_accepted_updates_leave_no_drift(metric, n_queries):
    rng = np.random.default_rng(0)
    stack, split = make_stack(rng), make_split(rng, 60, n_queries)
    fitness = KNNFitness(stack, split, "neighbors", 5, metric, neighbors=8)
    blocks = make_blocks(stack, "kernel", layers=[-1])
    for _ in range(1500):
        block = blocks[rng.integers(len(blocks))]
        fitness.bind(block)
        start = block.read(fitness.stack)
        accept(fitness, start * 0.9 + 0.3 * rng.normal(size=start.shape))
    # At once, by the plain forward pass.
    assert fitness.loss == pytest.approx(fitness.loss_of(fitness.stack), rel=1e-6)
    temperature = plain_temperature(stack, split, 8, metric, 0.2)
    expected = plain_losses(fitness.stack, split, "neighbors", 8, metric, temperature)
    assert fitness.loss == pytest.approx(expected.mean(), rel=1e-4)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["kernel", "first"])
@pytest.mark.parametrize("n_queries", [0, 40])
def test_short_lists_fall_back_to_all_references(metric, kind, n_queries, monkeypatch):
    rng = np.random.default_rng(1)
    stack, split = make_stack(rng), make_split(rng, 60, n_queries)
    block = pick(stack, kind)
    start = block.read(stack)
    candidates = start + 30 * rng.normal(size=(4, len(start)))

    def evaluate(shortlist, axes):
        monkeypatch.setattr(incremental_knn, "_SHORTLIST", shortlist)
        monkeypatch.setattr(shifted, "_SHORTLIST", shortlist)
        monkeypatch.setattr(knn, "_AXES", axes)
        fitness = KNNFitness(stack, split, "accuracy", 3, metric)
        fitness.bind(block)
        return fitness.query_losses(candidates), fitness.counts["full_scans"]

    expected, none = evaluate(1000, 1000)
    assert none == 0
    # Nor does it matter whether the others are compared on a projection first.
    for axes in (1000, 3):
        losses, full_scans = evaluate(0, axes)
        assert full_scans > 0
        np.testing.assert_array_equal(losses, expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["kernel", "first", "layer", "network"])
def test_losses_do_not_depend_on_the_number_of_threads(metric, kind):
    rng = np.random.default_rng(2)
    # An odd number, and more than one task: where products could be divided unequally.
    stack, split = make_stack(rng), make_split(rng, 1501, 0)
    block = pick(stack, kind)
    candidates = candidates_of(rng, block, stack, 5)

    def evaluate(threads):
        numba.set_num_threads(threads)
        fitness = KNNFitness(stack, split, "neighbors", metric=metric)
        fitness.bind(block)
        return fitness.losses(candidates)

    np.testing.assert_array_equal(evaluate(numba.config.NUMBA_NUM_THREADS), evaluate(1))


@pytest.mark.parametrize("kind", ["kernel", "first", "group", "network"])
def test_losses_do_not_depend_on_the_batch(kind):
    rng = np.random.default_rng(2)
    stack, split = make_stack(rng), make_split(rng, 200, 30)
    block = pick(stack, kind)
    candidates = candidates_of(rng, block, stack, 7)
    fitness = KNNFitness(stack, split, "neighbors")
    fitness.bind(block)
    together = fitness.losses(candidates)
    one_by_one = [fitness.losses(candidate[None])[0] for candidate in candidates]
    np.testing.assert_array_equal(together, one_by_one)
    assert fitness.losses(candidates[:0]).shape == (0,)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scale", [1e-23, 1.0, 1e21])
def test_neighbors_that_float32_sums_cannot_tell_apart(metric, scale):
    # Features that differ in their last digits, tiny and huge ones: float64 must decide.
    rng = np.random.default_rng(3)
    channels = (1 + 1e-4 * rng.random((300, 3, 4))) * scale
    moved = ((1 + 1e-4 * rng.random((300, 4))) * scale).astype(np.float32)
    channels = channels.astype(np.float32)
    labels = np.random.default_rng(4).integers(0, 2, 300)
    incremental_knn = IncrementalKNN(channels.copy(), labels, Roles(200, 100, False), 1, metric)
    incremental_knn.bind(1)
    losses, full_scans = incremental_knn.query_losses(moved[None], 0.0)
    assert full_scans > 0
    channels[:, 1] = moved
    exact = channels.reshape(300, -1).astype(np.float64) / scale
    if metric == "euclidean":
        distances = ((exact[200:, None] - exact[:200]) ** 2).sum(axis=2)
    else:
        centered = exact / np.linalg.norm(exact, axis=1)[:, None]
        distances = ((centered[200:, None] - centered[:200]) ** 2).sum(axis=2)
    wrong = losses[0] != (labels[distances.argmin(axis=1)] != labels[200:])
    # The cosine of nearly parallel vectors has few digits in float64, too.
    assert wrong.mean() <= (0.0 if metric == "euclidean" else 0.02)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["kernel", "first", "layer", "network"])
def test_candidates_that_overflow_have_an_infinite_loss(kind, metric):
    rng = np.random.default_rng(3)
    stack, split = make_stack(rng), make_split(rng, 30, 0)
    block = pick(stack, kind)
    fitness = KNNFitness(stack, split, "accuracy", 3, metric)
    fitness.bind(block)
    candidates = candidates_of(rng, block, stack, 3)
    candidates[1] = 1e38
    losses = fitness.losses(candidates)
    np.testing.assert_array_equal(np.isfinite(losses), [True, False, True])


def test_adopt_changes_the_network_and_its_loss():
    rng = np.random.default_rng(4)
    stack, split = make_stack(rng), make_split(rng, 50, 0)
    fitness = KNNFitness(stack, split, "neighbors", neighbors=8)
    for block in (Block(((1, 0),)), Block(((0, 1),)), Block(((1, 2), (1, 3)))):
        fitness.bind(block)
        candidate = candidates_of(rng, block, fitness.stack, 1)[0]
        expected = fitness.losses(candidate[None])[0]
        accept(fitness, candidate)
        assert fitness.loss == expected
        np.testing.assert_allclose(block.read(fitness.stack), candidate, rtol=1e-6)
        with pytest.raises(RuntimeError, match="bind"):
            fitness.losses(candidate[None])


def test_constant_features_vote_for_the_first_references():
    rng = np.random.default_rng(5)
    stack, split = make_stack(rng), make_split(rng, 40, 0)
    block = make_blocks(stack, "network")[0]
    fitness = KNNFitness(stack, split, "accuracy", 5)
    fitness.bind(block)
    expected = plain_losses(block.write(stack, np.zeros(96)), split, "accuracy", 5, "euclidean", 0)
    assert fitness.losses(np.zeros((1, 96)))[0] == expected.mean()


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("amplitude", [0.0, 1e4])
def test_a_channel_that_outshines_the_others(metric, amplitude):
    # What the others contribute is nothing, or what is left of two numbers that are nearly equal.
    rng = np.random.default_rng(8)
    split = make_split(rng, 200, 0)
    stack = make_stack(rng, kernels=(6,))
    loud = Block(((0, 0),))
    quiet = Block(tuple((0, kernel) for kernel in range(1, 6)))
    start = loud.read(stack)
    louder, silent = (loud, start * amplitude), (quiet, np.zeros(50))
    block, vector = louder if amplitude else silent
    stack = block.write(stack, vector)
    fitness = KNNFitness(stack, split, "accuracy", 5, metric)
    fitness.bind(loud)
    for candidate in (start, np.zeros(10)):
        expected, unclear = plain_path(
            loud.write(stack, candidate), split, "accuracy", 5, metric, 0
        )
        assert unclear.all() == (not amplitude and not candidate.any())
        if unclear.all():  # every feature is zero: the first references win
            unclear[:] = False
        loss = fitness.losses(candidate[None])[0]
        assert loss == pytest.approx(expected.mean(), abs=unclear.mean() + 1e-12)


def test_query_loss_by_hand():
    distances, labels = np.array([1.0, 1.0, 3.0]), np.array([0, 1, 1])
    votes = np.empty(2, np.int64)
    assert query_loss(distances, labels, 1, votes, 0.0) == 0.0
    assert query_loss(distances, labels, 0, votes, 0.0) == 1.0
    weights = np.exp(-distances / 2.0)
    p = weights[0] / weights.sum()
    assert query_loss(distances, labels, 0, votes, 2.0) == pytest.approx(
        -np.log((p + 1e-3) / 1.001)
    )


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"objective": "accurracy"}, "accurracy"),
        ({"temperature": 0.0}, "temperature"),
        ({"metric": "manhattan"}, "manhattan"),
        ({"temperature": float("inf")}, "temperature"),
        ({"objective": "accuracy", "k": 30}, "k=30 is out of range: choose 1 to 29"),
        ({"k": 0}, "k=0 is out of range"),
        ({"neighbors": 30}, "neighbors=30 is out of range"),
    ],
)
def test_bad_options(kwargs, words):
    rng = np.random.default_rng(6)
    with pytest.raises(InputError, match=words):
        KNNFitness(make_stack(rng), make_split(rng, 30, 0), **{"neighbors": 8, **kwargs})


def test_options_that_do_not_exist_are_refused_before_anything_is_computed():
    with pytest.raises(TypeError, match="neighbours"):
        KNNFitness.check(None, None, neighbours=3)
