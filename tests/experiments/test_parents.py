"""Runs of MLflow under which others stand."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from experiments.mlflow_store import OVERRIDES
from experiments.parents import ParentRun
from slicing.errors import InputError
from tests.experiments.runs import give_store


@pytest.fixture
def uri(tmp_path):
    give_store(tmp_path)
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def note_of(client, run_id):
    return client.get_run(run_id).data.tags["mlflow.note.content"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(None, "FINISHED"), (KeyboardInterrupt, "KILLED"), (ValueError, "FAILED")],
)
def test_it_ends_as_what_stands_under_it(error, status, uri, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    client = MlflowClient(uri)
    try:
        with ParentRun(uri, "e", "x" * 300) as parent:
            experiment = client.get_run(parent.run_id).info.experiment_id
            client.create_run(experiment, tags={"mlflow.parentRunId": parent.run_id})
            if error:
                raise error
    except (KeyboardInterrupt, ValueError):
        assert error
    run = client.get_run(parent.run_id)
    assert run.info.status == status
    assert run.info.run_name == "x" * 250
    assert note_of(client, parent.run_id).startswith("| run")


def test_without_children_it_is_not_kept_where_it_ends_with_an_error(uri, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError), ParentRun(uri, "e", "sweep") as parent:
        raise ZeroDivisionError
    run = MlflowClient(uri).get_run(parent.run_id)
    assert run.info.lifecycle_stage == "deleted"


def test_one_of_the_same_key_is_gone_on_with(uri, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with ParentRun(uri, "e", "tables", key="k") as first:
        pass
    with ParentRun(uri, "e", "tables", key="k") as second:
        assert MlflowClient(uri).get_run(second.run_id).info.status == "RUNNING"
    with ParentRun(uri, "e", "tables", key="l") as third:
        pass
    assert first.run_id == second.run_id != third.run_id


def test_runs_of_one_name_are_told_apart(uri, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    client = MlflowClient(uri)
    with ParentRun(uri, "e", "sweep") as parent:
        experiment = client.get_run(parent.run_id).info.experiment_id
        for k in (3, 5):
            tags = {"mlflow.parentRunId": parent.run_id, OVERRIDES: f"seed=1 slicing.k={k}"}
            client.create_run(experiment, run_name="one", tags=tags)
    header, _, *rows = note_of(client, parent.run_id).splitlines()
    assert [cell.strip() for cell in header.split("|")[1:4]] == ["run", "options", "status"]
    cells = [[cell.strip() for cell in row.split("|")[1:3]] for row in rows]
    assert cells == [["one", "slicing.k=3"], ["one", "slicing.k=5"]]


def test_runs_that_differ_in_the_seed_alone_have_a_mean(uri, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    client = MlflowClient(uri)
    accuracies = {("cmaes", 0): 0.9, ("cmaes", 1): 0.94, ("pso", 0): 0.5, ("random", 0): 0.7}
    with ParentRun(uri, "e", "sweep") as parent:
        experiment = client.get_run(parent.run_id).info.experiment_id
        for (optimizer, seed), accuracy in accuracies.items():
            words = f"optimizer={optimizer} seed={seed} threads=1"
            tags = {"mlflow.parentRunId": parent.run_id, OVERRIDES: words}
            run_id = client.create_run(experiment, tags=tags).info.run_id
            client.log_metric(run_id, "evolved/test_accuracy", accuracy)
            client.set_terminated(run_id, "FAILED" if optimizer == "random" else "FINISHED")
    _, means = note_of(client, parent.run_id).split("The mean over seeds")
    [row] = means.splitlines()[4:]
    assert [cell.strip() for cell in row.split("|")[1:6]] == [
        "optimizer=cmaes",
        "2",
        "-",
        "-",
        "92.00% ± 2.83%",
    ]


def test_a_long_note_ends_with_a_whole_line(uri, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    lines = [f"| line {number:05} |" for number in range(1000)]
    with ParentRun(uri, "e", "tables") as parent:
        parent.describe("\n".join(lines), [])
    client = MlflowClient(uri)
    *kept, empty, last = note_of(client, parent.run_id).splitlines()
    assert kept == lines[: len(kept)]
    assert (empty, last) == ("", "All of it is in summary.md.")
    path = Path(client.download_artifacts(parent.run_id, "summary.md", str(tmp_path)))
    assert path.read_text().splitlines() == lines


def test_trouble_at_the_end_does_not_hide_what_ended_the_runs(uri, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def away(self, status):
        raise InputError("MLflow does not answer.")

    monkeypatch.setattr(ParentRun, "_finish", away)
    with pytest.raises(KeyboardInterrupt), ParentRun(uri, "e", "tables"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "MLflow does not answer.\n"
    with pytest.raises(InputError), ParentRun(uri, "e", "tables"):
        pass
