"""The command line as a user meets it, in processes of its own."""

import signal

import pytest

from tests.experiments.runs import command_line, finish, runs_of


@pytest.fixture(scope="module")
def swept(small, tmp_path_factory):
    """A sweep of which every second run has a mistake that shows late."""
    project = tmp_path_factory.mktemp("sweep")
    sweep = [
        "--multirun", "optimizer=cmaes,random", "baseline.learning_rate=0.001,1e30",
    ]  # fmt: skip
    return finish(command_line([*small, *sweep], project)), project


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
    assert [cell.strip() for cell in header.split("|")[1:4]] == ["run", "status", "CNN"]
    assert [line.split("|")[2].strip() for line in lines].count("finished") == 2
    for line, child in zip(lines, reversed(runs), strict=True):
        assert line.startswith(f"| {child.info.run_name} ")
        accuracy = child.data.metrics.get("evolved/test_accuracy")
        assert line.split("|")[5].strip() == ("-" if accuracy is None else f"{accuracy:.2%}")


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
    for folder in finished:
        assert str(folder) in process.out
        assert (folder / "summary.md").read_text().strip() in process.out
        assert "evolved by" in (folder / "run.log").read_text()
    # Nothing else is left in the user's folder.
    assert {path.name for path in project.iterdir()} == {"mlflow.db", "mlartifacts", "multirun"}


def interrupt_after(words, process):
    """Send what Ctrl-C sends as soon as standard error shows ``words``."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            process.send_signal(signal.SIGINT)
            break
    result = finish(process)
    result.err = "".join(lines) + result.err
    return result


def test_ctrl_c_keeps_what_was_found(small, tmp_path):
    process = command_line([*small, "strategy.generations=100000"], tmp_path)
    result = interrupt_after("evolving", process)
    assert result.code == 130
    assert "Stopping after this generation" in result.err
    assert "Traceback" not in result.err
    assert "(interrupted)" in result.out
    _, [run] = runs_of(tmp_path)
    assert run.info.status == "KILLED"
    assert run.data.tags["status"] == "interrupted"
    assert 0 < run.data.metrics["evolved/test_accuracy"] <= 1
    [folder] = tmp_path.glob("outputs/*/*")
    assert (folder / "kernels.npz").is_file()
    assert (folder / "summary.md").is_file()


def test_ctrl_c_before_evolution_is_one_sentence(small, tmp_path):
    process = command_line([*small, "baseline.epochs=100000"], tmp_path)
    result = interrupt_after("training  ", process)
    assert result.code == 130
    assert result.err.rstrip().endswith("Interrupted before there was anything to keep.")
    assert "Traceback" not in result.err
    _, [run] = runs_of(tmp_path)
    assert run.info.status == "KILLED"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["optimizer=cmase"], "optimizer=cmase is unknown: did you mean optimizer=cmaes?\n"),
        (["--multirun", "seed=0,1", "data.train_sze=5,6"], "did you mean data.train_size?\n"),
        (["hydra.nothing=1"], "Key 'nothing' not in 'HydraConf'\n"),
        (["data=folder"], "data.directory is missing: give it as data.directory=...\n"),
        (["data=folder", "data.directory=/nowhere"], "data.directory=/nowhere is not a folder"),
        (["hydra.run.dir=/proc/nothing"], "/proc/nothing cannot be read or written: "),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, sentence, tmp_path):
    process = finish(command_line(arguments, tmp_path))
    assert process.code == 2
    # A run says what it is before it looks at its images; a slow machine repeats that.
    *before, line = process.err.splitlines(keepends=True)
    assert sentence in line
    begun = {f"Running {' '.join(arguments)}"} if "data.directory=/nowhere" in arguments else set()
    assert {each.partition(": ")[0] for each in before} == begun
    assert process.out == ""


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
