import logging
import sys

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from slicing.backbones import network as networks
from slicing.backbones.conversion import Scaling
from slicing.backbones.network import Network
from slicing.backend import load_keras
from slicing.engine.engine import Engine
from slicing.errors import InputError
from slicing.stack import ConvStack
from tests.slicing.backbones.networks import maps_by_keras, randomized, residual

pytest.importorskip("tf2onnx")

SHAPE = (12, 12, 3)
IMAGES = np.random.default_rng(0).random((3, *SHAPE), np.float32)
CUTS = ("first", "shrunk", "joined", "last")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def network(folder):
    return Network.of_model(residual(), SHAPE, cache_dir=folder)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_cuts_are_at_the_ends_of_blocks(network):
    # Not before a depthwise convolution nor within a branch, and not in the head.
    assert network.cuts == CUTS


def test_cuts_lie_side_by_side_each_averaged(network):
    # In the order in which they are asked for.
    cuts = ("last", "first")
    backbone = network.backbone(cuts)
    wanted = maps_by_keras(network.model, cuts, IMAGES)
    averages = np.concatenate([each.mean((1, 2), keepdims=True) for each in wanted], axis=-1)
    close(backbone.maps(IMAGES), averages)
    assert (backbone.cuts, backbone.channels) == (cuts, (5, 4))


def test_maps_as_large_as_the_pool_come_as_they_are(network):
    (wanted,) = maps_by_keras(network.model, ["last"], IMAGES)
    close(network.backbone(["last"], wanted.shape[1]).maps(IMAGES), wanted)


@pytest.mark.parametrize("pool", [2, 3, 4])
def test_windows_cover_each_map(network, pool):
    cuts = ("first", "last")
    found = network.backbone(cuts, pool).maps(IMAGES)
    assert found.shape == (3, pool, pool, 9)
    pooled = []
    for maps in maps_by_keras(network.model, cuts, IMAGES):
        stride = maps.shape[1] // pool
        size = maps.shape[1] - (pool - 1) * stride
        starts = [number * stride for number in range(pool)]
        rows = [[maps[:, i : i + size, j : j + size].mean((1, 2)) for j in starts] for i in starts]
        pooled.append(np.array(rows).transpose(2, 0, 1, 3))
    close(found, np.concatenate(pooled, axis=-1))


def test_any_layer_that_gives_maps_can_be_named(network):
    backbone = network.backbone(["filter"])
    (wanted,) = maps_by_keras(network.model, ["filter"], IMAGES)
    close(backbone.maps(IMAGES)[:, 0, 0], wanted.mean((1, 2)))


@pytest.mark.parametrize(
    ("cuts", "pool", "sentence"),
    [
        (["lasst"], 1, r"^cuts=lasst is no layer of residual .*: did you mean last\b"),
        (["classes"], 1, r"^cuts=classes is no layer of residual that gives maps"),
        (["last"], 9, r"^pool=9 is out of range: choose 1 to 4 rows and columns, as cut last has"),
        (["first"], 0, r"^pool=0 is out of range"),
        ([], 1, r"^cuts=\[\] is not possible"),
        (["last", "last"], 1, "each once"),
    ],
)
def test_cuts_that_are_not_there_are_named(network, cuts, pool, sentence):
    with pytest.raises(InputError, match=sentence):
        network.backbone(cuts, pool)


def test_range_order_and_means_of_pixels_are_part_of_the_graph(tmp_path):
    model = residual()
    factors, offsets, order = (200.0, 210.0, 220.0), (-3.0, -5.0, -7.0), (2, 1, 0)
    scaling = Scaling(factors, offsets, order)
    backbone = Network.of_model(model, SHAPE, scaling, cache_dir=tmp_path).backbone(["last"], 4)
    (wanted,) = maps_by_keras(model, ["last"], IMAGES[..., ::-1] * factors + np.array(offsets))
    close(backbone.maps(IMAGES), wanted)


def test_models_within_models_are_cut_at_their_layers(tmp_path):
    keras = load_keras()
    inner = keras.Sequential(
        [
            keras.Input((12, 12, 4)),
            keras.layers.Conv2D(5, 3, name="conv", activation="tanh"),
            keras.layers.Dropout(0.5, name="dropped"),
            keras.layers.MaxPooling2D(name="pooled"),
        ],
        name="inner",
    )
    images = keras.Input(SHAPE)
    out = inner(keras.layers.Conv2D(4, 1, name="before")(images))
    out = keras.layers.Conv2D(2, 3, name="after")(out)
    model = randomized(keras.Model(images, keras.layers.Flatten()(out)))
    network = Network.of_model(model, SHAPE, cache_dir=tmp_path)
    assert network.cuts == ("before", "inner/pooled", "after")
    (wanted,) = [inner(model.get_layer("before")(IMAGES)).numpy()]
    close(network.backbone(["inner/pooled"], 5).maps(IMAGES), wanted)


def test_an_engine_names_every_image_as_keras_and_scikit_learn_do(network):
    images = np.random.default_rng(1).random((300, *SHAPE), np.float32)
    labels = np.arange(300) % 3
    maps = maps_by_keras(network.model, ["first", "last"], images)
    features = np.concatenate([each.mean((1, 2)) for each in maps], axis=1)
    theirs = KNeighborsClassifier(5, algorithm="brute").fit(features[:200], labels[:200])
    backbone = network.backbone(["first", "last"])
    references = backbone.maps(images[:200]).reshape(200, -1)
    stack = ConvStack((), backbone.map_shape)
    engine = Engine(stack, references, labels[:200], ("a", "b", "c"), k=5, backbone=backbone)
    np.testing.assert_array_equal(
        engine.predict_labels(images[200:]), theirs.predict(features[200:])
    )


def test_a_second_run_starts_no_model(network, folder):
    backbone = network.backbone(["last"])

    def load():
        raise AssertionError

    again = Network("again", SHAPE, network.digest, load, folder)
    assert again.backbone(["last"]).graph == backbone.graph
    assert again.cuts == network.cuts


def test_another_processor_converts_its_own(network, folder, monkeypatch):
    assert network.cuts == CUTS

    def load():
        raise LookupError

    monkeypatch.setattr(networks, "processor", lambda: "another")
    with pytest.raises(LookupError):
        Network("again", SHAPE, network.digest, load, folder).backbone(["last"])


def test_other_weights_are_another_network(network, folder):
    other = Network.of_model(residual(seed=1), SHAPE, cache_dir=folder)
    assert other.digest != network.digest
    assert other.backbone(["last"]).digest != network.backbone(["last"]).digest


def test_a_damaged_graph_is_made_again(tmp_path, caplog):
    model = residual()
    graph = Network.of_model(model, SHAPE, cache_dir=tmp_path).backbone(["last"]).graph
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = Network.of_model(model, SHAPE, cache_dir=tmp_path).backbone(["last"])
    assert "is damaged" in caplog.text
    assert again.graph == graph


def test_a_folder_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").touch()
    network = Network.of_model(residual(), SHAPE, cache_dir=tmp_path / "file" / "folder")
    with caplog.at_level(logging.WARNING):
        assert network.backbone(["last"]).map_shape == (1, 1, 5)
    assert "cannot be cached" in caplog.text


def test_the_folder_stays_within_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "LIMIT", 1)
    for seed in range(2):
        assert Network.of_model(residual(seed=seed), SHAPE, cache_dir=tmp_path).cuts
    assert len([*tmp_path.iterdir()]) == 1


def test_a_model_without_a_graph_of_layers_is_refused(tmp_path):
    keras = load_keras()

    class Own(keras.Model):
        def call(self, images):
            return images

    with pytest.raises(InputError, match="does not say what its layers are connected to"):
        Network("own", SHAPE, "0", lambda: (Own(), Scaling()), tmp_path).backbone(["x"])


def test_a_network_without_maps_is_refused(tmp_path):
    keras = load_keras()
    model = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(InputError, match="give one with convolutions"):
        Network.of_model(model, SHAPE, cache_dir=tmp_path).backbone(["flatten"])


def test_a_network_that_draws_numbers_is_refused(tmp_path):
    keras = load_keras()
    images = keras.Input(SHAPE)
    out = keras.layers.GaussianNoise(1.0)(images, training=True)
    model = keras.Model(images, keras.layers.Conv2D(2, 3, name="conv")(out))
    with pytest.raises(InputError, match=r"random numbers"):
        Network.of_model(model, SHAPE, cache_dir=tmp_path).backbone(["conv"])
    assert not [*tmp_path.iterdir()]


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tf2onnx.tfonnx", None)
    with pytest.raises(InputError, match=r"pip install -c constraints.txt -e '\.\[pretrained\]'"):
        Network.of_model(residual(), SHAPE, cache_dir=tmp_path).backbone(["last"])
