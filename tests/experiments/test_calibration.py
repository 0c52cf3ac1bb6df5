"""A run that holds images out, and what is then said of how likely its answers are right."""

import csv
import io
import json
import sys

import mlflow
import numpy as np
import pytest
from PIL import Image

from experiments import predict
from experiments.mlflow_store import global_address
from experiments.reliability import Reliability
from experiments.tools import run_tool
from slicing.baselines import UntrainedCNN
from slicing.data import mnist
from slicing.engine.engine import Engine
from slicing.engine.recipe import Recipe
from tests.experiments.runs import run_here
from tests.experiments.test_report import read, rows_of


@pytest.fixture(scope="module")
def calibrated(tiny, tmp_path_factory):
    options = [
        "data.train_size=400", "data.calibration_fraction=0.25", "strategy.passes=0",
        "tracking.model=true",
    ]  # fmt: skip
    return run_here([*tiny, *options], tmp_path_factory.mktemp("calibrated"))


@pytest.fixture(scope="module")
def engine(calibrated):
    return Engine.load(calibrated.folder / "engine.safetensors")


@pytest.fixture(scope="module")
def data(digits):
    return mnist(directory=digits, train_size=400, test_size=60).hold_out(100, 0)


@pytest.fixture(scope="module")
def unseen(data):
    return data.read_test()


def test_what_is_held_out_taught_the_confidence_and_nothing_else(calibrated, engine, data):
    assert calibrated.run.data.tags["dataset.train_digest"] == data.train.digest
    stack = UntrainedCNN(filters=(2, 3)).build(data.train, data.classes).stack
    expected = Recipe(projection="none").build(stack, data.train, data.classes)
    np.testing.assert_array_equal(engine.references, expected.references)
    assert engine.confidence == expected.calibrated(data.calibration).confidence
    assert len(engine.labels) == 300


def test_the_report_holds_it_against_the_unseen(calibrated, engine, unseen):
    found = engine.evidence(unseen.images)
    like = ~found.outliers
    is_right = found.labels == unseen.labels
    expected = Reliability.of(found.confidences[like], is_right[like])
    summary = json.loads((calibrated.folder / "summary.json").read_text())
    assert summary["calibration_images"] == 100
    assert Reliability.read(summary["reliability"]["confidence"]) == expected
    assert list(summary["reliability"]) == ["confidence", "votes"]
    metrics = calibrated.run.data.metrics
    assert metrics["engine/confidence_brier"] == pytest.approx(expected.brier)
    page = read(calibrated.folder)
    assert "learned from 100 training images" in page.text
    _, _, bins = page.all("table", class_="figures")
    assert sum(int(row[1]) for row in rows_of(bins)[1:]) == like.sum()
    assert f"{60 - like.sum()} of 60 test images are." in page.text
    files = {each.path for each in calibrated.client.list_artifacts(calibrated.run.info.run_id)}
    assert "reliability.png" in files


@pytest.fixture
def predicted(calibrated, unseen, tmp_path, monkeypatch, capsys):
    """What ``experiments.predict`` prints for the test images."""
    for number, image in enumerate(unseen.images[:12, ..., 0]):
        Image.fromarray(np.rint(255 * image).astype(np.uint8)).save(tmp_path / f"{number:02}.png")
    file = calibrated.folder / "engine.safetensors"

    def run(*words):
        monkeypatch.setattr(
            sys, "argv", ["predict", f"engine={file}", f"images={tmp_path}", *words]
        )
        run_tool("experiments.predict", predict.Options, predict.main)
        return capsys.readouterr()

    return run


def test_predictions_say_what_they_rest_on(predicted, engine, unseen):
    found = engine.evidence(unseen.images[:12])
    names = [engine.classes[label] for label in found.labels]
    rows = json.loads(predicted("format=json").out)
    assert [row["class"] for row in rows] == names
    for name, column in (
        ("confidence", found.confidences), ("distance", found.distances), ("margin", found.margins)
    ):  # fmt: skip
        np.testing.assert_allclose([row[name] for row in rows], column, rtol=1e-12)
    header, *lines = csv.reader(io.StringIO(predicted("format=csv").out))
    evidence = ["confidence", "outlier", "distance", "margin"]
    assert header == ["image", "class", *evidence, *engine.classes]
    assert [line.pop(3) for line in lines] == ["False"] * 12
    values = np.array([line[2:] for line in lines], float)
    expected = found.confidences, found.distances, found.margins, *found.shares.T
    np.testing.assert_allclose(values, np.column_stack(expected), rtol=1e-12)
    printed = predicted()
    cells = [line.split("|")[2:7] for line in printed.out.splitlines()[2:]]
    assert [[cell.strip() for cell in line] for line in cells] == [
        [name, f"{confidence:.2f}", f"{share:.2f}", f"{distance:.3g}", f"{margin:.2f}"]
        for name, confidence, share, distance, margin in zip(
            names, found.confidences, found.shares.max(axis=1), found.distances, found.margins,
            strict=True,
        )
    ]  # fmt: skip
    assert printed.err == ""


def test_a_black_picture_has_no_confidence(predicted, calibrated, tmp_path):
    Image.new("L", (28, 28)).save(tmp_path / "black.png")
    *others, black = json.loads(predicted("format=json").out)
    assert (black["confidence"], black["outlier"]) == (None, True)
    assert not any(row["outlier"] for row in others)
    _, *_, line = csv.reader(io.StringIO(predicted("format=csv").out))
    assert line[2:4] == ["", "True"]
    printed = predicted()
    assert printed.out.splitlines()[-1].split("|")[3].strip() == "outlier"
    assert printed.err.startswith("An outlier is unlike all images that taught the confidence")
    with global_address(calibrated.client.tracking_uri):
        [output] = calibrated.run.outputs.model_outputs
        model = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
        black = np.zeros((1, 28, 28, 1), np.float32)
        [record] = model.predict(black, params={"evidence": True})
    assert (record["confidence"], record["outlier"]) == (None, True)


def test_an_engine_without_a_confidence_says_how_to_get_one(predicted, engine, calibrated, unseen):
    file = calibrated.folder / "engine.safetensors"
    content = file.read_bytes()
    engine.remove_class("9").save(file)
    try:
        assert "holds out, data.calibration_fraction=0.1 of them" in predicted().err
        assert {row["confidence"] for row in json.loads(predicted("format=json").out)} == {None}
        _, *lines = csv.reader(io.StringIO(predicted("format=csv").out))
        assert {line[2] for line in lines} == {""}
    finally:
        file.write_bytes(content)


def test_the_served_model_says_it_too(calibrated, engine, unseen, monkeypatch):
    with global_address(calibrated.client.tracking_uri):
        [output] = calibrated.run.outputs.model_outputs
        model = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
        records = model.predict(unseen.images, params={"evidence": True})
    found = engine.evidence(unseen.images)
    assert [each["class"] for each in records] == engine.predict(unseen.images).tolist()
    for name, column in (
        ("share", found.shares.max(axis=1)), ("distance", found.distances),
        ("margin", found.margins),
    ):  # fmt: skip
        assert [each[name] for each in records] == column.tolist()
    certainties = [(each["confidence"], each["outlier"]) for each in records]
    assert certainties == found.certainties()
    json.dumps(records)
