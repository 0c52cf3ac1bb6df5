"""An equal optimizer that is told the recorded losses goes on bit for bit, in any process."""

import hashlib
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tests.evolve.optimizers.harness import (
    OPTIMIZERS,
    RESTARTING,
    advance,
    every_optimizer,
    figures,
    make,
    rotated_ellipsoid,
    sphere,
)

pytestmark = pytest.mark.usefixtures("warnings_are_errors")


def some_losses(candidates):
    """Losses that are not always finite, nor different."""
    losses = np.round(sphere(candidates), 2)
    losses[0], losses[-1] = np.nan, np.inf
    return losses


def flat_losses(candidates):
    return np.full(len(candidates), 0.05)


def replay(optimizer, recorded):
    for losses in recorded:
        optimizer.tell(optimizer.ask(), losses)


@every_optimizer
@pytest.mark.parametrize("options", [{}, {"bounds": 0.5}, {"population": 4}])
@pytest.mark.parametrize("generations", [0, 1, 7])
def test_replayed_goes_on_bit_for_bit(optimizer_class, options, generations):
    optimizer, recorded = make(optimizer_class, **options), []
    for _ in range(generations):
        candidates = optimizer.ask()
        recorded.append(some_losses(candidates))
        optimizer.tell(candidates, recorded[-1])
    other = make(optimizer_class, **options)
    replay(other, recorded)
    assert figures(other) == figures(optimizer)
    expected = advance(optimizer, 25, rotated_ellipsoid)
    np.testing.assert_array_equal(advance(other, 25, rotated_ellipsoid), expected)
    assert figures(other) == figures(optimizer)


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_replayed_in_another_process(hash_seed):
    """Where pycma keeps what it sent by Python's hashes, which differ by process.

    Of 200 candidates some are so far out that it would shorten those it does not know, and to a
    population below 6 it adds mirrored candidates, which it weighs by themselves. Equal losses
    make the strategies restart.
    """
    kinds = [(each, n, "some_losses", 9) for each in OPTIMIZERS for n in (4, 200)]
    kinds += [(each, 10, "flat_losses", 70) for each in RESTARTING]
    expected = [
        hashlib.sha256(
            b"".join(
                each.tobytes()
                for each in asked(make(kind, population=n), globals()[loss], generations)
            )
        ).hexdigest()
        for kind, n, loss, generations in kinds
    ]
    names = [(kind.__name__, *rest) for kind, *rest in kinds]
    script = f"""
        import hashlib
        from evolve import optimizers
        from tests.evolve.optimizers import test_replay as here
        for name, population, loss, generations in {names!r}:
            optimizer = here.make(getattr(optimizers, name), population=population)
            told = here.asked(optimizer, getattr(here, loss), generations)
            print(hashlib.sha256(b"".join(each.tobytes() for each in told)).hexdigest())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONHASHSEED": hash_seed},
    )  # fmt: skip
    assert done.stdout.split() == expected


def asked(optimizer, loss, generations):
    """Advance, where populations may grow; the candidates of each generation."""
    told = []
    for _ in range(generations):
        told.append(optimizer.ask())
        optimizer.tell(told[-1], loss(told[-1]))
    return told
