"""Small real experiments: scikit-learn's digits in MNIST's format, few kernels, few evaluations."""

import sqlite3
from functools import cache

import numpy as np
import pytest
from mlflow.store.db import utils
from sklearn.datasets import load_digits
from sqlalchemy import event
from sqlalchemy.engine import Engine

from evolve import KNNFitness, RandomSearch, ScheduleOptions, Serial, Split, kernels
from experiments.environment import set_threads
from slicing.data import Images
from slicing.stack import Conv, ConvStack, Pool
from tests import figures
from tests.experiments.runs import N_TEST, N_TRAIN, run_here
from tests.idx_files import write_idx


@pytest.fixture(scope="session", autouse=True)
def _no_store_waits_for_the_disk():
    def connected(connection, record):
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)


@pytest.fixture(scope="session", autouse=True)
def _schema_is_looked_up_once():
    """MLflow reads all its migrations for every store, only to know the last of them."""
    with pytest.MonkeyPatch.context() as patch:
        latest = cache(utils._get_latest_schema_revision)
        patch.setattr(utils, "_get_latest_schema_revision", latest)
        yield


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
        "fitness=neighbors", "slicing.projection=none", "threads=1",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def finished(small, tmp_path_factory):
    """One small experiment that ran to its end."""
    with pytest.MonkeyPatch.context() as patch:
        figures.draw(patch)
        return run_here(small, tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def tiny(digits):
    """Overrides for an experiment of a second or two, both layers, and nothing to train."""
    return [
        "data=mnist", f"data.directory={digits}", "data.train_size=120", "data.test_size=60",
        "baseline=random", "baseline.filters=[2,3]", "block.layers=null",
        "strategy.generations=8", "strategy.passes=2", "fitness=neighbors",
        "fitness.neighbors=16", "slicing.projection=none",
        # Small parallel loops wait for whichever thread the machine lets wait.
        "threads=1", "tracking.model=false",
    ]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _all_threads_afterwards():
    yield
    set_threads(None)


@pytest.fixture
def make_schedule():
    """Make a small serial schedule: three kernels, three generations each."""

    def make(**more):
        rng = np.random.default_rng(0)
        conv = Conv(rng.normal(size=(3, 3, 1, 3)).astype(np.float32), np.zeros(3, np.float32))
        stack = ConvStack((conv, Pool()), (10, 10, 1))
        images = Images(rng.random((24, 10, 10, 1), np.float32), np.arange(24) % 3)
        fitness = KNNFitness(stack, Split(images, None), neighbors=5)
        options = ScheduleOptions(generations=3, **more)
        return Serial(fitness, kernels(stack), RandomSearch, options)

    return make
