"""The table of photos: its commands are possible, and a cell says what its run has found."""

import json
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from benchmarks import photos
from benchmarks.photos import JOBS, Cell, Job, main, measure, report, seconds_of
from experiments.overrides import check
from slicing.errors import InputError

CELL = Cell(
    "flowers17", "lite0", "20 a class", 0, "python", 200, {"baseline": 120, "sliced": 180}, "k-NN",
    4000, None, None, None,
)  # fmt: skip


@pytest.mark.parametrize("job", {job.name: job for job in JOBS}.values(), ids=lambda job: job.name)
def test_its_commands_are_possible(job):
    (config,) = check([*job.options, "data.directory=photos"])
    assert config.data._target_.endswith({"flowers17": "files", "cifar10": "cifar10"}[job.data])


def rows_of(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_a_table_has_its_means_its_deviations_and_no_empty_column():
    cells = [
        CELL,
        replace(CELL, seed=1, correct={"baseline": 120, "sliced": 184}),
        # The first once more, for its seconds.
        replace(CELL, seconds=90.0, pass_seconds=45.0),
        replace(CELL, training="40 a class", correct={"sliced": 190}),
        replace(CELL, data="cifar10", name="few", training="1,000 a class"),
    ]
    header, _, first, second = rows_of(report(cells, "flowers17"))
    assert dict(zip(header, first, strict=True)) == {
        "what is sliced": "Lite0",
        "training images": "20 a class",
        "goal, %": "95",
        "its engine, %": "91.00 ± 1.41",
        "not sliced, %": "60.00 ± 0.00",
        "engine bytes": "4,000",
        "minutes": "1.5",
        "the pass, %": "50",
    }
    assert second[3:] == ["95.00", "-", "4,000", "-", "-"]


def test_what_evolution_started_from_stands_beside_it():
    evolved = replace(
        CELL, correct={"sliced": 180, "evolved": 182, "engine": 181}, evolution={"p": 0.5}
    )
    header, _, row = rows_of(report([evolved], "flowers17"))
    assert header[3:5] == ["its engine, %", "not evolved, %"]
    assert row[3:5] == ["90.50", "90.00"]


def test_the_seconds_of_a_task_end_where_another_begins():
    said = [(0.5, "Reading"), (1.0, "features 0%"), (3.0, "features 50%"), (4.0, "cuts 0%")]
    said += [(6.0, "features 0%: no more"), (6.5, "Drawing the features")]
    assert seconds_of("features", said) == 3.5
    assert seconds_of("training", said) == 0.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for part, n in (("train", 20), ("test", 5)):
        for label in ("a", "b"):
            place = folder / part / label
            place.mkdir(parents=True)
            for number in range(n):
                pixels = rng.integers(0, 128, (12, 12, 3), np.uint8)
                pixels[:, 6:] += np.uint8(120 * (label == "b"))
                Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


def test_a_cell_says_what_its_run_has_found(folder):
    job = Job("flowers17", "shallow", "", "", ("data=folder", "baseline=logistic_regression"))
    cell = measure(job, 3, folder, True)
    assert cell.command == (
        "python -m experiments.run data=folder baseline=logistic_regression data.seed=3 "
        "tracking.model=false"
    )
    assert cell.total == 10
    assert {*cell.correct} == {"baseline", "sliced"}
    assert cell.percent("baseline") > 50
    assert (cell.evolution, cell.pass_seconds) == (None, 0.0)
    assert cell.engine_bytes > 0 < cell.seconds


def test_a_run_that_fails_is_named_with_what_it_said(folder):
    job = Job("flowers17", "wrong", "", "", ("data=folder", "slicing.k=900", "baseline=svm"))
    with pytest.raises(InputError, match=r"slicing\.k=900 .* has failed: (?s:.*)k=900"):
        measure(job, 0, folder, False)


def test_cells_that_are_there_are_not_run_again(tmp_path, monkeypatch, capsys):
    measured, results = [], tmp_path / "photos.json"

    def pretend(job, seed, folder, cold):
        measured.append((job.training, seed, cold))
        seconds = 9.0 if cold else None
        return replace(CELL, training=job.training, seed=seed, seconds=seconds)

    monkeypatch.setattr(photos, "measure", pretend)
    results.write_text(json.dumps({"cells": [asdict(CELL)]}))
    command = ["photos", "--directory", "flowers", "--networks", "lite0", "--seeds", "1"]
    for more in ([], ["--cold"], []):
        monkeypatch.setattr(sys, "argv", [*command, "--json", str(results), *more])
        main()
    others = [("40 a class", 0, False), ("60 a class", 0, False)]
    assert measured == [*others, *((f"{n} a class", 0, True) for n in (20, 40, 60))]
    assert len(json.loads(results.read_text())["cells"]) == 6
    assert "90.00" in capsys.readouterr().out
