"""The study beside other systems: what each is given, what is kept of it, and the tables."""

import json
import multiprocessing
import sys
import time
from dataclasses import asdict, replace
from multiprocessing.pool import ThreadPool
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks import study, study_systems
from benchmarks.study import DATA, OURS, Job, main, measure
from benchmarks.study_report import Cell, report
from benchmarks.study_systems import LABELS, PACKAGES, SYSTEMS, TEST, TRAIN, Given, Model, drawn
from evolve.trials.space import Parameter, label
from experiments.overrides import check
from experiments.programs import STUDY
from experiments.statistics import Accuracy
from experiments.study.families import families
from slicing.data import mnist5k

CELL = Cell(
    "mnist5k", 2.0, "flaml", 0, 125.0, 0.1, test=Accuracy(900, 1000), found=60.0, bytes=3000
)


@pytest.mark.parametrize("data", DATA)
def test_its_commands_are_possible(data):
    job = Job(data, 2.0, OURS, 1)
    place = ["data.directory=photos"] if data == "flowers17" else []
    (config,) = check([*job.words, *place], program=STUDY)
    assert ("data.seed=1" in job.words) == (data == "flowers17")
    assert config.data._target_.startswith("slicing.data.")


def rows_of(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_a_table_has_means_and_says_what_failed():
    cells = [
        CELL,
        replace(CELL, seed=1, seconds=130.0, test=Accuracy(920, 1000)),
        replace(CELL, system=OURS, overhead=1.25),
        replace(CELL, minutes=0.5, system="autokeras", test=None, found=None, bytes=None, why="no"),
        replace(CELL, data="cifar10"),
    ]
    rows = rows_of(report(cells, "mnist5k"))
    assert rows[2] == ["0.5", "AutoKeras", "0 of 1", "none", "-", "95", "-", "-"]
    assert rows[3] == ["2", "a study", "1", "90.00", "60", "5", "3,000", "1.0"]
    assert rows[4][2:] == ["2", "91.00 ± 1.41", "60", "10", "3,000", "-"]
    assert rows[6] == ["- AutoKeras, 0.5 minutes, seed 0: no."]
    assert Cell.read(json.loads(json.dumps(asdict(cells[3])))) == cells[3]


@pytest.fixture(scope="module")
def digits():
    part = mnist5k().train[:90]
    return study.pixels(part), part.labels


@pytest.fixture
def folder(tmp_path, digits):
    images, labels = digits
    np.save(tmp_path / TRAIN, images[:60])
    np.save(tmp_path / LABELS, labels[:60])
    np.save(tmp_path / TEST, images[60:])
    return tmp_path


def test_scikit_learn_hands_over_the_best_in_cross_validation(folder, digits, monkeypatch):
    # joblib asks for one, too.
    contexts = {None: multiprocessing.get_context(), "spawn": SimpleNamespace(Pool=ThreadPool)}
    monkeypatch.setattr(multiprocessing, "get_context", lambda kind=None: contexts[kind])
    some = [each for each in study_systems.candidates(0) if each[0] == "hog"][:2]
    monkeypatch.setattr(study_systems, "candidates", lambda seed: iter(some))
    images, labels = digits
    # Far away, and a time that one can wait for.
    model = SYSTEMS["sklearn"](images[:60], labels[:60], Given(folder, 4e9, 0))
    accuracies = [study_systems._judge(place, 0).accuracy for place in range(2)]
    assert model.file.stat().st_size > 1000
    feature, best = some[int(np.argmax(accuracies))]
    predicted = model.predict(images[60:])
    assert (predicted == best.predict(study_systems.FEATURES[feature](images[60:]))).all()
    assert (predicted == labels[60:]).mean() > 0.5


def test_a_system_answers_once_it_has_saved_its_model(folder, digits, monkeypatch):
    def first(images, labels, given):
        assert len(images) == len(labels) == 60
        (given.folder / "model").write_bytes(b"12345")
        return Model(lambda test: np.full((len(test), 1), "3"), given.folder / "model", 7.0)

    monkeypatch.setitem(SYSTEMS, "first", first)
    study_systems.main(["first", str(folder), "1e12", "0"])
    result = json.loads((folder / "result.json").read_text())
    assert (result["bytes"], result["found"]) == (5, 7.0)
    assert np.load(folder / "answers.npy").ravel().tolist() == [3] * 30


class Draws:
    """Draws the first choice, and the lowest of a range, as KerasTuner would."""

    def __init__(self):
        self.drawn = {}

    def Choice(self, name, values):  # noqa: N802
        return self.drawn.setdefault(name, values[0])

    def Float(self, name, low, high, step, sampling):  # noqa: N802
        self.drawn[name] = sampling
        return low

    def Int(self, name, low, high, step):  # noqa: N802
        return self.drawn.setdefault(name, low)


def test_keras_tuner_draws_from_the_family_of_networks():
    (family,) = families(["cnn"])
    draws = Draws()
    values = family.values(lambda *each: drawn(draws, *each), {"files": False})
    options = family.options(values, 0)
    assert options["baseline.filters"] == [32, 64, 64]
    assert draws.drawn["network"] == label(values["network"])
    assert draws.drawn["baseline.learning_rate"] == "log"
    assert "data.image_size" not in values
    assert drawn(draws, "layers", Parameter(low=2, high=6)) == 2
    model = study_systems.network(options, (28, 28, 1), 10)
    assert model.output_shape == (None, 10)
    assert [layer.name for layer in model.layers if "conv" in layer.name] == [
        "conv1", "conv2", "conv3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import sys; print('boom', file=sys.stderr); sys.exit(3)", "failed: boom"),
        ("import time; time.sleep(60)", "had no model after 1 s and was ended"),
        ("pass", ""),
    ],
)
def test_a_system_that_gives_nothing_is_said_to(program, why, monkeypatch):
    monkeypatch.setattr(study, "_PATIENCE", 2)
    job = Job("mnist5k", 1 / 120, "flaml", 0)
    assert study._run([sys.executable, "-S", "-c", program], job, {}) == why


def test_the_cell_of_a_peer(monkeypatch):
    def pretend(command, job, environment):
        place = study.Path(command[4])
        assert (np.load(place / TRAIN).shape, len(np.load(place / TEST))) == (
            (4000, 28, 28, 1),
            1000,
        )
        assert 1100 < float(command[5]) <= 1120
        np.save(place / "answers.npy", np.full(1000, 4))
        (place / "result.json").write_text(
            json.dumps({"ended": 1130.0, "found": 1009.0, "bytes": 12})
        )
        return ""

    monkeypatch.setattr(study, "_run", pretend)
    monkeypatch.setattr(study, "time", SimpleNamespace(time=lambda: 1000.0))
    cell = measure(Job("mnist5k", 2.0, "sklearn", 0))
    assert (cell.test.correct, cell.test.total, cell.bytes) == (100, 1000, 12)
    assert (round(cell.overrun), round(cell.found)) == (10, 9)
    assert "scikit-learn" in cell.versions


def test_photos_have_one_size_and_their_own_split(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(8):
            pixels = np.random.default_rng(number).integers(0, 255, (20, 30, 3), np.uint8)
            pixels[0, 0] = ord(name)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    first, second = (Job("flowers17", 1.0, "flaml", seed, tmp_path).dataset() for seed in (0, 1))
    assert study.pixels(first.train).shape == (8, 64, 64, 3)
    assert {*first.train.paths} != {*second.train.paths}


def test_the_cell_of_a_study(monkeypatch):
    def pretend(command, job, environment):
        (output,) = (word for word in command if word.startswith("output="))
        place = study.Path(output.partition("=")[2])
        place.mkdir()
        assert environment["XDG_CACHE_HOME"].startswith(str(place.parent))
        trials = [{"number": n, "ended": time.time() + n, "family": "cnn"} for n in range(3)]
        (place / "summary.json").write_text(json.dumps({
            "trials": trials, "winner": 2, "refit": None, "as_tried": {"correct": 5, "total": 9},
            "engine_bytes": 77, "overhead": 0.5, "versions": {"numpy": "2"},
        }))  # fmt: skip
        return ""

    monkeypatch.setattr(study, "_run", pretend)
    cell = measure(Job("mnist5k", 2.0, OURS, 3))
    assert cell.command == "python -m experiments.study data=mnist5k seed=3 budget.minutes=2"
    assert (cell.test, cell.bytes, cell.winner) == (Accuracy(5, 9), 77, "cnn")
    assert 2 <= cell.found < 3
    assert cell.seconds < 1


def test_cells_that_are_there_are_not_measured_again(tmp_path, monkeypatch, capsys):
    file, measured = tmp_path / "study.json", []

    def pretend(job):
        measured.append((job.system, job.seed))
        return replace(CELL, system=job.system, seed=job.seed)

    monkeypatch.setattr(study, "measure", pretend)
    monkeypatch.setattr(study, "_is_installed", lambda system: system == "sklearn")
    words = ["--systems", "sklearn", "autokeras", "flaml", "--json", str(file)]
    main([*words, "--seeds", "1"])
    main([*words, "--seeds", "2"])
    assert measured == [("sklearn", 0), ("sklearn", 1)]
    assert len(json.loads(file.read_text())["cells"]) == 2
    said = capsys.readouterr().err
    assert "autokeras is left out, it is not installed: it needs Keras below 3.13" in said
    assert "flaml is left out, it is not installed: " in said
    assert "[study-peers]" in said
    for wrong, sentence in (
        (["--data", "flowers17"], "--data flowers17 needs --directory"),
        (["--minutes", "0"], "--seeds is 1 or more, and --minutes are above 0."),
    ):
        with pytest.raises(SystemExit):
            main(wrong)
        assert capsys.readouterr().err.startswith(sentence)


def test_every_system_names_its_packages():
    assert {*PACKAGES} == {*SYSTEMS}
    assert study._is_installed("sklearn")
