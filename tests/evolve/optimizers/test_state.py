"""A restored optimizer continues bit for bit."""

import hashlib
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from evolve.optimizers import CMAES, PSO
from slicing.errors import InputError
from tests.evolve.optimizers.harness import (
    DIM,
    OPTIMIZERS,
    X0,
    advance,
    every_optimizer,
    figures,
    make,
    rotated_ellipsoid,
    sphere,
)

pytestmark = pytest.mark.usefixtures("warnings_are_errors")


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
    """Between ask and tell: pycma keeps what it sent by Python's hashes, new in every process.

    Of 200 candidates some are so far out that it would shorten those it does not know, and to a
    population below 6 it adds mirrored candidates, which it weighs by themselves.
    """
    expected = []
    states = []
    for optimizer_class in OPTIMIZERS:
        for population in (4, 200):
            optimizer = make(optimizer_class, population=population)
            advance(optimizer, 6, rotated_ellipsoid)
            pending = optimizer.ask()
            states.append((optimizer_class, population, optimizer.state()))
            optimizer.tell(pending, sphere(pending))
            expected.append(hashlib.sha256(advance(optimizer, 6).tobytes()).hexdigest())
    (tmp_path / "states.pickle").write_bytes(pickle.dumps(states))
    script = """
        import hashlib, pathlib, pickle, sys
        import numpy as np
        states = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
        for optimizer_class, population, state in states:
            rng = np.random.default_rng(3)
            optimizer = optimizer_class(np.zeros(10), 1.0, rng, population=population)
            optimizer.restore(state)
            optimizer.tell(state["asked"], (state["asked"] ** 2).sum(axis=1))
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
    with pytest.raises(InputError, match="Philox generator and the optimizer a PCG64"):
        optimizer.restore(optimizer_class(X0, 0.5, philox).state())
