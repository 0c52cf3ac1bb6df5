"""What goes in and comes out, and misuse."""

import re

import numpy as np
import pytest

import evolve.optimizers
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
from tests.evolve.optimizers.harness import (
    DIM,
    OPTIMIZERS,
    X0,
    advance,
    every_optimizer,
    make,
    sphere,
)

pytestmark = pytest.mark.usefixtures("warnings_are_errors")


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
        ({"sigma0": 0.0}, r"^sigma0=0\.0 is out of range"),
        ({"sigma0": np.inf}, r"^sigma0=inf is out of range"),
        ({"rng": np.random.RandomState(0)}, r"^rng is a RandomState"),
        ({"population": 3}, r"^population=3 is out of range"),
        ({"bounds": 0.0}, r"^bounds=0\.0 is out of range"),
        ({"bounds": -1.0}, r"^bounds=-1\.0 is out of range"),
        ({"bounds": np.nan}, r"^bounds=nan is out of range"),
        ({"bounds": np.inf}, r"^bounds=inf is out of range"),
    ],
)
def test_bad_arguments(optimizer_class, arguments, message):
    good = {"x0": X0, "sigma0": 1.0, "rng": np.random.default_rng(0), "population": None}
    with pytest.raises(InputError, match=message) as caught:
        optimizer_class(**(good | arguments))
    assert [caught.value.option] == list(arguments)


@pytest.mark.parametrize(
    ("optimizer_class", "options"),
    [
        (CMAES, {"restarts": -1}),
        (SepCMAES, {"population_growth": 0.5}),
        (VkDCMAES, {"population_growth": np.nan}),
        (CMAES, {"population_growth": np.inf}),
        (DeapGA, {"crossover": 1.5}),
        (DeapGA, {"mutation": -0.1}),
        (DeapGA, {"mutation_step": np.inf}),
        (DeapGA, {"blend": -1.0}),
        (DeapGA, {"elites": 11}),
        (DeapGA, {"tournament": 0}),
        (PSO, {"inertia": -1.0}),
        (PSO, {"c1": np.nan}),
        (PSO, {"max_velocity": 0.0}),
        (PSOLocal, {"max_velocity": np.inf}),
        (PSOLocal, {"c2": np.inf}),
        (PSOLocal, {"neighbors": 1}),
        (PSOLocal, {"neighbors": 11}),
    ],
)
def test_bad_options_are_named(optimizer_class, options):
    [(name, value)] = options.items()
    with pytest.raises(InputError, match=f"^{name}={value} is out of range: choose ") as caught:
        make(optimizer_class, **options)
    assert caught.value.option == name


@pytest.mark.parametrize(("optimizer_class", "limit"), [(CMAES, 3000), (DeapCMAES, 500)])
def test_too_many_dimensions_names_the_alternative(optimizer_class, limit):
    assert optimizer_class.max_dim == limit
    sentence = rf"^x0 has {limit + 1} dimensions, .* takes at most {limit}: choose (\w+) or (\w+)"
    with pytest.raises(InputError, match=sentence) as raised:
        optimizer_class(np.zeros(limit + 1), 1.0, np.random.default_rng(0))
    for name in re.match(sentence, str(raised.value)).groups():
        getattr(evolve.optimizers, name)(np.zeros(limit + 1), 1.0, np.random.default_rng(0))


@pytest.mark.parametrize("optimizer_class", [SepCMAES, VkDCMAES, DeapGA, PSO, PSOLocal])
def test_thousands_of_dimensions(optimizer_class):
    optimizer = optimizer_class(np.ones(20_000), 0.1, np.random.default_rng(0))
    assert optimizer.max_dim is None
    assert optimizer.population == 33
    first, *_, last = advance(optimizer, 4)
    assert sphere(last).mean() != sphere(first).mean()
    assert np.isfinite(last).all()


@pytest.mark.parametrize(
    ("optimizer_class", "dim", "population"),
    [
        (each, dim, population)
        for each in OPTIMIZERS
        for dim, population in [(10, 10), (100, 17), (289, 20), (1000, 24), (3000, 28)]
        # Random search does not learn, and a matrix of 3000 x 3000 takes its time.
        if each is not RandomSearch and not (each.max_dim and dim > min(each.max_dim, 1000))
    ],
)
def test_the_default_population_learns_in_every_dimension(optimizer_class, dim, population):
    """In 14 generations, which is what a block gets."""
    optimizer = optimizer_class(np.ones(dim), 0.3, np.random.default_rng(0))
    advance(optimizer, 14)
    assert optimizer.population == population
    assert sphere(optimizer.mean[None]) < dim  # which is the loss of x0
