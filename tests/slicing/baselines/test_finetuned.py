from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest

from slicing.backbones.backbone import Backbone
from slicing.backbones.network import Network
from slicing.backend import load_keras
from slicing.baselines import FineTuned, Pretrained
from slicing.baselines.fitting import Plan, fit
from slicing.baselines.head import SCORES
from slicing.baselines.rates import Policy
from slicing.data.preparation import Preparation
from slicing.errors import InputError
from tests.slicing.backbones.networks import maps_by_keras, randomized, residual
from tests.slicing.baselines.blobs import CLASSES, blobs

pytest.importorskip("tf2onnx")

SHAPE = (12, 12, 3)
PREPARATION = Preparation((12, 12), 3)
OPTIONS = {"name": "residual", "epochs": 3, "learning_rate": 0.01, "threads": 2, "warm_up": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, folder):
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: folder / name)


@pytest.fixture(scope="module")
def train():
    return blobs(90, side=12, channels=3)


def adapt(train, folder, cache, show=lambda *_: None, **options):
    network = Network.of_model(residual(), SHAPE, cache_dir=folder)
    # The model's JSON counts the models of a process.
    network = Network("residual", SHAPE, "residual", network.load, folder)
    builder = FineTuned(**{**OPTIONS, "cache_dir": cache, **options})
    return builder.adapt(network, PREPARATION, train, CLASSES, show)


def weights_of(adapted):
    return {weight.path: weight.numpy() for weight in adapted.network.model.weights}


def same(first, second):
    return all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize(
    ("layers", "changed"), [(0, set()), (1, {"closing"}), (2, {"closing", "inner"})]
)
def test_the_last_blocks_are_trained_and_all_else_is_as_it_was(
    train, folder, tmp_path, layers, changed
):
    before = {weight.path: weight.numpy() for weight in residual().weights}
    adapted = adapt(train, folder, tmp_path, layers=layers)
    after = weights_of(adapted)
    moved = {
        name.split("/")[0] for name in after if not np.array_equal(after[name], before.get(name))
    }
    assert moved == {*changed, SCORES}
    assert len(adapted.training) == 3
    assert adapted.train_seconds > 0


def test_normalization_learns_and_keeps_its_statistics(train, folder, tmp_path):
    before = {weight.path: weight.numpy() for weight in residual().weights}
    after = weights_of(adapt(train, folder, tmp_path, layers=3))
    kept = {name: np.array_equal(after[name], before[name]) for name in after if "shrunk" in name}
    assert kept == {
        "shrunk/gamma": False,
        "shrunk/beta": False,
        "shrunk/moving_mean": True,
        "shrunk/moving_variance": True,
    }


def test_it_learns_and_its_head_is_part_of_the_network(train, folder, tmp_path):
    adapted = adapt(train, folder, tmp_path, epochs=30, patience=None, batch_size=8)
    assert adapted.knows_labels
    network = adapted.network
    assert network.head == SCORES
    # The cuts are those of before: the head is none.
    assert network.cuts == ("first", "shrunk", "joined", "last")
    more = blobs(200, side=12, channels=3)
    backbone = network.backbone([SCORES])
    scores = backbone.maps(more.images)
    wanted = network.model.predict_on_batch(more.images)
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-4)
    assert (scores[:, 0, 0].argmax(axis=1) == more.labels).mean() > 0.9
    assert adapted.training[-1].loss < adapted.training[0].loss
    both = network.backbone([*network.cuts, SCORES])
    np.testing.assert_allclose(both.maps(more.images)[..., -3:], scores, rtol=1e-4, atol=1e-4)


def test_the_same_seed_trains_the_same_weights_and_the_cache_keeps_them(train, folder, tmp_path):
    options = {"versions": 2, "dropout": 0.3, "optimizer": "sgd"}
    first = adapt(train, folder, tmp_path / "a", **options)
    second = adapt(train, folder, tmp_path / "b", **options)
    assert not second.from_cache
    assert same(weights_of(first), weights_of(second))
    assert first.network.digest == second.network.digest
    # What is made of the maps later is not trained.
    third = adapt(train, folder, tmp_path / "a", mirrored=True, **options)
    assert third.from_cache
    assert same(weights_of(first), weights_of(third))
    assert third.training == first.training
    assert third.train_seconds == first.train_seconds
    for change in ({"seed": 1}, {"layers": 1}, {"crop": 0.1}, {"policy": "step"}):
        other = adapt(train, folder, tmp_path / "a", **{**options, **change})
        assert not other.from_cache
        assert not same(weights_of(first), weights_of(other))


def test_copies_that_move_the_choice_images_train_other_weights(train, folder, tmp_path):
    first = adapt(train, folder, tmp_path, epochs=1)
    pairs = replace(train, groups=np.arange(len(train)) // 2)
    assert pairs.digest == train.digest
    second = adapt(pairs, folder, tmp_path, epochs=1)
    assert not np.array_equal(first.unseen, second.unseen)
    assert not second.from_cache


def killed_after(epochs):
    def show(part, text):
        if text.startswith(f"epoch {epochs + 1} of"):
            raise KeyboardInterrupt

    return show


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_training_that_was_killed_goes_on_to_the_same_weights(train, folder, tmp_path, optimizer):
    options = {"optimizer": optimizer, "learning_rate": "auto", "policy": "plateau", "versions": 2}
    whole = adapt(train, folder, tmp_path / "whole", **options)
    cache = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        adapt(train, folder, cache, killed_after(2), **options)
    assert len([*cache.iterdir()]) == 1
    texts = []
    resumed = adapt(train, folder, cache, lambda part, text: texts.append(text), **options)
    assert not any(text.startswith(("epoch 1", "epoch 2", "trying")) for text in texts)
    assert same(weights_of(whole), weights_of(resumed))
    assert resumed.training == whole.training
    # What is left is the trained weights.
    assert len([*cache.iterdir()]) == 1


def test_a_damaged_state_is_left_alone(train, folder, tmp_path, caplog):
    whole = adapt(train, folder, tmp_path / "whole")
    cache = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        adapt(train, folder, cache, killed_after(2))
    [state] = cache.iterdir()
    state.write_bytes(state.read_bytes()[:-10])
    resumed = adapt(train, folder, cache)
    assert "A training that was killed starts over" in caplog.text
    assert same(weights_of(whole), weights_of(resumed))


def test_versions_are_seen_in_turn_and_computed_once(train, folder, tmp_path, monkeypatch):
    seen, maps = [], Backbone.maps
    monkeypatch.setattr(
        Backbone, "maps", lambda self, images: seen.append(len(images)) or maps(self, images)
    )
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    adapt(train, folder, tmp_path / "kept", versions=2, epochs=4)
    assert sum(seen) == 90 + 81
    seen.clear()
    adapt(train, folder, tmp_path / "new", versions=None, epochs=4)
    assert sum(seen) == 4 * 81


def test_choice_images_are_of_all_classes_and_are_not_trained_with(train, folder, tmp_path):
    training, choice = FineTuned(**OPTIONS)._roles(train, 3)
    assert len(choice) == 9
    assert {*train.labels[training]} == {*train.labels[choice]} == {0, 1, 2}
    assert sorted([*training, *choice]) == [*range(90)]
    few = train[[*np.unique(train.labels, return_index=True)[1]]]
    training, choice = FineTuned(**OPTIONS, choice_fraction=0.5)._roles(few, 3)
    assert (len(training), len(choice)) == (3, 0)


class Scripted:
    """Stands for a network whose loss on the choice images is told."""

    def __init__(self, losses, patience):
        policy = Policy("fixed", len(losses))
        self.plan = Plan(policy, 0.1, "adam", 0.9, 0.0, 4, 0.0, patience, 0)
        self._losses, self._epoch = cycle(losses), 0
        self.weights, self.optimizer = [None], type("", (), {"variables": []})

    def step(self, maps, labels, rate, key):
        return 1.0, len(labels)

    def judged(self, maps, labels):
        self._epoch += 1
        return next(self._losses), 0.5

    def values(self):
        return [np.array([self._epoch])], []


@pytest.mark.parametrize(
    ("losses", "patience", "epochs", "best"),
    [
        ([3.0, 2.0, 2.5, 2.1, 2.2, 1.0], 3, 5, 1),
        ([3.0, 2.0, 2.5, 2.1, 2.2, 1.0], None, 6, 5),
        ([3.0, 2.0, 2.0, 1.0, 2.0, 2.0], 2, 6, 3),
    ],
)
def test_it_ends_where_the_loss_no_longer_falls_and_keeps_the_best(
    tmp_path, losses, patience, epochs, best
):
    labels = np.zeros(8, np.int64)
    maps = np.zeros((8, 1, 1, 1), np.float32)
    trained = fit(
        Scripted(losses, patience),
        lambda rows, epoch: maps[rows],
        labels,
        (maps, labels),
        tmp_path / "state",
    )
    assert len(trained.epochs) == epochs
    assert trained.weights == [np.array([best])]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layers": 4}, "layers=4 is out of range: choose 0 to 3 blocks of residual."),
        ({"epochs": 0}, "epochs=0 is out of range"),
        ({"learning_rate": "fast"}, "learning_rate=fast is no rate"),
        ({"learning_rate": None}, "learning_rate=None is no rate"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 is out of range"),
        ({"optimizer": "adm"}, "optimizer=adm is unknown: did you mean adam"),
        ({"momentum": 2}, "momentum=2 is out of range"),
        ({"weight_decay": -1}, "weight_decay=-1 is out of range"),
        ({"batch_size": 0}, "batch_size=0 is out of range"),
        ({"dropout": 1}, "dropout=1 is out of range"),
        ({"patience": 0}, "patience=0 is out of range"),
        ({"choice_fraction": 0.6}, "choice_fraction=0.6 is out of range"),
        ({"versions": 0}, "versions=0 is out of range"),
        ({"crop": 1}, "crop=1 is out of range"),
        (
            {"learning_rate": 1e38, "optimizer": "sgd"},
            "learning_rate=1e[+]38 is too large, the training diverged",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_name_of_the_option(
    train, folder, tmp_path, options, sentence
):
    with pytest.raises(InputError, match=f"^{sentence}") as caught:
        adapt(train, folder, tmp_path, **options)
    assert caught.value.option == next(iter(options))


def changed(found, model):
    """Name the layers of a model whose weights are others now, and the weights that were added."""
    before = {weight.path: weight.numpy() for weight in model.weights}
    after = weights_of(found)
    moved = {path for path in after if path in before and (after[path] != before[path]).any()}
    return {path.partition("/")[0] for path in moved}, {*after} - {*before}


def normalized(side=12):
    """A network whose maker has frozen all of it, with a normalization in its last block."""
    keras = load_keras()
    layers = keras.layers
    images = keras.Input((side, side, 3))
    out = layers.Conv2D(4, 3, activation="relu", name="first")(images)
    out = layers.SeparableConv2D(6, 3, name="second", activation="relu")(out)
    out = layers.Conv2D(5, 3, use_bias=False, name="third")(out)
    out = layers.ReLU(name="last")(layers.BatchNormalization(name="scaled")(out))
    out = layers.Dense(7, "softmax", name="others")(layers.Flatten()(out))
    model = randomized(keras.Model(images, out, name="normalized"))
    model.trainable = False
    return model


@pytest.mark.parametrize(("layers", "trained"), [(0, set()), (1, {"third", "scaled"})])
def test_a_network_of_ones_own_is_trained_for_other_classes(train, tmp_path, layers, trained):
    model, path = normalized(), tmp_path / "mine.keras"
    model.save(path)
    builder = FineTuned(**{**OPTIONS, "path": path, "layers": layers, "cache_dir": tmp_path})
    assert builder.variant == "-mine"
    found = builder.adapt(builder.network(), PREPARATION, train, CLASSES)
    moved, added = changed(found, model)
    assert moved == trained
    assert added == {f"{SCORES}/kernel", f"{SCORES}/bias"}
    for statistic in ("moving_mean", "moving_variance"):
        kept = weights_of(found)[f"scaled/{statistic}"]
        np.testing.assert_array_equal(kept, getattr(model.get_layer("scaled"), statistic))
    assert (found.network.name, found.network.head) == ("fine-tuned mine", SCORES)
    # Its own head is left out: it ends before it.
    assert found.network.cuts == ("first", "second", "last")


def test_pixels_are_those_of_the_file(train, tmp_path):
    normalized().save(tmp_path / "mine.keras")
    builder = Pretrained(path=tmp_path / "mine.keras", pixels=(-1, 1))
    network = builder.network()
    images = np.random.default_rng(0).random((2, *SHAPE), np.float32)
    found = network.backbone(["last"], None).maps(images)
    [wanted] = maps_by_keras(network.model, ["last"], 2 * images - 1)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    # They may have taught it.
    assert builder.adapt(network, PREPARATION, train, CLASSES).knows_labels
    assert not Pretrained().adapt(network, PREPARATION, train, CLASSES).knows_labels


@pytest.mark.parametrize("option", [{"image_size": (9, 9)}, {"weights": "mine.h5"}])
def test_a_file_has_its_own_size_and_weights(option):
    [name] = option
    with pytest.raises(InputError, match=rf"^{name}=.* is not possible with path=mine\.k") as found:
        FineTuned(path="mine.keras", **option).network()
    assert found.value.option == name


def test_a_network_of_keras_applications_is_trained(train, tmp_path):
    build = load_keras().applications.MobileNet
    model = build(weights=None, include_top=False, input_shape=(32, 32, 3))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if "kernel" in weight.path:
            # Through 27 layers, what goes up stays as large.
            height, width, channels, kernels = weight.shape
            fan_in = height * width * (1 if kernels == 1 else channels)
            weight.assign(rng.normal(0, (2 / fan_in) ** 0.5, weight.shape))
    model.save_weights(tmp_path / "w.weights.h5")
    given = {"name": "MobileNet", "image_size": (32, 32), "weights": tmp_path / "w.weights.h5"}
    options = {**OPTIONS, **given, "layers": 1, "epochs": 1, "batch_size": 4}
    builder = FineTuned(**options, cache_dir=tmp_path)
    preparation = Preparation((32, 32), 3)
    found = builder.adapt(builder.network(), preparation, train[:12], CLASSES)
    moved, added = changed(found, model)
    assert moved == {"conv_dw_13", "conv_dw_13_bn", "conv_pw_13", "conv_pw_13_bn"}
    assert added == {f"{SCORES}/kernel", f"{SCORES}/bias"}


@pytest.mark.parametrize("layers", [1, 2])
def test_layers_that_are_also_used_below_are_not_trained(train, tmp_path, layers):
    keras = load_keras()
    again = keras.layers.Conv2D(3, 3, padding="same", activation="relu", name="again")
    images = keras.Input(SHAPE)
    between = keras.layers.Conv2D(3, 3, name="between")(again(images))
    network = Network.of_model(keras.Model(images, again(between), name="twice"), SHAPE)
    assert network.cuts == ("again", "between", "again:2")
    with pytest.raises(InputError, match=r"^layers=. is not possible for twice") as caught:
        FineTuned(**{**OPTIONS, "layers": layers}).adapt(network, PREPARATION, train, CLASSES)
    assert caught.value.option == "layers"
