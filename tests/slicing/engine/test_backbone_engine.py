"""Engines with a frozen network below: one file that takes images, and is not trusted."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slicing import tensor_file
from slicing.backbones.maps import MapsAtHand, through
from slicing.data.dataset import Images
from slicing.data.image_files import ImageFiles
from slicing.data.preparation import Preparation
from slicing.engine import recipe
from slicing.engine.engine import Engine
from slicing.errors import InputError
from slicing.stack import ConvStack
from tests.slicing.backbones.colors import mean_colors

pytest.importorskip("onnxruntime")

CLASSES, KIND = ("blue", "green", "red"), "knn-slicing engine 1"
PREPARATION = Preparation((6, 6), 3, "crop")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Photos of several sizes, each mostly of the color of its class."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    paths, labels = [], np.arange(30) % 3
    for number, label in enumerate(labels):
        pixels = rng.integers(0, 120, (*rng.integers(7, 30, 2), 3), np.uint8)
        pixels[..., 2 - label] += 100
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
    contents = np.array([f"{number:32}".encode() for number in range(30)]).view("V32")
    return ImageFiles(np.array(paths), labels, np.array([p.name for p in paths]), contents)


@pytest.fixture(scope="module")
def maps(files, tmp_path_factory):
    return through(mean_colors(), PREPARATION, files, cache=tmp_path_factory.mktemp("maps"))


def on_maps(maps, backbone, storage="float32", preparation=PREPARATION):
    """Make an engine as a run does: on maps, the backbone is put below at the end."""
    options = recipe.Recipe(k=3, projection="pda", shift=0, storage=storage, metric="cosine")
    built = options.build(ConvStack((), maps.images.shape[1:]), maps, CLASSES)
    parts = {
        name: getattr(built, name)
        for name in ("stack", "references", "labels", "classes", "k", "metric", "step", "average")
    }
    return Engine(**parts, backbone=backbone, preparation=preparation)


@pytest.fixture(scope="module", params=["float32", "int8"])
def engine(request, maps):
    return on_maps(maps, mean_colors(), request.param)


def test_files_give_what_their_maps_give(engine, files, maps, tmp_path):
    engine.save(tmp_path / "engine.safetensors")
    loaded = Engine.load(tmp_path / "engine.safetensors")
    assert (tmp_path / "engine.safetensors").stat().st_size == engine.total_bytes
    assert loaded.input_shape == (6, 6, 3)
    assert loaded.for_files() == PREPARATION
    with pytest.raises(InputError, match=r"^max_megapixels=1e-05 is fewer than images of 6 x 6"):
        loaded.for_files(1e-5)
    assert loaded.backbone.cuts == ("color", "mixed")
    assert loaded.n_parameters == engine.backbone.n_parameters + engine.stack.n_parameters
    pixels = files.prepared(loaded.for_files())
    storage = "int8" if engine.step else "float32"
    at_hand = on_maps(maps, MapsAtHand.of(mean_colors()), storage, None)
    for each in (engine, loaded):
        np.testing.assert_array_equal(each.votes(pixels), at_hand.votes(maps.images))
    assert loaded.score(pixels, files.labels) > 0.9
    assert loaded._packed() == engine._packed()


def test_uint8_and_shares_of_pixels_are_one(engine, files):
    pixels = files.prepared(PREPARATION)
    shares = files.read(PREPARATION).images
    np.testing.assert_array_equal(engine.votes(pixels), engine.votes(shares))
    assert engine.evidence(pixels).labels.tolist() == engine.predict_labels(shares).tolist()
    with pytest.raises(InputError, match="must be from 0 to 1"):
        engine.predict(shares * 255)
    with pytest.raises(InputError, match=r"takes images of shape \(6, 6, 3\), not \(7, 7, 3\)"):
        engine.predict(np.zeros((1, 7, 7, 3), np.float32))


def test_a_class_is_learned_from_images(engine, files):
    yellow = np.full((3, 6, 6, 3), [230, 230, 20], np.uint8) - np.uint8([[[[0]]], [[[5]]], [[[9]]]])
    more = engine.add_class(yellow, "yellow")
    assert more.backbone is engine.backbone
    assert more.preparation == PREPARATION
    assert set(more.predict(yellow + 3)) == {"yellow"}
    assert more.remove_class("yellow").score(files.prepared(PREPARATION), files.labels) > 0.9


def test_calibration_takes_images(engine, files):
    held_out = files[np.arange(12)].read(PREPARATION)
    calibrated = engine.calibrated(held_out)
    assert calibrated.evidence(held_out.images).confidences.shape == (12,)


def test_it_works_without_tensorflow(files, maps, tmp_path):
    """What answers needs ONNX and its runtime alone."""
    engine = on_maps(maps, mean_colors())
    engine.save(tmp_path / "engine.safetensors")
    np.save(tmp_path / "pixels.npy", files.prepared(PREPARATION))
    code = (
        "import json, sys, numpy as np; from slicing.engine.engine import Engine;"
        "engine = Engine.load('engine.safetensors');"
        "print(json.dumps(engine.predict(np.load('pixels.npy')).tolist()));"
        "assert not {'tensorflow', 'keras', 'tf2onnx', 'sklearn', 'evolve'} & set(sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    expected = engine.predict(files.prepared(PREPARATION)).tolist()
    assert json.loads(found.stdout) == expected


def test_a_picture_of_nothing_gets_no_confidence(files, maps):
    """Also where the confidence was learned on maps of 1 x 1, which have no contrast."""
    at_hand = MapsAtHand.of(mean_colors())
    learned = on_maps(maps[np.arange(18)], at_hand, preparation=None).calibrated(
        maps[np.arange(18, 30)]
    )
    engine = replace(learned, backbone=mean_colors(), preparation=PREPARATION)
    found = engine.evidence(files.prepared(PREPARATION))
    np.testing.assert_array_equal(
        found.confidences, learned.evidence(maps.images, maps.contrasts).confidences
    )
    assert not found.outliers[18:].any()
    # Each of one color, as near to the references as photos of the same mean color.
    means = files.read(PREPARATION).images[:18].mean(axis=(1, 2), keepdims=True)
    flat = engine.evidence(np.tile(means, (1, 6, 6, 1)))
    assert (flat.distances < learned.confidence.farthest).all()
    assert flat.outliers.all()


def test_parts_of_other_shapes_are_refused(engine, maps):
    with pytest.raises(InputError, match=r"gives maps of shape \(1, 1, 3\), and the stack takes"):
        on_maps(maps, mean_colors(cuts=("color",)))
    with pytest.raises(InputError, match=r"Files become images of shape \(6, 6, 3\), and"):
        on_maps(maps, mean_colors(side=4))


def _with_settings(**changed):
    return lambda settings, arrays: settings.update(changed)


def _with_graph(graph):
    def change(settings, arrays):
        arrays["backbone"] = np.frombuffer(graph, np.uint8)

    return change


def _that_reads_a_file(settings, arrays):
    import onnx

    model = onnx.load_model_from_string(arrays["backbone"].tobytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    arrays["backbone"] = np.frombuffer(model.SerializeToString(), np.uint8)


@pytest.mark.parametrize(
    "change",
    [
        _with_graph(b""),
        _with_graph(b"\x80\x04cposix\nsystem\n"),
        _with_graph(b"\xff" * 100),
        _with_graph(mean_colors().graph[:-20]),
        _with_graph(mean_colors(cuts=("color",)).graph),
        _with_graph(mean_colors(side=5).graph),
        _that_reads_a_file,
        lambda settings, arrays: arrays.pop("backbone"),
        lambda settings, arrays: arrays.update(backbone=arrays["backbone"].astype(np.int16)),
        lambda settings, arrays: arrays.update(backbone=arrays["backbone"][None]),
        _with_settings(backbone=None),
        _with_settings(backbone="colors"),
        _with_settings(backbone=["colors", ["color"], [3]]),
        _with_settings(backbone=["colors", ["color", "mixed"], [3.0, 2.0]]),
        _with_settings(backbone=["colors", ["color", "mixed"], [2, 2]]),
        _with_settings(backbone=["colors", 5, [3, 2]]),
        _with_settings(preparation=[[6, 6], 1, "crop"]),
        _with_settings(preparation=[[6, 6], 3, "squeeze"]),
        _with_settings(preparation=[[6.0, 6], 3, "crop"]),
        _with_settings(preparation=[[6], 3, "crop"]),
        _with_settings(preparation="crop"),
        _with_settings(preparation={}),
    ],
)
def test_a_hostile_file_is_refused_in_a_sentence(maps, tmp_path, change):
    path = tmp_path / "engine.safetensors"
    on_maps(maps, mean_colors()).save(path)
    settings, arrays = tensor_file.read(path, KIND)
    change(settings, arrays)
    path.write_bytes(tensor_file.pack(KIND, settings, arrays))
    with pytest.raises(InputError) as caught:
        Engine.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_images_at_hand_teach_as_files_do(files, maps, tmp_path):
    """Pictures that are arrays of the same pixels become the same maps."""
    square = PREPARATION.image_size
    at_hand = files.read(PREPARATION)
    found = through(mean_colors(), Preparation(square, 3), at_hand, cache=tmp_path)
    assert isinstance(at_hand, Images)
    np.testing.assert_array_equal(found.images, maps.images)


def test_an_engine_is_not_blamed_for_a_missing_package(engine, tmp_path, monkeypatch):
    engine.save(tmp_path / "engine.safetensors")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"^ONNX is not installed: "):
        Engine.load(tmp_path / "engine.safetensors")
