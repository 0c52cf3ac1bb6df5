"""One file, one answer: the command line, Python, MLflow and the exported graphs agree on it."""

import mlflow
import numpy as np
import pytest
from PIL import Image

from experiments.mlflow_store import global_address
from experiments.predict import find_images, predict
from slicing.data.preparation import Preparation
from slicing.engine.engine import Engine
from slicing.engine.export import to_litert, to_onnx
from tests.experiments.runs import run_here
from tests.slicing.baselines.fitted import save_fitted
from tests.slicing.data.pictures import photo, save
from tests.slicing.engine.test_export import run_litert, run_onnx

CLASSES = {"dark": (-120, -120, -120), "green": (-60, 120, -60), "red": (120, -60, -60)}
SIDE = 12


def exif(picture, path):
    """A photo of a camera that was held upright."""
    data = picture.getexif()
    data[0x0112] = 6
    save(picture, path.with_suffix(".JPG"), exif=data, quality=95)


def alpha(picture, path):
    """A picture that is transparent on one side."""
    layer = np.tile(np.linspace(0, 255, picture.width).astype(np.uint8), (picture.height, 1))
    picture.putalpha(Image.fromarray(layer))
    save(picture, path.with_suffix(".png"))


def cmyk(picture, path):
    save(picture.convert("CMYK"), path.with_suffix(".jpeg"), quality=95)


def palette(picture, path):
    save(picture.quantize(64), path.with_suffix(".gif"))


KINDS = (exif, alpha, cmyk, palette)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Photos of all kinds and shapes, and a network with branches that was fitted to them."""
    project = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(0)
    for number in range(20):
        for name, tint in CLASSES.items():
            part = "test" if number >= 16 else "train"
            size = tuple(rng.integers(SIDE, 90, 2).tolist())
            path = project / "photos" / part / name / str(number)
            KINDS[number % len(KINDS)](photo(number, size, tint), path)
    pytest.importorskip("tf2onnx")
    preparation = Preparation((SIDE, SIDE), 3, "crop")
    train = find_images(str(project / "photos/train"))
    labels = np.array([[*CLASSES].index(path.parent.name) for path in train])
    images = np.stack([preparation.of_file(path) for path in train]) / np.float32(255)
    save_fitted(project / "net.keras", images, labels)
    return project


@pytest.mark.parametrize("frozen", [True, False])
def test_a_file_gets_the_same_answer_everywhere(frozen, project, tmp_path):
    own = ["baseline=file", f"baseline.path={project / 'net.keras'}"]
    random = [
        "baseline=random", "baseline.filters=[4]", "baseline.pooling=[true]", "data.channels=3",
        f"data.image_size=[{SIDE},{SIDE}]", "fitness=neighbors", "slicing.projection=none",
        "strategy.max_evaluations=20", "strategy.generations=1",
    ]  # fmt: skip
    done = run_here(
        [
            "data=folder", f"data.directory={project / 'photos'}", "data.fit=crop", "threads=1",
            "tracking.model=true", *(own if frozen else random),
        ],
        tmp_path,
    )  # fmt: skip
    paths = find_images(str(project / "photos/test"))
    engine = Engine.load(done.folder / "engine.safetensors")
    preparation = engine.for_files()
    pixels = np.stack([preparation.of_file(path) for path in paths])
    # Stretched instead, they would be others.
    stretched = Preparation(preparation.image_size, 3)
    assert sum((stretched.of_file(path) != preparation.of_file(path)).any() for path in paths) > 6

    # What the run itself said of them.
    with np.load(done.folder / "predictions.npz") as arrays:
        answers = arrays["sliced" if frozen else "evolved"]
        by_name = dict(zip(arrays["names"].tolist(), answers.tolist(), strict=True))
    wanted = [by_name[f"{path.parent.name}/{path.name}"] for path in paths]
    assert len({*wanted}) > 1

    names = [engine.classes[label] for label in wanted]
    assert engine.predict(pixels).tolist() == names
    assert [row.name for row in predict(engine, paths)] == names
    [output] = done.run.outputs.model_outputs
    images = pixels / np.float32(255)
    with global_address(done.client.tracking_uri):
        model = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    assert model.predict(images).tolist() == names
    assert run_onnx(to_onnx(engine), images)[0].tolist() == wanted
    assert run_litert(to_litert(engine), images)[0].tolist() == wanted

    # Who has another form than the engine is told how a file becomes pixels.
    rule = f"slicing.data.preparation.{preparation}.of_file"
    assert rule in model.metadata.metadata["files"]
    assert rule.encode() in to_onnx(engine)
    assert rule.encode() in to_litert(engine)
