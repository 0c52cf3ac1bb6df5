"""The contract of `Optimizer`, the same tests for every optimiser."""

import hashlib
import os
import pickle
import random
import subprocess
import sys
import textwrap
import warnings

import matplotlib
import matplotlib.font_manager
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from threadpoolctl import threadpool_limits

from evolve.optimizers import (
    CMAES,
    PSO,
    DeapCMAES,
    DeapGA,
    PSOLocal,
    RandomSearch,
    SepCMAES,
    VkDCMAES,
)
from slicing.errors import InputError

OPTIMIZERS = [CMAES, SepCMAES, VkDCMAES, DeapCMAES, DeapGA, PSO, PSOLocal, RandomSearch]
every_optimizer = pytest.mark.parametrize("optimizer_class", OPTIMIZERS)

DIM = 10
X0 = np.linspace(0.5, 1.5, DIM)
ROTATION = np.linalg.qr(np.random.default_rng(5).standard_normal((DIM, DIM)))[0]


def sphere(candidates):
    return (candidates**2).sum(axis=1)


def rotated_ellipsoid(candidates):
    return ((candidates @ ROTATION.T) ** 2) @ 10 ** (3 * np.linspace(0, 1, DIM))


def make(optimizer_class, seed=0, **options):
    return optimizer_class(X0, 0.5, np.random.default_rng(seed), **options)


def advance(optimizer, generations, loss=sphere):
    """The candidates of some generations, stacked."""
    told = []
    for _ in range(generations):
        candidates = optimizer.ask()
        optimizer.tell(candidates, loss(candidates))
        told.append(candidates)
    return np.array(told)


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# --- what goes in and out ---------------------------------------------------------------------


@every_optimizer
@pytest.mark.parametrize("population", [None, 4, 5, 17])
def test_ask_gives_read_only_float64_rows(optimizer_class, population):
    optimizer = make(optimizer_class, population=population)
    expected = 10 if population is None else population  # 4 + int(3 ln 10) = 10
    assert optimizer.population == expected
    for _ in range(3):
        candidates = optimizer.ask()
        assert candidates.shape == (expected, DIM)
        assert candidates.dtype == np.float64
        with pytest.raises(ValueError, match="read-only"):
            candidates[0, 0] = 1.0
        optimizer.tell(candidates, sphere(candidates))


@every_optimizer
@pytest.mark.parametrize("dim", [1, 2, 33])
def test_any_dimension(optimizer_class, dim):
    optimizer = optimizer_class(np.ones(dim), 0.3, np.random.default_rng(0))
    assert advance(optimizer, 10).shape == (10, optimizer.population, dim)
    assert optimizer.mean.shape == optimizer.best.shape == (dim,)
    assert np.isfinite(optimizer.mean).all()
    assert optimizer.sigma > 0


@every_optimizer
def test_starts_around_x0_with_spread_sigma0(optimizer_class):
    optimizer = optimizer_class(X0, 0.25, np.random.default_rng(0), population=400)
    np.testing.assert_array_equal(optimizer.mean, X0)
    np.testing.assert_array_equal(optimizer.best, X0)
    assert optimizer.best_loss == np.inf
    assert optimizer.evaluations == 0
    assert optimizer.sigma == pytest.approx(0.25, rel=0.05)
    candidates = optimizer.ask()
    np.testing.assert_allclose(candidates.mean(axis=0), X0, atol=5 * 0.25 / 20)
    np.testing.assert_allclose(candidates.std(axis=0), 0.25, rtol=0.2)


@every_optimizer
def test_sigma_describes_the_next_candidates(optimizer_class):
    optimizer = make(optimizer_class, population=300)
    advance(optimizer, 8)
    sigma = optimizer.sigma
    assert np.sqrt(optimizer.ask().var(axis=0).mean()) == pytest.approx(sigma, rel=0.1)


@every_optimizer
def test_best_and_evaluations_follow_what_was_told(optimizer_class):
    optimizer = make(optimizer_class)
    told = advance(optimizer, 12).reshape(-1, DIM)
    losses = sphere(told)
    assert optimizer.evaluations == len(told)
    assert optimizer.non_finite == 0
    assert optimizer.best_loss == losses.min()
    np.testing.assert_array_equal(optimizer.best, told[losses.argmin()])


@every_optimizer
def test_what_it_gives_away_is_a_copy(optimizer_class):
    optimizer, twin = make(optimizer_class), make(optimizer_class)
    for _ in range(3):
        candidates = optimizer.ask()
        losses = sphere(candidates)
        losses[0] = np.nan
        optimizer.tell(candidates, losses)
        assert np.isnan(losses[0])
        losses[:] = optimizer.mean[:] = optimizer.best[:] = -7.0
        same = twin.ask()
        twin.tell(same, np.where(np.arange(len(same)) == 0, np.nan, sphere(same)))
    np.testing.assert_array_equal(optimizer.mean, twin.mean)
    np.testing.assert_array_equal(optimizer.best, twin.best)
    np.testing.assert_array_equal(optimizer.ask(), twin.ask())


# --- misuse -----------------------------------------------------------------------------------


@every_optimizer
def test_call_order(optimizer_class):
    optimizer = make(optimizer_class)
    with pytest.raises(RuntimeError, match=r"tell\(\) was called before ask\(\)"):
        optimizer.tell(np.zeros((10, DIM)), np.zeros(10))
    candidates = optimizer.ask()
    with pytest.raises(RuntimeError, match=r"ask\(\) was called twice"):
        optimizer.ask()
    optimizer.tell(candidates, sphere(candidates))
    with pytest.raises(RuntimeError, match=r"tell\(\) was called before ask\(\)"):
        optimizer.tell(candidates, sphere(candidates))


@every_optimizer
def test_wrong_shapes_are_named_and_change_nothing(optimizer_class):
    optimizer = make(optimizer_class)
    candidates = optimizer.ask()
    losses = sphere(candidates)
    with pytest.raises(InputError, match=r"shape \(9, 10\).*shape \(10, 10\)"):
        optimizer.tell(candidates[1:], losses[1:])
    with pytest.raises(InputError, match=r"shape \(10, 1\).*shape \(10,\)"):
        optimizer.tell(candidates, losses[:, None])
    with pytest.raises(InputError, match="other candidates"):
        optimizer.tell(candidates[::-1], losses)
    assert optimizer.evaluations == 0
    optimizer.tell(candidates.tolist(), losses.tolist())
    np.testing.assert_array_equal(optimizer.ask(), advance(make(optimizer_class), 2)[1])


@every_optimizer
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x0": np.zeros((2, 3))}, r"x0 has the shape \(2, 3\)"),
        ({"x0": []}, r"x0 has the shape \(0,\)"),
        ({"x0": [0.0, np.nan]}, "not finite"),
        ({"sigma0": 0.0}, "sigma0 is 0.0"),
        ({"sigma0": np.inf}, "sigma0 is inf"),
        ({"rng": np.random.RandomState(0)}, "rng is a RandomState"),
        ({"population": 3}, "population is 3"),
    ],
)
def test_bad_arguments(optimizer_class, arguments, message):
    good = {"x0": X0, "sigma0": 1.0, "rng": np.random.default_rng(0), "population": None}
    with pytest.raises(InputError, match=message):
        optimizer_class(**(good | arguments))


@pytest.mark.parametrize(
    ("optimizer_class", "options"),
    [
        (DeapGA, {"crossover": 1.5}),
        (DeapGA, {"mutation": -0.1}),
        (DeapGA, {"mutation_step": np.inf}),
        (DeapGA, {"blend": -1.0}),
        (DeapGA, {"elites": 11}),
        (DeapGA, {"tournament": 0}),
        (PSO, {"inertia": -1.0}),
        (PSO, {"c1": np.nan}),
        (PSOLocal, {"c2": np.inf}),
        (PSOLocal, {"neighbours": 1}),
        (PSOLocal, {"neighbours": 11}),
    ],
)
def test_bad_options_are_named(optimizer_class, options):
    with pytest.raises(InputError, match=f"^{next(iter(options))} is "):
        make(optimizer_class, **options)


@pytest.mark.parametrize(("optimizer_class", "limit"), [(CMAES, 3000), (DeapCMAES, 500)])
def test_too_many_dimensions_names_the_alternative(optimizer_class, limit):
    assert optimizer_class.max_dim == limit
    with pytest.raises(InputError, match=rf"at most {limit} .* has {limit + 1}.*sep_cmaes"):
        optimizer_class(np.zeros(limit + 1), 1.0, np.random.default_rng(0))


@pytest.mark.parametrize("optimizer_class", [SepCMAES, VkDCMAES, DeapGA, PSO, PSOLocal])
def test_thousands_of_dimensions(optimizer_class):
    optimizer = optimizer_class(np.ones(5000), 0.1, np.random.default_rng(0))
    assert optimizer.max_dim is None
    first, *_, last = advance(optimizer, 6)
    assert sphere(last).mean() != sphere(first).mean()
    assert np.isfinite(last).all()


# --- losses -----------------------------------------------------------------------------------


@every_optimizer
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_counts_as_the_worst(optimizer_class, bad):
    optimizer, twin = make(optimizer_class), make(optimizer_class)
    worst = 0.0
    for generation in range(5):
        candidates = optimizer.ask()
        losses = sphere(candidates)
        mask = np.zeros(len(losses), dtype=bool)
        mask[generation : generation + 2] = True
        worst = max(worst, losses[~mask].max())
        optimizer.tell(candidates, np.where(mask, bad, losses))
        twin.tell(twin.ask(), np.where(mask, worst, losses))
    assert (optimizer.non_finite, twin.non_finite) == (10, 0)
    assert optimizer.best_loss == twin.best_loss
    np.testing.assert_array_equal(optimizer.ask(), twin.ask())


@every_optimizer
def test_a_generation_of_nothing_but_nan(optimizer_class):
    optimizer = make(optimizer_class)
    advance(optimizer, 1, lambda candidates: np.full(len(candidates), np.nan))
    assert optimizer.best_loss == np.inf
    np.testing.assert_array_equal(optimizer.best, X0)
    assert optimizer.stop() == {}
    told = advance(optimizer, 20)
    assert optimizer.non_finite == optimizer.population
    assert optimizer.best_loss == sphere(told.reshape(-1, DIM)).min()


@every_optimizer
@settings(max_examples=20, deadline=None)
@given(losses=arrays(np.float64, (3, 6), elements=st.floats(width=64)))
def test_any_losses(optimizer_class, losses):
    optimizer = make(optimizer_class, population=6)
    told = []
    for row in losses:
        told.append(optimizer.ask())
        optimizer.tell(told[-1], row)
    finite = np.where(np.isfinite(losses), losses, np.inf).ravel()
    assert optimizer.non_finite == (~np.isfinite(losses)).sum()
    assert optimizer.best_loss == finite.min()
    if np.isfinite(finite).any():
        best = np.concatenate(told)[finite.argmin()]
        np.testing.assert_array_equal(optimizer.best, best)
    assert np.isfinite(optimizer.ask()).all()


@every_optimizer
def test_only_the_ranking_of_the_losses_matters(optimizer_class):
    # Whole numbers, so that the cube is exact and keeps ties as they are.
    plain = advance(make(optimizer_class), 15, lambda x: np.rint(1000 * sphere(x)))
    cubed = advance(make(optimizer_class), 15, lambda x: np.rint(1000 * sphere(x)) ** 3 - 1e9)
    np.testing.assert_array_equal(plain, cubed)


# --- randomness, logging, threads -------------------------------------------------------------


@every_optimizer
def test_the_seed_decides(optimizer_class):
    runs = [advance(make(optimizer_class, seed), 8) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0][1:] != runs[2][1:]).any()


@every_optimizer
def test_global_generators_are_neither_read_nor_changed(optimizer_class):
    expected = advance(make(optimizer_class), 5)
    np.random.seed(12)  # noqa: NPY002
    np.random.standard_normal()  # noqa: NPY002 (leaves a second Gaussian in the cache)
    random.seed(12)
    random.gauss(0, 1)
    np.testing.assert_array_equal(advance(make(optimizer_class), 5), expected)
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


@every_optimizer
def test_pycma_reads_no_file_of_the_working_directory(optimizer_class, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cma_signals.in").write_text('{"timeout": 0}')
    optimizer = make(optimizer_class)
    advance(optimizer, 2)
    assert optimizer.stop() == {}
    assert [path.name for path in tmp_path.iterdir()] == ["cma_signals.in"]


# --- state ------------------------------------------------------------------------------------


def figures(optimizer):
    return (
        optimizer.mean.tobytes(),
        optimizer.best.tobytes(),
        optimizer.best_loss,
        optimizer.sigma,
        optimizer.evaluations,
        optimizer.non_finite,
        optimizer.stop(),
    )


@every_optimizer
@pytest.mark.parametrize("generations", [0, 1, 7])
def test_restored_continues_bit_for_bit(optimizer_class, generations):
    optimizer = make(optimizer_class)
    advance(optimizer, generations, rotated_ellipsoid)
    saved = pickle.dumps(optimizer.state())
    expected = advance(optimizer, 25, rotated_ellipsoid)

    other = optimizer_class(np.zeros(DIM), 3.0, np.random.default_rng(99))
    advance(other, 3)
    other.restore(pickle.loads(saved))
    np.testing.assert_array_equal(advance(other, 25, rotated_ellipsoid), expected)
    assert figures(other) == figures(optimizer)


@every_optimizer
def test_restored_between_ask_and_tell(optimizer_class):
    optimizer = make(optimizer_class)
    advance(optimizer, 3)
    pending = optimizer.ask()
    other = make(optimizer_class, seed=99)
    other.restore(pickle.loads(pickle.dumps(optimizer.state())))
    for each in (optimizer, other):
        each.tell(pending, sphere(pending))
    np.testing.assert_array_equal(advance(other, 10), advance(optimizer, 10))


@every_optimizer
def test_a_state_is_a_snapshot(optimizer_class):
    optimizer = make(optimizer_class)
    advance(optimizer, 3)
    state = optimizer.state()
    snapshot = pickle.dumps(state)
    first = advance(optimizer, 5)
    optimizer.restore(state)
    np.testing.assert_array_equal(advance(optimizer, 5), first)
    assert pickle.dumps(state) == snapshot
    optimizer.restore(state)
    for part in (state, state["own"]):
        for value in part.values():
            if isinstance(value, np.ndarray):
                value.fill(-7)
    np.testing.assert_array_equal(advance(optimizer, 5), first)


def test_restored_in_another_process(tmp_path):
    expected = []
    states = []
    for optimizer_class in OPTIMIZERS:
        optimizer = make(optimizer_class)
        advance(optimizer, 6)
        states.append((optimizer_class, optimizer.state()))
        expected.append(hashlib.sha256(advance(optimizer, 6).tobytes()).hexdigest())
    (tmp_path / "states.pickle").write_bytes(pickle.dumps(states))
    script = """
        import hashlib, pathlib, pickle, sys
        import numpy as np
        for optimizer_class, state in pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()):
            optimizer = optimizer_class(np.zeros(10), 1.0, np.random.default_rng(3))
            optimizer.restore(state)
            told = []
            for _ in range(6):
                told.append(optimizer.ask())
                optimizer.tell(told[-1], (told[-1] ** 2).sum(axis=1))
            print(hashlib.sha256(np.array(told).tobytes()).hexdigest())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "states.pickle")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == expected


@every_optimizer
def test_the_state_does_not_grow(optimizer_class):
    optimizer = make(optimizer_class)
    noise = np.random.default_rng(0)
    sizes = []
    for _ in range(2):
        advance(optimizer, 150, lambda candidates: noise.random(len(candidates)))
        sizes.append(len(pickle.dumps(optimizer.state())))
    assert sizes[1] < 1.05 * sizes[0]


@every_optimizer
def test_a_state_of_another_kind_is_refused(optimizer_class):
    optimizer = make(optimizer_class)
    other = make(CMAES if optimizer_class is not CMAES else PSO)
    with pytest.raises(InputError, match=f"that of {type(other).__name__} .* continue as"):
        optimizer.restore(other.state())
    with pytest.raises(InputError, match=r"\(12, 10\) and cannot .* with \(10, 10\)"):
        optimizer.restore(make(optimizer_class, population=12).state())
    philox = np.random.Generator(np.random.Philox(0))
    with pytest.raises(InputError, match="Philox generator and the optimiser a PCG64"):
        optimizer.restore(optimizer_class(X0, 0.5, philox).state())


# --- quality ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer_class", [each for each in OPTIMIZERS if each is not RandomSearch]
)
@pytest.mark.parametrize(
    ("loss", "factor"), [(sphere, 1e-2), (rotated_ellipsoid, 0.5)], ids=["sphere", "ellipsoid"]
)
def test_beats_random_search_of_equal_budget(optimizer_class, loss, factor):
    def median_best(each):
        found = []
        for seed in range(5):
            optimizer = make(each, seed)
            advance(optimizer, 150, loss)
            assert optimizer.evaluations == 1500
            found.append(optimizer.best_loss)
        return np.median(found)

    assert median_best(optimizer_class) < factor * median_best(RandomSearch)


# --- stopping ---------------------------------------------------------------------------------


@every_optimizer
def test_flat_generations_neither_stop_nor_print(optimizer_class, capfd):
    optimizer = make(optimizer_class)
    for _ in range(20):
        advance(optimizer, 1, lambda candidates: np.full(len(candidates), 0.05))
        assert optimizer.stop() == {}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("optimizer_class", "reason"),
    [
        (CMAES, "tolx"),
        (SepCMAES, "tolx"),
        (VkDCMAES, "tolx"),
        (DeapCMAES, "collapsed"),
        (PSO, "collapsed"),
    ],
)
def test_stops_when_converged(optimizer_class, reason):
    optimizer = make(optimizer_class)
    while not optimizer.stop():
        advance(optimizer, 1)
        assert optimizer.evaluations < 30_000
    assert reason in optimizer.stop()
    assert optimizer.stop() == optimizer.stop()
    assert optimizer.best_loss < 1e-15


def test_a_swarm_without_inertia_loss_diverges_and_stops():
    optimizer = make(PSO, inertia=1.0, c1=2.0, c2=2.0)
    while not optimizer.stop():
        advance(optimizer, 1)
        assert optimizer.evaluations < 30_000
    assert list(optimizer.stop()) == ["diverged"]


def test_deap_stops_on_an_ill_conditioned_matrix():
    optimizer = make(DeapCMAES)
    weights = 10.0 ** np.linspace(0, 20, DIM)
    while not optimizer.stop():
        advance(optimizer, 1, lambda candidates: candidates**2 @ weights)
        assert optimizer.evaluations < 100_000
    assert "conditioncov" in optimizer.stop()
