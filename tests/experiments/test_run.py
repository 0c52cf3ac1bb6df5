"""The command line as a user meets it, in processes of its own."""

import json
import re
import signal

import pytest
from mlflow import MlflowClient

from tests.experiments.runs import command_line, finish, forked, give_store, runs_of


@pytest.fixture(scope="module")
def swept(small, tmp_path_factory):
    """A sweep of which every second run has a mistake that shows late."""
    project = tmp_path_factory.mktemp("sweep")
    sweep = [
        "--multirun", "optimizer=cmaes,random", "baseline.learning_rate=0.001,1e30",
    ]  # fmt: skip
    give_store(project)
    return forked([*small, *sweep], project), project


def test_a_sweep_goes_on_after_a_run_that_failed(swept):
    process, project = swept
    assert process.code == 2
    # Each run says so, and the end of the sweep once more.
    assert process.err.count("baseline.learning_rate=1e+30 is too large") == 3
    assert "Traceback" not in process.err
    _, runs = runs_of(project)
    rates = [run.data.params["baseline.learning_rate"] for run in runs]
    statuses = zip((run.data.params["optimizer"] for run in runs), rates, strict=True)
    assert sorted(statuses) == [
        (n, rate) for n in ("cmaes", "random") for rate in ("0.001", "1e+30")
    ]
    for run, rate in zip(runs, rates, strict=True):
        assert run.info.status == {"0.001": "FINISHED", "1e+30": "FAILED"}[rate]


def test_the_runs_of_a_sweep_stand_under_one(swept):
    _, project = swept
    client, runs = runs_of(project)
    [parent] = {run.data.tags["mlflow.parentRunId"] for run in runs}
    run = client.get_run(parent)
    swept = "optimizer=cmaes,random baseline.learning_rate=0.001,1e30"
    assert run.info.run_name.startswith(f"sweep {swept} ")
    assert run.info.status == "FAILED"  # as some of its runs did
    header, _, *lines = run.data.tags["mlflow.note.content"].splitlines()
    assert [cell.strip() for cell in header.split("|")[1:4]] == ["run", "options", "status"]
    options = {" ".join(sorted(line.split("|")[2].split())) for line in lines}
    assert options == {
        f"baseline.learning_rate={rate} optimizer={optimizer}"
        for rate in ("0.001", "1e+30") for optimizer in ("cmaes", "random")
    }  # fmt: skip
    assert [line.split("|")[3].strip() for line in lines].count("finished") == 2
    for line, child in zip(lines, reversed(runs), strict=True):
        assert line.startswith(f"| {child.info.run_name} ")
        accuracy = child.data.metrics.get("evolved/test_accuracy")
        assert line.split("|")[6].strip() == ("-" if accuracy is None else f"{accuracy:.2%}")


def test_what_a_user_sees(swept):
    process, project = swept
    assert process.out.count("| evolved by cmaes") == 1
    assert process.out.count("| evolved by random") == 1
    assert "% of 60 test images (95 % interval)" in process.out
    assert "evolving 100%: 0:00 left, conv2[" in process.err
    folders = sorted(project.glob("multirun/*/*/?"))
    assert len(folders) == 4
    finished = [folder for folder in folders if (folder / "summary.md").is_file()]
    assert len(finished) == 2
    # At the end, all runs in a table.
    lines = process.out.rstrip().splitlines()[-4:]
    assert [line.split("|")[3].strip() for line in lines].count("finished") == 2
    assert {line.split("|")[-2].strip() for line in lines} == set(map(str, folders))
    for folder in finished:
        assert str(folder) in process.out
        model = json.loads((folder / "summary.json").read_text())["mlflow_model"]
        assert (
            f"MLflow model {model}, served by: MLFLOW_TRACKING_URI=sqlite:///mlflow.db "
            f"mlflow models serve --env-manager local -m models:/{model}\n"
        ) in process.out
        engine = f"engine={folder / 'engine.safetensors'}"
        assert f"python -m experiments.predict {engine} images=...\n" in process.out
        assert (folder / "summary.md").read_text().strip() in process.out
        assert "evolved by" in (folder / "run.log").read_text()
    # Nothing else is left in the user's folder.
    assert {path.name for path in project.iterdir()} == {"mlflow.db", "mlartifacts", "multirun"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_was_found(number, tiny, tmp_path):
    give_store(tmp_path)
    result = forked([*tiny, "strategy.generations=100000"], tmp_path, number, "evolving")
    assert result.code == 128 + number
    assert "Stopping after this generation" in result.err
    assert "Traceback" not in result.err
    assert "(interrupted)" in result.out
    _, [run] = runs_of(tmp_path)
    assert run.info.status == "KILLED"
    assert run.data.tags["status"] == "interrupted"
    assert 0 < run.data.metrics["evolved/test_accuracy"] <= 1
    [folder] = tmp_path.glob("outputs/*/*")
    assert result.err.endswith(f"resume={folder}\n")
    assert (folder / "kernels.npz").is_file()
    assert (folder / "summary.md").is_file()


@pytest.mark.parametrize(
    ("number", "words", "options"),
    [
        (signal.SIGTERM, "training  ", ["baseline.epochs=100000"]),
        (signal.SIGHUP, "Starting TensorFlow", []),
    ],
)
def test_a_signal_before_evolution_is_one_sentence(number, words, options, small, tmp_path):
    give_store(tmp_path)
    result = forked([*small, *options], tmp_path, number, words)
    assert result.code == 128 + number
    *before, last = result.err.splitlines()
    assert last == "Interrupted before there was anything to keep."
    begin = ("Running", "Reading", "lenet", "cmaes", "It needs", "Starting", "training")
    assert not [line for line in before if not line.startswith(begin)]
    # A run that MLflow had not begun yet is not there.
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    assert {run.info.status for run in client.search_runs(experiments)} <= {"KILLED"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["optimizer=cmase"], "optimizer=cmase is unknown: did you mean optimizer=cmaes?\n"),
        (["--multirun", "seed=0,1", "data.train_sze=5,6"], "did you mean data.train_size?\n"),
        (["hydra.nothing=1"], "Key 'nothing' not in 'HydraConf'\n"),
        (["data=folder"], "data.directory is missing: give it as data.directory=...\n"),
        (["data=folder", "data.directory=/nowhere"], "data.directory=/nowhere is not there"),
        (["hydra.run.dir=/proc/nothing"], "/proc/nothing cannot be read or written: "),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, sentence, tmp_path):
    process = forked(arguments, tmp_path)
    assert process.code == 2
    # A run says what it is before it looks at its images; a slow machine repeats that.
    *before, line = process.err.splitlines(keepends=True)
    assert sentence in line
    is_begun = "data.directory=/nowhere" in arguments
    begun = {f"Running {' '.join(arguments)}", "Reading the images"} if is_begun else set()
    assert {re.split(r": | \(\d|\n", each)[0] for each in before} == begun
    assert process.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--multirun", "data=folder", "data.directory=/nowhere", "seed=0,1"], {"mlflow.db"}),
        (["hydra.run.dir=mine", "data=folder", "data.directory=/nowhere"], {"notes.txt"}),
        # MLflow refuses it.
        (["tracking.uri=http://127.0.0.1:1", "baseline=random"], set()),
    ],
)
def test_what_is_refused_leaves_nothing(arguments, left, digits, tmp_path):
    if "hydra.run.dir=mine" in arguments:
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "notes.txt").write_text("the user's own")
    if "data=folder" not in arguments:
        arguments = ["data=mnist", f"data.directory={digits}", *arguments]
    process = forked(arguments, tmp_path)
    assert process.code == 2
    assert "Traceback" not in process.err
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    # What Hydra put beside the user's own files stays there.
    assert files - {"config.yaml", "hydra.yaml", "overrides.yaml", "run.log"} == left
    assert not {path.name for path in tmp_path.iterdir()} & {"outputs", "multirun"}
    if "mlflow.db" in left:
        assert runs_of(tmp_path)[0].search_runs(["1"]) == []


def test_help_is_complete_and_imports_nothing_slow(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    process = finish(command_line(["--help", "optimizer=pso"], tmp_path))
    assert process.code == 0
    assert "optimizer.inertia=0.7298" in process.out
    assert "Usage: python -m experiments.run" in process.out
    assert list(tmp_path.iterdir()) == []
    imported = {line.rpartition("|")[2].strip() for line in process.err.splitlines()}
    assert "hydra" in imported
    assert not imported & {"keras", "matplotlib", "mlflow", "numba", "numpy", "scipy", "tensorflow"}
