"""Adaptive systems over several seeds: one small cell, and the tables."""

import json

import numpy as np
import pytest

from benchmarks import adaptive
from benchmarks.output import Output


class NoStore:
    """MLflow takes seconds to make a store; tests/experiments/adaptive has one."""

    def __init__(self, **options):
        pass

    def __getattr__(self, name):
        return lambda *given, **named: None


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    words = [
        "data.train_size=1000", "data.test_size=60", "data.calibration_fraction=0.4", "timed=5",
        "baseline=random", "filters=[[1],[6]]", "slicing.per_class=4", "folds=2", "threads=1",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.adaptive.program.MLflowRun", NoStore)
        found = [adaptive.cell("mnist5k", seed, words) for seed in (0, 1)]
    Output("--json", folder / "adaptive.json").write_json({"cells": found})
    return json.loads((folder / "adaptive.json").read_text("utf-8"))["cells"]


def test_a_cell_has_its_command_and_all_selectors(cells):
    one, two = cells
    assert one["command"].startswith("python -m experiments.adaptive ")
    assert two["command"].endswith("seed=1")
    assert len(one["summary"]["selectors"]) == 7
    assert "folder" not in one["summary"]


def test_the_tables_have_means_over_the_seeds(cells):
    text = adaptive.report(cells)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    [cascade] = [row for row in rows if row[1:2] == ["cascade"]]
    found = [
        each["times_faster"]
        for cell in cells
        for each in cell["summary"]["selectors"]
        if each["name"] == "cascade"
    ]
    assert cascade[0] == "mnist5k, 2 seeds"
    wholes = [cell["summary"]["assembled"] for cell in cells]
    adds_up = all(abs(each["parts"] / each["milliseconds"] - 1) <= 0.1 for each in wholes)
    assert cascade[2] == (f"{np.mean(found):.2f}" if adds_up else "-")
    named = [row[1] for row in rows if row[:1] == ["mnist5k"]]
    assert named == ["0", "1", "none", "noise", "blur", "turned"]


def test_what_is_distorted_is_still_an_image():
    images = np.random.default_rng(0).random((3, 9, 9, 1)).astype(np.float32)
    found = dict(adaptive.distorted(images))
    np.testing.assert_array_equal(found["none"], images)
    for each in found.values():
        assert (each.dtype, each.shape) == (np.float32, images.shape)
        assert 0 <= each.min() <= each.max() <= 1
    assert found["blur"].std() < images.std() < found["noise"].std()
