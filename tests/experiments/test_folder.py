"""A run on a user's own images, with names and files of every kind, from its command line."""

import json
import os
import re
import unicodedata

import numpy as np
import pytest
from PIL import Image

from slicing.data import folder
from slicing.engine.engine import Engine
from tests.experiments.runs import (
    command_line,
    finish,
    give_store,
    run_folder,
    run_here,
    runs_of,
)

# Bytes that are no UTF-8, what steers a terminal, cells and lines of tables, mathematics.
NAMES = [b"\xff\xfe|a", b"\x1b[2J\n# x", b"=1+$x^$ \xf0\x9f\x8c\xbb", "é".encode()]
SHOWN = [r"\udcff\udcfe|a", r"\u001b[2J\u000a# x", "=1+$x^$ 🌻", "é"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A run on noise: each class of copies of few images, some of them in two classes."""
    project = tmp_path_factory.mktemp("project")
    noise = np.random.default_rng(0).integers(0, 256, (7, 12, 14, 3), dtype=np.uint8)
    root = project / os.fsdecode(b"photos\xff")
    for label, name in enumerate(NAMES):
        place = root / unicodedata.normalize("NFD", os.fsdecode(name))
        place.mkdir(parents=True)
        for number in range(12):
            image = Image.fromarray(noise[(label + number % 4) % 7])
            image.save(place / f"{os.fsdecode(name)[:3]}{number}.jfif", "PNG")
    (root / "notes.txt").write_text("about")
    (place / "cut.jpg").write_bytes(b"\xff\xd8\xff")
    give_store(project)
    arguments = [
        "data=folder", f"data.directory='{root}'", "data.max_unreadable=1", "+debug=quick",
        "data.duplicate_radius=null",
        "baseline=random", "baseline.filters=[4,6]", "slicing.projection=none",
        "fitness=neighbors", "fitness.neighbors=8", "strategy.max_evaluations=20", "threads=1",
        "tracking.model=false", f"name='{os.fsdecode(NAMES[1])}'",
        # In parts, and its folder composed or not.
        f"new.classes=['{unicodedata.normalize('NFD', SHOWN[-1])}']", "new.images=[1]",
    ]  # fmt: skip
    return project, finish(command_line(arguments, project, encoding="utf-8"))


def test_the_preset_for_photos(tmp_path):
    """Three colors, told apart by their channel alone."""
    for channel, name in enumerate(("green", "plum", "sky")):
        for number in range(10):
            pixels = np.zeros((40, 50, 3), np.uint8)
            pixels[..., channel] = 100 + 10 * number
            place = tmp_path / "photos" / ("test" if number % 5 == 0 else "train") / name
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{number}.jpg")
    result = run_here(
        [
            "+experiment=photos", "+debug=quick", f"data.directory={tmp_path / 'photos'}",
            "baseline.epochs=2", "baseline.filters=[3,4,5]", "threads=1", "tracking.model=false",
            "strategy.max_evaluations=20",
        ],
        tmp_path,
    )  # fmt: skip
    assert result.kernels["conv1_weights"].shape == (3, 3, 3, 3)
    assert result.summary.networks["evolved"].test.total == 6
    assert result.summary.networks["sliced"].name == "sliced, lda, averaged over 1 px, not evolved"


def test_it_runs_to_its_end(project):
    _, process = project
    assert process.code == 0, process.err
    assert set(process.out + process.err).isdisjoint(map(chr, [*range(10), *range(11, 32)]))


def test_the_first_lines_say_what_was_read(project):
    _, process = project
    # Of 47 images, a fifth are for testing; those of the new class come off.
    line = r"3 classes, \d\d training images of photos\\udcff-3of4, each 28 x 28 pixels, gray, /"
    assert re.search(line, process.err)
    for note in (
        "1 file passed over: no images (notes.txt).",
        "1 file left out: they cannot be read as images (cut.jpg).",
        "Color is dropped: data.channels=3 keeps it.",
    ):
        assert note in process.err.splitlines()


def test_equal_images_are_no_secret(project):
    where, process = project
    found = run_folder(where)
    summary = json.loads((found / "summary.json").read_text())
    data = folder(
        directory=next(where.glob("photos*")), max_unreadable=1, train_size=200, test_size=50,
        duplicate_radius=None,
    )  # fmt: skip
    data = data.of_classes([name for name in data.classes if name != SHOWN[-1]])
    test = data.read_test()
    equal = (test.images[:, None] == data.train.images).all(axis=(2, 3, 4)).any(axis=1).sum()
    found_copies = summary["quality"]["duplicates"]
    assert found_copies["test_in_training"] >= equal > 0
    assert found_copies["contradictions"] > 0
    sentence = (
        f"{found_copies['test_in_training']} test images are copies of training images, which "
        "flatters all accuracies"
    )
    # What the training images say by themselves, before hours of work.
    said = "training images"
    assert process.err.index(said) < process.err.index("Measuring the loss before evolution")
    for text in (process.err, process.out, *map(text_of, found.glob("*.log"))):
        assert sentence in text
    report = text_of(found / "report.html")
    assert sentence in report
    assert "test images that are copies of training images</th>" in report
    # The files themselves, small, under the name that can be shown.
    assert re.search(
        r'src="data:image/jpeg;base64,[^"]+" alt="An image of [^"]+">[^<]+\.jfif <', report
    )


def text_of(path):
    return path.read_text("utf-8")


def test_all_that_is_left_can_be_read(project):
    where, _ = project
    found = run_folder(where)
    with np.load(found / "predictions.npz") as predictions:
        names, labels = predictions["names"], predictions["labels"]
    classes = Engine.load(found / "engine.safetensors").classes
    assert sorted(classes) == sorted(SHOWN[:-1])
    assert [name.partition("/")[0] for name in names] == [classes[label] for label in labels]
    for name in ("summary.md", "report.html", "run.log", "events.jsonl", "blocks.csv"):
        text = text_of(found / name)
        assert set(text).isdisjoint(map(chr, [*range(9), *range(14, 32)])), name
    report = text_of(found / "report.html")
    assert any(f"Image {name}" in report for name in names)
    _, [run] = runs_of(where)
    assert run.info.run_name == SHOWN[1]
    assert run.data.params["data.directory"].endswith(r"photos\udcff")
