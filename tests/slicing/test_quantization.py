"""The grids of int8: what lies on one is written and read back without loss."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slicing.quantization import LEVELS, levels, on_grid, snap, step_of

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
VALUES = st.lists(FINITE, min_size=1, max_size=20).map(lambda values: np.array(values, np.float32))


@given(VALUES)
def test_the_grid_reaches_all_values_and_is_not_much_wider(values):
    step = step_of(values)
    largest = np.abs(values).max().astype(np.float64)
    assert LEVELS * step.astype(np.float64) >= largest
    assert LEVELS * step.astype(np.float64) <= max(largest * (1 + 2.0**-14), 2.0**-90)


@given(VALUES)
def test_the_product_of_a_level_and_the_step_is_exact(values):
    step = step_of(values)
    numbers = np.arange(-LEVELS, LEVELS + 1, dtype=np.int8)
    exact = numbers.astype(np.float64) * step.astype(np.float64)
    finite = np.abs(exact) <= np.finfo(np.float32).max
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(on_grid(numbers, step)[finite], exact[finite])


@given(st.lists(st.integers(-LEVELS, LEVELS), max_size=20), st.sampled_from([-1, 1]), VALUES)
def test_values_that_reach_the_end_of_a_grid_have_its_step(numbers, sign, values):
    step = step_of(values / np.float32(2))  # half, so that no product overflows
    given_levels = np.array([*numbers, sign * LEVELS], np.int8)
    values = on_grid(given_levels, step)
    assert step_of(values) == step
    np.testing.assert_array_equal(levels(values, step), given_levels)
    np.testing.assert_array_equal(snap(values, step), values)


def test_kernels_have_steps_of_their_own():
    kernels = np.zeros((3, 3, 2, 4), np.float32)
    kernels[0, 0, 0] = [1.0, -2.0, 0.0, 127.0]
    steps = step_of(kernels, (0, 1, 2))
    assert steps.shape == (4,)
    for kernel, step in enumerate(steps):
        assert step == step_of(kernels[..., kernel])
    assert steps[3] == 1.0
