import numpy as np
import pytest
from scipy.stats import binomtest

from slicing.adaptive.cascade import Cascade
from slicing.adaptive.dial import Dial, MaxLoss, MeanTime, most_flips, upper_bound
from slicing.adaptive.outcome import Decisions
from slicing.adaptive.simple import Fixed, Random
from slicing.errors import InputError
from tests.slicing.adaptive.planted import planted


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 100), (16, 5000), (50, 50)])
def test_bounds_are_the_exact_ones(count, n):
    theirs = binomtest(count, n, alternative="less").proportion_ci(0.95, "exact").high
    assert upper_bound(count, n, 0.95) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(
    ("n", "flips"),
    [
        (1000, [None, None, 0, 1]),
        (2000, [None, 0, 1, 4]),
        (5000, [1, 4, 8, 16]),
        (10000, [4, 12, 20, 38]),
    ],
)
def test_so_many_flips_certify_a_loss(n, flips):
    assert [most_flips(n, loss, 0.95) for loss in (0.001, 0.002, 0.003, 0.005)] == flips


def roles(selector=None, n=2000):
    select, certify = planted(n, seed=1), planted(n, seed=2)
    selector = selector or Cascade.fit(select, None, ())
    nothing = np.zeros((n, 0), np.float32)
    return tuple(Decisions.of(selector, nothing, each) for each in (select, certify))


def test_thresholds_stand_halfway_between_what_was_seen_and_at_the_ends():
    dial = Dial.certified(*roles(), None)
    assert (dial.thresholds[0], dial.thresholds[-1]) == (-np.inf, np.inf)
    assert (np.diff(dial.thresholds) > 0).all()
    assert not np.isin(dial.thresholds, roles()[0].urgencies()).any()


def test_flips_and_times_are_those_of_the_certify_role():
    select, certify = roles()
    dial = Dial.certified(select, certify, None)
    table = certify.table
    assert (dial.flips[0], dial.bounds[0], dial.milliseconds[0]) == (0, 0.0, 10.0)
    harmful = table.right[-1] & ~table.right[0]
    assert (dial.flips[-1], dial.milliseconds[-1]) == (harmful.sum(), 1.0)
    # The first asks the largest member alone, the last the smallest.
    assert dial.asked[[0, -1]].tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    assert (np.diff(dial.bounds) >= 0).all()


def test_a_loss_chooses_the_fastest_point_that_is_certified_for_it():
    dial = Dial.certified(*roles(), None)
    at = dial.point(MaxLoss(0.01))
    assert dial.bounds[at] <= 0.01
    assert dial.milliseconds[at] == dial.milliseconds[dial.bounds <= 0.01].min()
    # The margins of this table tell without error, so nearly all that is spared is spared.
    assert dial.milliseconds[at] < 6.0
    assert dial.point(MaxLoss(0.0)) == 0
    within = dial.point(MeanTime(5.0))
    assert dial.milliseconds[within] <= 5.0
    assert dial.accuracies[within] == dial.accuracies[dial.milliseconds <= 5.0].max()
    assert dial.point(MeanTime(0.1)) == dial.milliseconds.argmin()


def test_the_first_failure_ends_the_sequence():
    """After a point that is not certified, none is, however few flips it has."""
    dial = Dial.certified(*roles(), None)
    for loss in (0.003, 0.01, 0.1):
        is_certified = dial.bounds <= loss
        assert not is_certified[np.argmin(is_certified) :].any() or is_certified.all()


def test_the_bound_holds_as_often_as_it_says():
    """Of many certify roles, at most 1 in 20 promises less than a large table finds, and few do."""
    chance, select = Random(2), planted(2000, seed=1)
    truth = planted(40000, seed=99)
    draw = np.random.default_rng(5)
    looked = draw.random((40000, 1), np.float32)
    broken = 0
    for seed in range(30):
        tables = select, planted(300, seed=seed + 10)
        both = [Decisions.of(chance, draw.random((len(t), 1), np.float32), t) for t in tables]
        dial = Dial.certified(*both, None, 0.9)
        at = dial.point(MaxLoss(0.08))
        sent = looked[:, 0] > dial.thresholds[at]
        lost = truth.right[-1] & ~np.where(sent, truth.right[-1], truth.right[0])
        broken += lost.mean() > 0.08
    assert broken <= 7


def test_a_selector_without_a_threshold_has_three_points():
    dial = Dial.certified(*roles(Fixed(1)), None)
    assert dial.milliseconds.tolist() == [10.0, 3.0, 1.0]


def test_other_dials_and_budgets_are_refused():
    dial = Dial.certified(*roles(Fixed(1)), None)
    with pytest.raises(InputError, match="A dial ends with"):
        Dial(**(dial.arrays() | {"thresholds": np.array([0.0, 1.0, 2.0])}), n=1, confidence=0.9)
    with pytest.raises(InputError, match="loss=2 is out of range"):
        MaxLoss(2)
    with pytest.raises(InputError, match="milliseconds=-1 is out of range"):
        MeanTime(-1)


def test_points_that_take_as_long_as_the_largest_member_are_left_out():
    table, nothing = planted(500, times=(1.0, 9.0, 10.0)), np.zeros((500, 0), np.float32)
    decisions = Decisions.of(Cascade((0, 1, 2), np.array([[0.0, 1.0]] * 3)), nothing, table)
    dial = Dial.certified(decisions, decisions, None)
    assert dial.milliseconds[0] == 10.0
    assert (dial.milliseconds[1:] < 10.0).all()
    assert decisions.outcome(float(decisions.urgencies()[0]) - 1).milliseconds.mean() > 10.0
