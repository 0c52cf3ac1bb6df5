"""Runs of small experiments, in this process or in one of their own, and what they leave."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pytest
from mlflow import MlflowClient

from benchmarks import forked_runs
from experiments.overrides import check, chosen
from experiments.pipeline import run
from experiments.schema.docs import CONF
from tests.figures import leave_blank_for_good

N_TRAIN, N_TEST = 1000, 400


@dataclass
class Finished:
    """What an experiment left behind."""

    summary: object
    folder: Path
    kernels: dict
    client: MlflowClient
    run: object

    def history(self, metric):
        return self.client.get_metric_history(self.run.info.run_id, metric)


def runs_of(folder):
    """All MLflow runs of a project folder, but for those of sweeps, the latest first."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("knn-slicing")
    found = client.search_runs([experiment.experiment_id])
    return client, [run for run in found if "parent_of" not in run.data.tags]


@cache
def _new_store():
    """A new MLflow database, which takes MLflow seconds to create."""
    with TemporaryDirectory() as folder:
        database = Path(folder) / "mlflow.db"
        MlflowClient(f"sqlite:///{database}").search_experiments()
        return database.read_bytes()


def give_store(project):
    """Create the MLflow database of a project folder, if it has none."""
    database = project / "mlflow.db"
    if not database.exists():
        database.write_bytes(_new_store())


def run_here(overrides, project):
    """Run an experiment, or go on with it, in this process, with ``project`` as the directory."""
    [config] = check(overrides)
    give_store(project)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        folder = project / "results"
        folder.mkdir(exist_ok=True)
        summary = run(config, chosen(overrides), folder, overrides)
    client, [mlflow_run, *_] = runs_of(project)
    with np.load(folder / "kernels.npz") as kernels:
        return Finished(summary, folder, dict(kernels), client, mlflow_run)


def _signals_back():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def command_line(arguments, project, **options):
    """Start ``python -m experiments.run`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.run", *arguments],
        cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(CONF.parent)},
        # Tests started in the background inherit ignored signals: give them back to the process.
        preexec_fn=_signals_back, **options,
    )  # fmt: skip


def finish(process):
    """Wait for a process; its exit code and what it printed."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return SimpleNamespace(code=process.returncode, out=out, err=err)


def begin(arguments, project, said=None):
    """Start a command line in a fork, which has imported all that a run needs."""
    return forked_runs.begin(arguments, project, said, prepare=leave_blank_for_good)


def forked(arguments, project, number=None, words=""):
    """What a command line comes to, in a fork.

    A signal ``number`` is sent as soon as standard error shows ``words``.
    """
    with TemporaryDirectory() as folder:
        said = Path(folder)
        process = begin(arguments, project, said)
        if number is not None:
            forked_runs.wait_for(process, said, words)
            os.kill(process.pid, number)
        code, err = forked_runs.finish(process, said)
        return SimpleNamespace(code=code, out=(said / "std1").read_text(), err=err)


def run_folder(project):
    [folder] = [*project.glob("outputs/*/*"), *project.glob("results")]
    return folder


def files_of(folder):
    with np.load(folder / "kernels.npz") as kernels:
        arrays = {name: kernels[name].tobytes() for name in kernels}
    return arrays, (folder / "history.csv").read_text(), (folder / "blocks.csv").read_text()
