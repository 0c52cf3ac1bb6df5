"""Sweeps whose runs are processes of their own, started by Hydra's launchers."""

import shutil

import pytest
from hydra.core.config_store import ConfigStore

from experiments.overrides import check
from slicing.errors import InputError
from tests.experiments.runs import command_line, finish, runs_of


def test_joblib_runs_each_once(digits, tmp_path):
    tiny = [
        "data=mnist", f"data.directory={digits}", "baseline=random", "baseline.filters=[2,2]",
        "optimizer=random", "+debug=quick", "strategy.generations=1", "threads=1",
    ]  # fmt: skip
    sweep = ["--multirun", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1"]
    process = finish(command_line([*sweep, *tiny], tmp_path))
    assert process.code == 0
    assert "Traceback" not in process.err
    assert process.out.count("| evolved by random") == 2
    _, runs = runs_of(tmp_path)
    assert sorted(run.data.params["seed"] for run in runs) == ["0", "1"]
    for run in runs:
        assert run.info.status == "FINISHED"
        assert run.data.tags["threads"] == "1"
        assert 0 < run.data.metrics["evolved/test_accuracy"] <= 1
    assert len(list(tmp_path.glob("multirun/*/*/?/summary.md"))) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", "mlartifacts", "multirun"}


def test_submitit_fails_with_its_runs(tmp_path):
    # A mistake that only the runs find, and find at once.
    sweep = ["hydra/launcher=submitit_local", "data=folder", "data.directory=/nowhere", "seed=0,1"]
    process = finish(command_line(["--multirun", *sweep], tmp_path))
    assert process.code == 2
    assert "Error executing job with overrides" in process.err
    assert "Traceback" not in process.err
    logs = [path.read_text() for path in tmp_path.glob("multirun/*/*/.submitit/*/*_log.err")]
    assert len(logs) == 2
    for log in logs:
        assert log.splitlines()[-1].startswith("data.directory=/nowhere is not a folder")


@pytest.mark.parametrize(
    ("overrides", "multirun", "sentence"),
    [
        (["hydra/launcher=jobli"], True, "did you mean hydra/launcher=joblib?"),
        (["hydra/launcher=ray"], True, "one of basic, joblib, submitit_local, submitit_slurm."),
        (["seed=0,1", "hydra/launcher=submitit_slrm"], True, "mean hydra/launcher=submitit_slurm?"),
        (["hydra/launcher=joblib"], False, "joblib is for sweeps: add --multirun."),
        (["hydra/launcher=submitit_slurm"], True, "no srun"),
    ],
)
def test_a_mistake_is_one_sentence(overrides, multirun, sentence, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    with pytest.raises(InputError) as error:
        check(overrides, multirun)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_slurm_is_asked_for_only_where_something_runs(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda program: None)
    assert len(check(["hydra/launcher=submitit_slurm"], complete=False)) == 1
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    assert len(check(["hydra/launcher=submitit_slurm"], multirun=True)) == 1


@pytest.mark.parametrize(
    ("launcher", "extra"),
    [("joblib", "joblib"), ("submitit_local", "slurm"), ("submitit_slurm", "slurm")],
)
def test_a_missing_plugin_is_one_sentence(launcher, extra, monkeypatch):
    check([])  # so that Hydra has looked for its plugins
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    for name in [name for name in launchers if name != "basic.yaml"]:
        monkeypatch.delitem(launchers, name)
    with pytest.raises(InputError) as error:
        check([f"hydra/launcher={launcher}"], multirun=True)
    assert str(error.value) == (
        f"hydra/launcher={launcher} is not installed: python -m pip install -e '.[{extra}]'"
    )
    with pytest.raises(InputError, match="did you mean hydra/launcher=joblib"):
        check(["hydra/launcher=jobli"], multirun=True)
