"""The seed decides, and nothing else of the process is read or changed."""

import os
import random
import subprocess
import sys
import textwrap

import matplotlib
import matplotlib.font_manager
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from evolve.optimizers import CMAES, DeapCMAES
from tests.evolve.optimizers.harness import DIM, advance, every_optimizer, every_restarting, make

pytestmark = pytest.mark.usefixtures("warnings_are_errors")


@every_optimizer
def test_the_seed_decides(optimizer_class):
    runs = [advance(make(optimizer_class, seed), 8) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0][1:] != runs[2][1:]).any()


@every_optimizer
@pytest.mark.parametrize("dim", [DIM, 300])  # pycma adapts the step by another rule from 300 up
def test_global_generators_are_neither_read_nor_changed(optimizer_class, dim):
    def run():
        return advance(optimizer_class(np.ones(dim), 0.5, np.random.default_rng(0)), 6)

    expected = run()
    np.random.seed(12)  # noqa: NPY002
    np.random.standard_normal()  # noqa: NPY002 (leaves a second Gaussian in the cache)
    random.seed(12)
    random.gauss(0, 1)
    np.testing.assert_array_equal(run(), expected)
    after = [np.random.standard_normal(3), [random.gauss(0, 1) for _ in range(3)]]  # noqa: NPY002
    np.random.seed(12)  # noqa: NPY002
    np.random.standard_normal()  # noqa: NPY002
    random.seed(12)
    random.gauss(0, 1)
    np.testing.assert_array_equal(after[0], np.random.standard_normal(3))  # noqa: NPY002
    assert after[1] == [random.gauss(0, 1) for _ in range(3)]


def test_logging_of_the_process_stays_as_it_was(tmp_path):
    # pycma imports matplotlib, which says so where it has no list of fonts yet: let it have ours.
    script = """
        import logging, sys
        logging.basicConfig(filename="run.log", filemode="w", level=logging.INFO)
        handlers = list(logging.root.handlers)
        from evolve.optimizers import *
        import numpy as np
        for kind in (PSO, PSOLocal, DeapGA, CMAES):
            optimizer = kind(np.zeros(3), 1.0, np.random.default_rng(0))
            candidates = optimizer.ask()
            optimizer.tell(candidates, candidates.sum(axis=1))
        assert logging.root.handlers == handlers
        logging.info("still here")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MPLCONFIGDIR": matplotlib.get_cachedir()},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["run.log"]
    assert (tmp_path / "run.log").read_text().splitlines() == ["INFO:root:still here"]


@pytest.mark.parametrize("optimizer_class", [CMAES, DeapCMAES])
def test_the_number_of_threads_changes_no_bit(optimizer_class):
    runs = []
    for threads in (1, 2):
        optimizer = optimizer_class(np.ones(289), 0.1, np.random.default_rng(0))
        with threadpool_limits(threads, user_api="blas"):
            runs.append(advance(optimizer, 12))
    np.testing.assert_array_equal(*runs)


@every_restarting
def test_pycma_reads_no_file_of_the_working_directory(optimizer_class, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cma_signals.in").write_text('{"timeout": 0}')
    optimizer = make(optimizer_class)
    advance(optimizer, 2)
    assert optimizer.stop() == {}
    assert [path.name for path in tmp_path.iterdir()] == ["cma_signals.in"]
