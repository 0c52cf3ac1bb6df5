"""A network of one's own that is no plain chain of layers: from a file to answers."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from experiments.predict import predict
from slicing.data.preparation import Preparation
from slicing.engine.engine import Engine
from slicing.errors import InputError
from tests.experiments.runs import run_here
from tests.slicing.baselines.fitted import save_fitted
from tests.slicing.data.pictures import photo, save

pytest.importorskip("tf2onnx")

TINTS = {"dark": (-120, -120, -120), "green": (-60, 120, -60), "red": (120, -60, -60)}
N_TRAIN, N_TEST = 15, 5


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Photos of three classes, and a network that was fitted to them, in pixels of 0 to 255."""
    project = tmp_path_factory.mktemp("project")
    paths = {"train": [], "test": []}
    for number in range(N_TRAIN + N_TEST):
        part = "train" if number < N_TRAIN else "test"
        for name, tint in TINTS.items():
            path = project / "photos" / part / name / f"{number}.png"
            paths[part].append(save(photo(number, (20, 16), tint), path))
    model = save_fitted(project / "net.keras", pixels(paths["train"]), np.arange(45) % 3)
    # Its own answers, by Keras.
    answers = model.predict_on_batch(pixels(paths["test"])).argmax(axis=1)
    return project, paths["test"], answers


def pixels(paths):
    return np.stack([Preparation((12, 12), 3).of_file(path) for path in paths]).astype(np.float32)


def words(project, *more):
    return [
        "data=folder", f"data.directory={project / 'photos'}", "baseline=file",
        f"baseline.path={project / 'net.keras'}", "tracking.model=false", *more,
    ]  # fmt: skip


def test_a_network_with_branches_is_cut_sliced_and_answers_for_files(project, tmp_path):
    folder, paths, answers = project
    done = run_here(words(folder, "baseline.pixels=[0,255]"), tmp_path)
    with np.load(done.folder / "predictions.npz") as arrays:
        # As folders are read: all of one class, then the next.
        order = np.argsort(np.arange(len(paths)) % 3, kind="stable")
        names = [f"{paths[index].parent.name}/{paths[index].name}" for index in order]
        places = [arrays["names"].tolist().index(name) for name in names]
        np.testing.assert_array_equal(arrays["baseline"][places], answers[order])
        np.testing.assert_array_equal(arrays["labels"][places], order % 3)
        sliced = arrays["sliced"][places]
    assert done.summary.networks["baseline"].test.correct == (answers[order] == order % 3).sum()
    assert done.summary.baseline_warning is None
    # It knows these photos: it may not judge their labels.
    assert " thumbnails of 9 x 8 pixels" in done.summary.quality.probe
    engine = Engine.load(done.folder / "engine.safetensors")
    assert engine.backbone.name == "net"
    found = predict(engine, [paths[index] for index in order])
    assert [each.name for each in found] == [engine.classes[label] for label in sliced]


def test_another_range_of_pixels_is_found_out_before_it_is_cut(project, tmp_path):
    with pytest.raises(InputError, match=r"^baseline\.pixels=\[0,1\] is not the range.*\[0,255\]"):
        run_here(words(project[0]), tmp_path)


def test_a_place_is_named_as_in_a_pretrained_network(project, tmp_path):
    given = "baseline.pixels=[0,255]", "slicing.cut=joined"
    done = run_here(words(project[0], *given, "data.image_size=[12,12]"), tmp_path)
    engine = Engine.load(done.folder / "engine.safetensors")
    assert engine.backbone.cuts == ("joined",)
    with pytest.raises(
        InputError, match=r"^slicing\.cut=nowhere is no layer of residual"
    ) as caught:
        run_here(words(project[0], *given[:1], "slicing.cut=nowhere"), tmp_path)
    assert caught.value.option == "slicing.cut"
    other = words(project[0], *given[:1], "data.image_size=[32,32]")
    with pytest.raises(InputError, match=r"^data\.image_size=\[32.* takes data\.image_size=\[12"):
        run_here(other, tmp_path)


def test_a_shallow_classifier_sees_the_maps_of_a_cut(project, tmp_path):
    folder, paths, _ = project
    others = [each for each in words(folder) if not each.startswith("baseline=")]
    done = run_here(
        [
            *others, "baseline=logistic_regression", "baseline.features=maps", "baseline.C=0.1",
            "baseline.pixels=[0,255]", "slicing.cut=[joined,last]",
        ],
        tmp_path,
    )  # fmt: skip
    assert done.summary.title.startswith("logistic_regression-net-")
    rows = done.summary.networks
    assert [*rows] == ["baseline", "sliced"]
    assert rows["sliced"].name.startswith("k-NN on the maps")
    assert done.summary.train_seconds > 0
    # It sees what the k-NN beside it sees.
    engine = Engine.load(done.folder / "engine.safetensors")
    assert engine.backbone.cuts == ("joined", "last")
    assert rows["baseline"].total_bytes > engine.backbone.total_bytes
    train = sorted((folder / "photos" / "train").rglob("*.png"))
    labels = np.array([[*TINTS].index(path.parent.name) for path in train])
    maps, tested = (
        engine.backbone.maps(np.stack([engine.preparation.of_file(path) for path in some]))[:, 0, 0]
        for some in (train, paths)
    )
    model = LogisticRegression(C=0.1, max_iter=1000)
    mean, deviation = maps.mean(), maps.std()
    model.fit((maps - mean) / deviation, labels)
    wanted = model.predict((tested - mean) / deviation)
    with np.load(done.folder / "predictions.npz") as arrays:
        names = arrays["names"].tolist()
        places = [names.index(f"{path.parent.name}/{path.name}") for path in paths]
        np.testing.assert_array_equal(arrays["baseline"][places], wanted)
    assert rows["baseline"].test.value > 0.7


def test_kernels_on_its_maps_are_evolved(project, tmp_path):
    folder, paths, _ = project
    others = [each for each in words(folder) if not each.startswith("baseline=")]
    done = run_here(
        [
            *others, "baseline=efficientnet_lite0", "baseline.pixels=[0,255]", "baseline.kernels=3",
            "slicing.cut=joined", "slicing.pool=3", "fitness=neighbors", "slicing.projection=none",
            "strategy.generations=2", "strategy.max_evaluations=60", "threads=1",
        ],
        tmp_path,
    )  # fmt: skip
    assert done.summary.evaluations > 0
    assert done.summary.loss_after < done.summary.loss_before
    engine = Engine.load(done.folder / "engine.safetensors")
    # The network below is frozen, and its maps are what the kernels see.
    assert engine.backbone.cuts == ("joined",)
    [conv] = engine.stack.convs
    assert conv.weights.shape[-1] == 3
    assert any(np.array_equal(conv.weights, each) for each in done.kernels.values())
    wanted = [engine.classes[label] for label in engine.predict_labels(
        np.stack([engine.preparation.of_file(path) for path in paths])
    )]  # fmt: skip
    assert [each.name for each in predict(engine, paths)] == wanted
