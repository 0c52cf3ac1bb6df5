import sys

import numpy as np
import pytest

from slicing.backbones.applications import application, scaling_of
from slicing.backbones.named import named
from slicing.backend import load_keras
from slicing.errors import InputError
from tests.slicing.backbones.networks import maps_by_keras, randomized

pytest.importorskip("tf2onnx")

SIZE = (64, 48)
IMAGES = np.random.default_rng(0).random((2, *SIZE, 3), np.float32)


def untrained(name):
    """Give a network without weights, and how it prepares pixels of 0 to 255."""
    build = getattr(load_keras().applications, name)
    model = build(weights=None, include_top=False, input_shape=(*SIZE, 3))
    return model, sys.modules[build.__module__].preprocess_input


@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        ("MobileNetV2", ("block_15_add", "block_16_project_BN")),
        ("MobileNetV3Small", ("expanded_conv_6_project_bn", "expanded_conv_7_add")),
        ("EfficientNetV2B0", ("block5e_add", "block6a_project_bn")),
    ],
)
def test_maps_are_those_of_keras_on_what_the_network_was_trained_on(name, cuts, tmp_path):
    model, prepare = untrained(name)
    model.save_weights(tmp_path / "w.weights.h5")
    network = application(name, SIZE, tmp_path / "w.weights.h5", cache_dir=tmp_path)
    where = network.cuts.index(cuts[0])
    assert network.cuts[where : where + 2] == cuts
    wanted = maps_by_keras(model, cuts, prepare(255 * IMAGES))
    averages = np.concatenate([each.mean((1, 2)) for each in wanted], axis=-1)
    found = network.backbone(cuts).maps(IMAGES)[:, 0, 0]
    np.testing.assert_allclose(found, averages, atol=1e-5 * np.abs(averages).max())


@pytest.mark.parametrize("module", ["mobilenet_v2", "resnet", "densenet", "efficientnet"])
def test_pixels_are_prepared_as_by_keras(module):
    prepare = getattr(load_keras().applications, module).preprocess_input
    wanted = prepare(255 * IMAGES)
    np.testing.assert_allclose(scaling_of(prepare)(IMAGES), wanted, rtol=1e-5, atol=1e-5)


@pytest.fixture
def downloads(monkeypatch):
    """Names of the files that were downloaded; each is what ``give`` says."""
    load_keras()
    from keras.src.utils import file_utils

    asked = []

    def get_file(name, url, **options):
        asked.append(name)
        if isinstance(get_file.give, Exception):
            raise get_file.give
        return str(get_file.give)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    get_file.asked = asked
    return get_file


def test_weights_of_imagenet_are_downloaded_when_they_are_needed(downloads, tmp_path):
    model, _ = untrained("MobileNet")
    randomized(model).save_weights(tmp_path / "w.weights.h5")
    downloads.give = tmp_path / "w.weights.h5"
    network = named("MobileNet", SIZE)
    assert not downloads.asked
    for one, two in zip(network.model.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    assert [name.endswith("no_top.h5") for name in downloads.asked] == [True]


def test_without_a_network_there_is_one_sentence(downloads):
    downloads.give = Exception("URL fetch failure on https://x.y/z: None -- unknown host")
    with pytest.raises(InputError, match=r"^weights of MobileNet .* \(URL fetch failure on .*\): "):
        named("MobileNet", SIZE).backbone(["conv1_relu"])


@pytest.mark.parametrize("content", [b"", b"no weights", b"\x89HDF\r\n\x1a\n and nothing else"])
def test_a_file_that_holds_no_weights_is_refused(content, tmp_path):
    path = tmp_path / "w.weights.h5"
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"^weights=.* (are no weights of MobileNet|is no file of)"
    ):
        application("MobileNet", SIZE, path, cache_dir=tmp_path).backbone(["conv1_relu"])


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "w.weights.h5"
    load_keras().Sequential([load_keras().Input((3,)), load_keras().layers.Dense(2)]).save_weights(
        path
    )
    with pytest.raises(InputError, match=r"^weights=.* are no weights of MobileNet"):
        application("MobileNet", SIZE, path, cache_dir=tmp_path).backbone(["conv1_relu"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("MobilNetV2",), r"^name=MobilNetV2 is unknown: did you mean MobileNetV2\?"),
        (("imagenet_utils",), r"^name=imagenet_utils is unknown"),
        (("Xception", (32, 32)), r"^image_size=\[32, 32\] is not possible for Xception"),
        (("MobileNet", None, "none.h5"), r"^weights=none.h5 cannot be read"),
        (("efficientnet_lite0", None, "w.h5"), r"^weights=w.h5 is not possible with efficientnet"),
        (("efficientnet_lite7",), r"^version=7 is out of range"),
    ],
)
def test_what_is_not_there_is_named(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        named(*arguments).backbone(["x"])


@pytest.mark.parametrize("name", ["InceptionV3", "NASNetMobile", "EfficientNetB1"])
def test_images_have_the_size_it_was_trained_on(name):
    # A head of 1000 classes is built for that size alone.
    model = getattr(load_keras().applications, name)(weights=None)
    assert application(name).input_shape == model.input_shape[1:]
