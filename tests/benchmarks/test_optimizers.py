"""The comparison of optimizers on a small network, and once on a few digits."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ttest_1samp

from benchmarks import optimizers, timed_evolution
from benchmarks.optimizers import Scene
from benchmarks.optimizers_report import (
    _LINES,
    CONTROL,
    Case,
    Overhead,
    Results,
    Run,
    _losses_at,
    mean_interval,
)
from benchmarks.output import Output
from benchmarks.timed_evolution import Evolution, evolve
from evolve.block import kernels
from evolve.events import BlockEnd, Generation
from evolve.optimizers import BY_NAME, CMAES, DeapCMAES, RandomSearch
from evolve.schedule import Serial
from evolve.schedule_options import ScheduleOptions
from slicing.data import Dataset, Images
from slicing.stack import Conv, ConvStack, Pool
from tests import figures

FEW = ["--references", "150", "--queries", "50", "--kernels", "2", "--generations", "2",
       "--seeds", "2"]  # fmt: skip
# Of a kernel with 4 input channels, and of a layer of 6 of them.
DIM, BUDGET = 37, 2 * 14 + 1
LAYER_DIM, LAYER_BUDGET = 222, 20 + 1
TESTS = {"1000", "1100"}


def make_scene(data, n_references, n_queries):
    rng = np.random.default_rng(0)
    patterns = rng.random((3, 12, 12, 1))

    def images(n):
        labels = rng.integers(0, 3, n)
        pixels = patterns[labels] + 0.7 * rng.normal(size=(n, 12, 12, 1))
        return Images(pixels.clip(0, 1).astype(np.float32), labels)

    def conv(n_in, n_out):
        weights = rng.normal(size=(3, 3, n_in, n_out)).astype(np.float32)
        return Conv(weights, np.zeros(n_out, np.float32))

    train, tests = images(n_references + n_queries), images(1100)
    return Scene(
        Dataset("patterns", tuple("abc"), train, lambda: tests),
        train[:n_references],
        train[n_references:],
        SimpleNamespace(predict_labels=lambda images: np.zeros(len(images), np.int64)),
        ConvStack((conv(1, 4), Pool(), conv(4, 6)), (12, 12, 1)),
    )


@pytest.fixture
def _small(monkeypatch):
    monkeypatch.setattr(Scene, "load", make_scene)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The files of a run, and what it printed; not to be changed."""
    folder = tmp_path_factory.mktemp("optimizers")
    printed = io.StringIO()
    with redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scene, "load", make_scene)
        figures.draw(patch)
        run(folder)
    return folder, printed.getvalue()


def run(folder, *arguments):
    files = ["--json", str(folder / "r.json"), "--figure", str(folder / "r.png")]
    optimizers.main([*FEW, *files, *arguments])


def content(folder):
    return json.loads((folder / "r.json").read_text())


def complaint(arguments, capsys):
    """What a run that ends with exit code 2 says."""
    with pytest.raises(SystemExit) as ended:
        optimizers.main(arguments)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


def cells(text, name):
    """A row of the table."""
    [row] = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in row.strip("|").split("|")][1:]


def test_all_optimizers_get_the_same(finished):
    results = content(finished[0])
    [case] = results["cases"]
    assert case["blocks"] == ["conv2[0]", "conv2[1]"]
    assert (case["dim"], case["evaluations"], case["refused"]) == (DIM, BUDGET, {})
    runs = results["runs"]
    assert [(each["seed"], each["optimizer"]) for each in runs] == [
        (seed, name) for seed in range(2) for name in BY_NAME
    ]
    for each in runs:
        assert set(each) == {field.name for field in fields(Run)}
        assert each["evaluations"] == 2 * BUDGET == each["curve_evaluations"][-1]
        assert each["curve_losses"][0] == runs[0]["curve_losses"][0]
        assert each["curve_losses"][-1] == pytest.approx(each["loss"], abs=1e-6)
        assert each["loss"] <= each["curve_losses"][0] + 1e-6
        assert set(each["correct"]) == TESTS
        assert 500 < each["correct"]["1000"] <= each["correct"]["1100"] <= 1100
    assert len({each["loss"] for each in runs}) > len(BY_NAME)
    assert [network["name"] for network in results["networks"]] == ["CNN", "sliced, not evolved"]
    assert results["networks"][1]["loss"] == pytest.approx(runs[0]["curve_losses"][0])


def test_seconds_inside_are_a_part_of_all(finished):
    results = content(finished[0])
    for each in results["runs"]:
        assert 0 < each["optimizer_seconds"] < each["seconds"]
    assert [each["optimizer"] for each in results["overheads"]] == list(BY_NAME)
    for each in results["overheads"]:
        assert len(each["seconds"]) == len(each["optimizer_seconds"]) == 2
        for inside, seconds in zip(each["optimizer_seconds"], each["seconds"], strict=True):
            assert 0 < inside < seconds


def test_the_table_says_what_the_file_holds(finished):
    results, printed = content(finished[0]), finished[1]
    runs = {
        name: [each for each in results["runs"] if each["optimizer"] == name] for name in BY_NAME
    }
    for name in BY_NAME:
        all_tests, tests, loss, less, evaluations, seconds, *inside = cells(printed, name)
        for n, cell in (("1100", all_tests), ("1000", tests)):
            right = [100 * each["correct"][n] / int(n) for each in runs[name]]
            assert cell == "{:.2f} ({:.2f} to {:.2f})".format(*mean_interval(right))
        losses = [each["loss"] for each in runs[name]]
        assert loss == "{:.4f} ({:.4f} to {:.4f})".format(*mean_interval(losses))
        control = [each["loss"] for each in runs[CONTROL]]
        differences = [a - b for a, b in zip(losses, control, strict=True)]
        expected = "{:.4f} ({:.4f} to {:.4f})".format(*mean_interval(differences))
        assert less == ("-" if name == CONTROL else expected)
        assert evaluations == str(2 * BUDGET)
        assert float(seconds) == pytest.approx(
            np.mean([each["seconds"] for each in runs[name]]), abs=0.051
        )
        shares = [each["optimizer_seconds"] / each["seconds"] for each in runs[name]]
        assert float(inside[0]) == pytest.approx(100 * np.mean(shares), abs=0.051)
        [each] = [each for each in results["overheads"] if each["optimizer"] == name]
        shares = np.divide(each["optimizer_seconds"], each["seconds"])
        assert float(inside[1]) == pytest.approx(100 * np.median(shares), abs=0.051)
    for network in results["networks"]:
        assert float(cells(printed, network["name"])[1]) == network["correct"]["1000"] / 10
    assert "at most 30 %" in printed
    assert "cma 4" in printed.splitlines()[-1]


def test_a_line_for_every_optimizer(finished):
    with Image.open(finished[0] / "r.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert set(_LINES) == set(BY_NAME)
    for color, _ in _LINES.values():
        wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert (np.abs(pixels - wanted).max(axis=2) < 40).sum() > 50


@pytest.mark.usefixtures("_small")
def test_going_on_repeats_nothing(finished, tmp_path, monkeypatch, capsys):
    before = content(finished[0])
    rest = before | {"runs": before["runs"][:-2], "overheads": before["overheads"][:-1]}
    (tmp_path / "r.json").write_text(json.dumps(rest))
    evolved = []
    monkeypatch.setattr(
        optimizers,
        "evolve",
        lambda fitness, blocks, kind, *rest: (
            evolved.append(kind) or evolve(fitness, blocks, kind, *rest)
        ),
    )
    run(tmp_path)
    # The first warms up, the last is the overhead.
    assert [kind.__name__ for kind in evolved] == [
        "RandomSearch", "PSOLocal", "RandomSearch", "RandomSearch",
    ]  # fmt: skip
    after = content(tmp_path)
    assert after["runs"][:-2] == before["runs"][:-2]
    for old, new in zip(before["runs"], after["runs"], strict=True):
        for what in set(old) - {"seconds", "optimizer_seconds"}:
            assert old[what] == new[what]

    evolved.clear()
    capsys.readouterr()
    run(tmp_path)
    assert evolved == []
    assert content(tmp_path) == after
    assert cells(capsys.readouterr().out, "pso")


@pytest.mark.usefixtures("_small")
def test_other_settings_are_refused(finished, capsys):
    path = str(finished[0] / "r.json")
    before = content(finished[0])
    for arguments, what in (
        (["--generations", "3"], "cases"),
        (["--seeds", "3"], "cases"),
        (["--hand-over", "best"], "hand_over"),
        (["--references", "160"], "references"),
    ):
        err = complaint([*FEW, "--json", path, *arguments], capsys)
        assert err == (
            f"--json {path} holds the results of another run, in which {what} differs: name "
            "another file.\n"
        )
    assert content(finished[0]) == before


@pytest.mark.parametrize("text", ["", "[]", '{"cases": []}', '{"origin": 1, "cases": []}'])
def test_a_file_of_something_else_is_refused(text, tmp_path):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(Exception, match=r"other\.json holds something else: name another file"):
        Results("", {}, [], Output("--json", path))


@pytest.mark.usefixtures("_small")
def test_what_has_ended_survives_an_interruption(tmp_path, monkeypatch, capsys):
    count = 0

    def interrupt(*arguments):
        nonlocal count
        count += 1
        if count > 3:
            raise KeyboardInterrupt
        return evolve(*arguments)

    monkeypatch.setattr(optimizers, "evolve", interrupt)
    with pytest.raises(SystemExit) as ended:
        run(tmp_path)
    assert ended.value.code == 130
    assert [each["optimizer"] for each in content(tmp_path)["runs"]] == ["cmaes", "sep_cmaes"]
    row = cells(capsys.readouterr().out, "sep_cmaes (1 of 2 seeds)")
    assert row[3] == "-"  # there is no random search yet
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.json", "r.png"]


@pytest.mark.usefixtures("_small")
def test_who_does_not_take_a_layer_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(DeapCMAES, "max_dim", 100)
    monkeypatch.setattr(CMAES, "max_dim", 200)
    run(tmp_path, "--case", "kernel,layer", "--generations", "1", "--seeds", "1")
    kernel, layer = content(tmp_path)["cases"]
    assert kernel["refused"] == {}
    assert layer["refused"] == {"cmaes": 200, "deap_cmaes": 100}
    assert (layer["dim"], layer["evaluations"]) == (LAYER_DIM, LAYER_BUDGET)
    runs = [each for each in content(tmp_path)["runs"] if each["case"] == "layer"]
    taken = [name for name in BY_NAME if name not in layer["refused"]]
    assert [each["optimizer"] for each in runs] == taken
    assert {each["evaluations"] for each in runs} == {LAYER_BUDGET}
    _, text = capsys.readouterr().out.split("**layer**")
    for name in layer["refused"]:
        assert set(cells(text, name)) == {"refused", "-"}
    for name in taken:
        assert len(cells(text, name)) == 7  # no second share of time
    assert "Refused: cmaes more than 200, deap_cmaes more than 100 dimensions" in text
    with Image.open(tmp_path / "r.png") as image:
        assert image.height > image.width  # two panels


def test_a_few_digits(tmp_path, capsys):
    few = ["--data", "mnist5k", "--references", "100", "--queries", "10", "--generations", "1"]
    files = ["--json", str(tmp_path / "r.json")]
    optimizers.main([*few, "--kernels", "1", "--seeds", "1", *files])
    results = content(tmp_path)
    assert {each["evaluations"] for each in results["runs"]} == {21}
    assert set(results["networks"][0]["correct"]) == {"1000"}
    assert min(each["correct"]["1000"] for each in results["runs"]) > 500
    row = cells(capsys.readouterr().out, "cmaes")
    assert not any("to" in cell for cell in row)  # one seed has no interval


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--case", "network"], "--case network is unknown: choose from kernel, layer."),
        (["--case", "kernel,"], "--case  is unknown"),
        (["--kernels", "0"], "--kernels 0 is not possible: give 1 or more."),
        (["--kernels", "7"], "--kernels 7 is too many: the last convolution has 6."),
        (["--generations", "0"], "--generations 0 is not possible"),
        (["--seeds", "-1"], "--seeds -1 is not possible"),
        (["--references", "99"], "--references 99 is too few: give 100 or more."),
        (["--json", "/nowhere/r.json"], "--json /nowhere/r.json cannot be written ("),
        (["--figure", "/"], "--figure / is a folder"),
    ],
)
@pytest.mark.usefixtures("_small")
def test_a_mistake_is_one_sentence(arguments, sentence, capsys):
    err = complaint([*FEW, *arguments], capsys)
    assert err.startswith(sentence)
    assert err.count("\n") == 1


def test_too_many_images_are_a_mistake(capsys):
    err = complaint(["--data", "mnist5k", "--references", "4000"], capsys)
    assert err.startswith("The images cannot be had: train_size=4800 is out of range")


def test_without_mnist_there_is_a_way_out(monkeypatch, capsys):
    monkeypatch.setenv("MNIST_DIR", "/nowhere")
    err = complaint([], capsys)
    assert err.startswith("The images cannot be had: /nowhere is not a folder: set MNIST_DIR to a ")
    assert err.endswith("or take --data mnist5k.\n")
    assert err.count("\n") == 1


@pytest.fixture
def scene():
    return make_scene("patterns", 150, 50)


def test_timing_changes_nothing(scene):
    one, other = scene.fitness(), scene.fitness()
    blocks = kernels(scene.stack)
    evolution = evolve(one, blocks, CMAES, 3, "mean", 1)
    events = list(Serial(other, blocks, CMAES, ScheduleOptions(3, order="layer"), seed=1))
    assert evolution.events == events
    assert one.stack.equals(other.stack)


def test_all_that_an_optimizer_does_is_timed(scene, monkeypatch):
    """By a clock that only the optimizer and the fitness let move on."""
    now = 0

    def take(seconds):
        nonlocal now
        now += seconds

    class Slow(RandomSearch):
        def __init__(self, *arguments):
            take(1)
            super().__init__(*arguments)

        def _ask(self):
            take(1)
            return super()._ask()

        def _tell(self, candidates, losses):
            take(1)

        def _stop(self):
            take(1)
            return {}

        def _mean(self):
            take(1)
            return super()._mean()

        def _sigma(self):
            take(1)
            return super()._sigma()

    fitness = scene.fitness()
    losses, outside = fitness.losses, 0

    def slow_losses(candidates):
        nonlocal outside
        take(100)
        outside += 100
        return losses(candidates)

    fitness.losses = slow_losses
    monkeypatch.setattr(timed_evolution, "time", SimpleNamespace(perf_counter=lambda: now))
    evolution = evolve(fitness, kernels(scene.stack, None)[:2], Slow, 3, "mean")
    # Made twice; 3 generations that ask, tell, stop and have a sigma; one mean.
    assert min(evolution.optimizer_seconds) >= 2 + 3 * 4 + 1
    assert sum(evolution.optimizer_seconds) + outside == sum(evolution.seconds)


def event(n, generation, loss):
    return Generation(None, 0, 1, generation, 200, loss, loss, 1.0, n, 0)


def test_curves_are_thinned():
    events = [event(10 * g, g, 1.0 - g / 1000) for g in range(1, 201)]
    events.append(BlockEnd(None, 0, 1, 0.95, 0.9, True, 2001, 0, ()))
    evaluations, losses = Evolution(events, [], []).curve()
    assert evaluations == [0, *range(30, 1990, 30), 2001]
    assert losses[:2] == [0.95, 0.95]  # until it is better than the network was
    assert losses[-2:] == [1.0 - 198 / 1000, 0.9]


def test_runs_with_other_evaluations_are_compared_at_the_same():
    curve = [0, 20, 41], [1.0, 0.5, 0.6]
    run = Run("kernel", "pso", 0, 0.6, 41, 1, 1.0, 0.5, {"10": 5}, *curve)
    assert _losses_at(run, [0, 10, 20, 30, 41, 99]).tolist() == [1.0, 1.0, 0.5, 0.5, 0.6, 0.6]


def test_one_that_stops_by_itself_shows():
    case = Case("kernel", ["conv2[0]"], DIM, 14, 281, 2, {})
    origin = {"machine": {"cpu": "x"}, "threads": 1, "versions": {}, "references": 100,
              "queries": 10, "objective": "neighbors", "protocol": "leave_one_out"}  # fmt: skip
    results = Results("", origin, [case], None)
    results.overheads.append(Overhead("pso", [1.0, 2.0, 4.0], [0.5, 0.1, 1.0]))
    for seed, evaluations in ((0, 281), (1, 181)):
        curve = [0, evaluations], [1.0, 0.5]
        results.runs.append(
            Run("kernel", "pso", seed, 0.5, evaluations, 1, 2.0, 0.5, {"10": 5}, *curve)
        )
    row = cells(results.text(), "pso")
    assert row == ["50.00 (50.00 to 50.00)", "0.5000 (0.5000 to 0.5000)", "-", "181 to 281", "2.0",
                   "25.0", "25.0"]  # fmt: skip


def test_the_interval_is_students():
    values = [0.3, 0.1, 0.25, 0.6]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((np.mean(values), expected.low, expected.high))
    assert mean_interval([1.0, 1.0]) == (1.0, 1.0, 1.0)
    assert np.isnan(mean_interval([1.0])[1:]).all()
