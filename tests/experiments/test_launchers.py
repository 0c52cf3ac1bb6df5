"""Sweeps whose runs are processes of their own, started by Hydra's launchers."""

import os
import shutil
import signal

import pytest
from hydra.core.config_store import ConfigStore

from benchmarks import forked_runs
from experiments.overrides import check
from slicing.errors import InputError, installing
from tests.experiments.runs import begin, command_line, finish, give_store, runs_of


def test_joblib_runs_each_once(tiny, tmp_path):
    give_store(tmp_path)
    sweep = ["--multirun", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "seed=0,1"]
    one = ["optimizer=random", "strategy.generations=1", "strategy.passes=1"]
    process = finish(command_line([*tiny, *sweep, *one], tmp_path))
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


@pytest.mark.parametrize("moment", ["evolving", "Running"])
def test_sigterm_ends_a_sweep(moment, tiny, tmp_path):
    """At once or after the generation, and its other runs do not begin."""
    give_store(tmp_path)
    sweep = ["--multirun", "seed=0,1,2", "strategy.generations=100000"]
    process = begin([*tiny, *sweep], tmp_path)
    forked_runs.wait_for(process, tmp_path, moment)
    os.kill(process.pid, signal.SIGTERM)
    code, said = forked_runs.finish(process, tmp_path, seconds=120)
    assert code == 143, said
    assert "Traceback" not in said
    assert said.count("Running ") == 1
    client, runs = runs_of(tmp_path)
    everything = client.search_runs(["1"])
    assert {run.info.status for run in everything} <= {"KILLED"}
    assert len(runs) == (moment == "evolving")
    assert len(everything) == 2 * len(runs)  # and the sweep's own


def test_submitit_fails_with_its_runs(tmp_path):
    give_store(tmp_path)
    # A mistake that only the runs find, and find at once.
    sweep = ["hydra/launcher=submitit_local", "data=folder", "data.directory=/nowhere"]
    process = finish(command_line(["--multirun", *sweep], tmp_path))
    assert process.code == 2
    assert "Error executing job with overrides" in process.err
    assert "Traceback" not in process.err
    logs = [path.read_text() for path in tmp_path.glob("multirun/*/*/.submitit/*/*_log.err")]
    [log] = logs
    assert log.splitlines()[-1].startswith("data.directory=/nowhere is not there")


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
    assert str(error.value) == f"hydra/launcher={launcher} is not installed: {installing(extra)}"
    with pytest.raises(InputError, match="did you mean hydra/launcher=joblib"):
        check(["hydra/launcher=jobli"], multirun=True)
