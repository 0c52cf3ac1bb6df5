"""Small real experiments: scikit-learn's digits in MNIST's format, few kernels, few evaluations."""

import os
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient
from sklearn.datasets import load_digits

from experiments.overrides import CONF, VERSION_BASE, check
from experiments.pipeline import run, set_threads

N_TRAIN, N_TEST = 1000, 400


def write_idx(path, array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A folder of the four MNIST files, with other digits in them."""
    folder = tmp_path_factory.mktemp("digits")
    pixels, labels = load_digits(return_X_y=True)
    images = np.kron(pixels.reshape(-1, 8, 8) * (255 / 16), np.ones((3, 3)))
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    for part, chosen in (
        ("train", slice(0, N_TRAIN)),
        ("t10k", slice(N_TRAIN, N_TRAIN + N_TEST)),
    ):
        write_idx(folder / f"{part}-images-idx3-ubyte", images[chosen])
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels[chosen])
    return folder


@pytest.fixture(scope="session")
def small(digits):
    """Overrides that make an experiment small."""
    return [
        "data=mnist", f"data.directory={digits}", "data.train_size=200", "data.test_size=60",
        "baseline.filters=[4,6]", "baseline.units=8", "baseline.epochs=2", "strategy.generations=2",
        "fitness=neighbours", "slicing.projection=none",
    ]  # fmt: skip


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
    with initialize_config_dir(str(CONF), version_base=VERSION_BASE):
        choices = compose("config", overrides, return_hydra_config=True).hydra.runtime.choices
    choices = {k: v for k, v in choices.items() if not k.startswith("hydra/")}
    give_store(project)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        folder = project / "results"
        folder.mkdir(exist_ok=True)
        summary = run(config, choices, folder, overrides)
    client, [mlflow_run, *_] = runs_of(project)
    with np.load(folder / "kernels.npz") as kernels:
        return Finished(summary, folder, dict(kernels), client, mlflow_run)


@pytest.fixture(scope="session")
def finished(small, tmp_path_factory):
    """One small experiment that ran to its end."""
    return run_here(small, tmp_path_factory.mktemp("project"))


def command_line(arguments, project, **options):
    """Start ``python -m experiments.run`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.run", *arguments],
        cwd=project, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(CONF.parent)},
        # Whoever started the tests in the background had Ctrl-C ignored for them and theirs.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options,
    )  # fmt: skip


def finish(process):
    """Wait for a process; its exit code and what it printed."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    return SimpleNamespace(code=process.returncode, out=out, err=err)


@pytest.fixture(scope="session")
def tiny(digits):
    """Overrides for an experiment of a second or two, both layers, and nothing to train."""
    return [
        "data=mnist", f"data.directory={digits}", "data.train_size=120", "data.test_size=60",
        "baseline=random", "baseline.filters=[2,3]", "strategy.layers=null",
        "strategy.generations=8", "strategy.passes=2", "fitness=neighbours",
        "fitness.neighbours=16", "slicing.projection=none",
        # Small parallel loops wait for whichever thread the machine lets wait.
        "threads=1", "tracking.model=false",
    ]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _all_threads_afterwards():
    yield
    set_threads(None)


def run_folder(project):
    [folder] = [*project.glob("outputs/*/*"), *project.glob("results")]
    return folder


def files_of(folder):
    with np.load(folder / "kernels.npz") as kernels:
        arrays = {name: kernels[name].tobytes() for name in kernels}
    return arrays, (folder / "history.csv").read_text(), (folder / "blocks.csv").read_text()
