import numpy as np
import pytest

from evolve.fitness.knn_objectives import query_losses
from slicing.backend import load_keras
from slicing.baselines import TrainedCNN, Tuned, UntrainedCNN, gradient_cnn
from slicing.baselines.gradient import neighbor_loss, squared_distances
from slicing.data.dataset import Images
from slicing.errors import InputError
from slicing.stack import ConvStack
from tests.slicing.baselines.blobs import CLASSES, blobs

SMALL = {"filters": (4,), "pooling": (True,), "units": 8, "epochs": 1, "threads": 1}


@pytest.fixture(scope="module")
def train():
    return blobs()


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_its_loss_is_the_one_that_evolution_minimizes(scale):
    rng = np.random.default_rng(0)
    features = rng.random((40, 7), dtype=np.float32)
    labels = rng.integers(3, size=40)
    temperature = 0.05 * scale
    others = ~np.eye(40, dtype=bool)
    wide = features.astype(float)
    squares = ((wide[:, None] - wide[None]) ** 2).sum(axis=2)
    theirs = query_losses(
        squares[others].reshape(40, 39),
        np.broadcast_to(labels, (40, 40))[others].reshape(40, 39),
        labels,
        3,
        temperature,
    )
    load_keras()
    ours = neighbor_loss(squared_distances(features), labels, temperature)
    assert float(ours) == pytest.approx(theirs.mean(), rel=1e-4)


def test_an_image_without_a_neighbor_of_its_class_counts_the_floor_of_the_objective():
    load_keras()
    labels = np.array([0, 0, 1])
    features = np.array([[0.0], [0.1], [0.05]], np.float32)
    theirs = query_losses(
        np.array([[0.01, 0.0025], [0.01, 0.0025], [0.0025, 0.0025]]),
        np.array([[0, 1], [0, 1], [0, 0]]),
        labels,
        2,
        0.01,
    )
    ours = neighbor_loss(squared_distances(features), labels, 0.01)
    assert theirs[2] > 6  # it has none
    assert float(ours) == pytest.approx(theirs.mean(), rel=1e-4)


def relative_loss(stack, start, train):
    """The loss on images that are not shifted, in units of that before the tuning."""

    def loss(each, temperature):
        return float(
            neighbor_loss(squared_distances(each.forward(train.images)), train.labels, temperature)
        )

    squares = np.array(squared_distances(start.forward(train.images)))
    np.fill_diagonal(squares, np.inf)
    temperature = squares.min(axis=1).mean()
    return loss(stack, temperature) / loss(start, temperature)


@pytest.fixture(scope="module")
def noisy(train):
    noise = np.random.default_rng(1).normal(0, 1, train.images.shape)
    return Images((train.images + noise).clip(0, 1).astype(np.float32), train.labels)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_loss_falls_and_a_seed_repeats_it(batch_norm, noisy, tmp_path):
    options = {**SMALL, "batch_norm": batch_norm, "cache_dir": tmp_path}
    tuning = {"tuning_epochs": 10, "tuning_shift": 1, "tuning_rate": 1e-2}
    shown = []
    tuned = gradient_cnn(**tuning, **options).build(
        noisy, CLASSES, lambda done, text: shown.append((done, text))
    )
    assert tuned.model is None
    start = TrainedCNN(**options).build(noisy, CLASSES)
    assert start.from_cache
    assert relative_loss(tuned.stack, start.stack, noisy) < 0.95
    fractions = [done for done, _ in shown]
    assert fractions == sorted(fractions)
    assert shown[-1] == (pytest.approx(1.0), "tuning, epoch 10 of 10")
    again = gradient_cnn(**tuning, **options).build(noisy, CLASSES)
    assert again.stack.equals(tuned.stack)
    other = Tuned(TrainedCNN(**options), epochs=10, shift=1, rate=1e-2, seed=1)
    assert not other.build(noisy, CLASSES).stack.equals(tuned.stack)


def test_any_network_can_be_tuned(noisy):
    builder = UntrainedCNN(filters=(4,), pooling=(True,))
    tuned = Tuned(builder, epochs=10, shift=0, rate=1e-2).build(noisy, CLASSES)
    start = builder.shape((10, 10, 1), 3)
    assert tuned.stack.feature_shape == start.feature_shape
    assert relative_loss(tuned.stack, start, noisy) < 0.95


class Pixels(UntrainedCNN):
    """A baseline without convolutions."""

    def shape(self, image_shape, n_classes):
        return ConvStack((), image_shape)


def test_a_network_without_convolutions_is_refused(train):
    tuned = Tuned(Pixels())
    for refused in (tuned.shape, lambda *_: tuned.build(train, CLASSES)):
        with pytest.raises(InputError, match="no convolution to tune"):
            refused((10, 10, 1), 3)


def test_it_names_itself_after_the_network_that_it_tunes():
    assert gradient_cnn(units=32).variant == "32"
    assert Tuned(UntrainedCNN()).variant == ""


@pytest.mark.parametrize(
    ("option", "value"),
    [("tuning_epochs", 0), ("tuning_shift", 10), ("tuning_shift", -1), ("tuning_rate", 0.0)],
)
def test_bad_options_are_refused_before_anything_is_trained(option, value, train, tmp_path):
    builder = gradient_cnn(**{option: value}, **SMALL, cache_dir=tmp_path)
    for refuse in (lambda: builder.shape((10, 10, 1), 3), lambda: builder.build(train, CLASSES)):
        with pytest.raises(InputError, match=f"{option}={value} is out of range") as caught:
            refuse()
        assert caught.value.option == option
    assert list(tmp_path.iterdir()) == []
