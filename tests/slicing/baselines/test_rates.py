from math import cos, pi

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicing.baselines.rates import POLICIES, Policy, RangeTest, plateaus
from slicing.errors import InputError


def curve(name, times, **options):
    policy = Policy(name, 20, **options)
    return [policy.factor(time) for time in times]


def test_each_policy_follows_its_formula():
    times = [0.0, 1.5, 4.0, 4.5, 9.0, 12.5, 19.9]
    assert curve("fixed", times) == [1.0] * len(times)
    steps = [0.5 ** (time // 4) for time in times]
    assert curve("step", times, decay=0.5, period=4) == pytest.approx(steps)
    falling = [0.5 ** (time / 4) for time in times]
    assert curve("exponential", times, decay=0.5, period=4) == pytest.approx(falling)
    half_wave = [(1 + cos(pi * time / 20)) / 2 for time in times]
    assert curve("cosine", times) == pytest.approx(half_wave)


def test_one_cycle_rises_and_falls_to_almost_nothing():
    assert curve("one_cycle", [0, 3, 6, 13, 20]) == pytest.approx(
        [1 / 25, (1 + 1 / 25) / 2, 1, (1 + 1 / 250_000) / 2, 1 / 250_000]
    )


def test_triangles_go_up_and_down_in_straight_lines():
    found = curve("triangular", [0, 1, 2, 4, 6, 8, 10], decay=0.2, period=4)
    assert found == pytest.approx([0.2, 0.4, 0.6, 1.0, 0.6, 0.2, 0.6])


def test_a_plateau_lowers_the_rate_each_time_the_loss_has_not_fallen():
    policy = Policy("plateau", 20, decay=0.1, period=2)
    losses = [3.0, 2.0, 2.0, 2.5, 1.0, 1.1, 1.2, 1.3, 1.4, 0.9]
    found = [policy.factor(n, losses[:n]) for n in range(len(losses) + 1)]
    powers = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    assert found == pytest.approx([0.1**power for power in powers])
    assert plateaus([2.0, 1.0], 1) == 0


@pytest.mark.parametrize("name", POLICIES)
@given(st.floats(0, 0.999), st.floats(0.1, 5))
def test_after_a_linear_warm_up_a_policy_runs_through_the_rest(name, share, warm_up):
    whole = Policy(name, 10, decay=0.3, period=2)
    warmed = Policy(name, 10, warm_up, decay=0.3, period=2)
    assert warmed.factor(share * warm_up) == pytest.approx(share)
    if name in ("cosine", "one_cycle"):
        later = warm_up + share * (10 - warm_up)
        assert warmed.factor(later) == pytest.approx(whole.factor(10 * share), abs=1e-9)
    assert 0 <= warmed.factor(10 * share) <= 1


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"name": "cosin"}, "policy"),
        ({"warm_up": -1}, "warm_up"),
        ({"warm_up": 20}, "warm_up"),
        ({"decay": 0}, "decay"),
        ({"decay": 1.5}, "decay"),
        ({"period": 0}, "period"),
    ],
)
def test_what_is_out_of_range_is_refused(options, option):
    with pytest.raises(InputError, match=f"^{option}=") as caught:
        Policy(**{"name": "step", "epochs": 20, **options})
    assert caught.value.option == option


def test_the_range_test_stays_below_the_rate_at_which_the_loss_grows():
    test = RangeTest()
    losses = [2.3 / (1 + (rate / 1e-3) ** 2) + (rate / 0.05) ** 3 for rate in test.rates]
    taken = [test.add(loss) for loss in losses]
    assert not all(taken)
    best = test.rates[int(np.argmin(losses))]
    assert best / 100 < test.proposed < best


def test_the_range_test_ends_where_the_loss_is_no_number():
    test = RangeTest()
    assert test.add(2.0)
    assert test.add(1.0)
    assert not test.add(float("nan"))
    assert test.proposed == pytest.approx(test.rates[1] / 10)
    empty = RangeTest()
    assert not empty.add(float("nan"))
    with pytest.raises(InputError, match=r"^learning_rate=auto finds none"):
        _ = empty.proposed
