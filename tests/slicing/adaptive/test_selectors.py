"""Each selector on a table whose optimum is known."""

import numpy as np
import pytest

from slicing.adaptive.activations import PremodelActivations
from slicing.adaptive.cascade import Cascade
from slicing.adaptive.deferral import Deferral
from slicing.adaptive.neighborhood import Neighborhood, placed
from slicing.adaptive.outcome import Decisions, oracle
from slicing.adaptive.selector import LARGEST, SMALLEST, Decision, nobody, route
from slicing.adaptive.simple import Fixed, Random
from slicing.adaptive.table import Costs, Table
from slicing.errors import InputError
from tests.slicing.adaptive.planted import planted


@pytest.fixture(scope="module")
def table():
    return planted()


def nothing(table):
    return np.zeros((len(table), 0), np.float32)


def best(selector, table, looked, errors):
    """The least mean time at no more errors than this."""
    decisions = Decisions.of(selector, looked, table)
    between = np.quantile(decisions.urgencies(), np.linspace(0, 1, 100))
    found = [decisions.outcome(float(each)) for each in (LARGEST, *between, SMALLEST)]
    wrong = [(each.answers != table.labels).sum() for each in found]
    return min(
        each.milliseconds.mean() for each, n in zip(found, wrong, strict=True) if n <= errors
    )


def test_the_oracle_asks_the_cheapest_that_is_right(table):
    found = oracle(table)
    right = table.right
    assert (found.answers == table.labels).mean() == right.any(axis=0).mean()
    cheapest = np.where(right[0], 1.0, np.where(right[1], 3.0, np.where(right[2], 10.0, 1.0)))
    np.testing.assert_array_equal(found.milliseconds, cheapest)


@pytest.mark.parametrize("member", [0, 1, 2])
def test_fixed_asks_one_member(table, member):
    found = Decisions.of(Fixed.fit(table, None, (), member=member), nothing(table), table).outcome(
        0.5
    )
    assert (found.asked == (np.arange(3) == member)).all()
    np.testing.assert_array_equal(found.answers, table.answers[member])
    with pytest.raises(InputError, match="member=3 is out of range"):
        Fixed.fit(table, None, (), member=3)


def test_random_mixes_the_ends_in_proportion(table):
    images = np.random.default_rng(0).random((600, 4, 4, 1)).astype(np.float32)
    chance = Random.fit(table, images, ())
    looked = chance.look(images, ())
    np.testing.assert_array_equal(chance.look(images[::-1], ()), looked[::-1])
    found = Decisions.of(chance, looked, table).outcome(0.75)
    assert found.asked[:, 2].mean() == pytest.approx(0.25, abs=0.05)
    assert (found.asked.sum(axis=1) == 1).all()


def test_a_cascade_whose_margins_tell_all_spares_all_that_can_be_spared(table):
    cascade = Cascade.fit(table, None, ())
    errors = (~table.right[2]).sum()
    # Those that the first gets right pay 1, others that the second does 4, the rest all 14.
    expected = np.where(table.right[0], 1.0, np.where(table.right[1], 4.0, 14.0)).mean()
    assert cascade.chain == (0, 1, 2)
    assert best(cascade, table, nothing(table), errors) == pytest.approx(expected, rel=0.05)


def test_a_cascade_leaves_out_a_member_that_does_not_pay(table):
    costs = Costs(np.array([1.0, 9.0, 10.0]), np.array([1.0, 9.0, 10.0]))
    dear = Table(table.labels, table.answers, table.scores, costs)
    assert Cascade.fit(dear, None, ()).chain == (0, 2)


def test_deferral_skips_a_member_that_is_never_better(table):
    """The second member answers as the first does: what the first leaves goes to the third."""
    answers = table.answers.copy()
    answers[1] = answers[0]
    copied = Table(table.labels, answers, table.scores, table.costs)
    deferral = Deferral.fit(copied, None, ())
    found = best(deferral, copied, nothing(table), (~copied.right[2]).sum())
    assert found == pytest.approx(np.where(copied.right[0], 1.0, 11.0).mean(), rel=0.1)
    decisions = Decisions.of(deferral, nothing(table), copied)
    asked = decisions.outcome(max(float(np.median(decisions.urgencies())), 0.0)).asked
    assert not asked[:, 1].any()
    assert asked[:, 2].any()


def test_deferral_knows_in_which_class_a_member_is_weak():
    """Margins say nothing here; the class that is answered says all."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 900)
    weak = np.where(labels == 2, rng.integers(0, 2, 900) * 2, labels)
    weak = np.where((labels == 0) & (rng.random(900) < 0.5), 2, weak)
    scores = np.ones((2, 900, 3), np.float32)
    for member, answers in enumerate((weak, labels)):
        scores[member, np.arange(900), answers] = 0.5
    costs = Costs(np.array([1.0, 5.0]), np.array([1.0, 5.0]))
    table = Table(labels, np.stack([weak, labels]), scores, costs)
    deferral = Deferral.fit(table, None, ())
    urgency = deferral.after(0, *table.ask(0, np.arange(900))).urgency
    # Those that are answered 1 are right, all of them.
    assert urgency[weak == 1].max() < urgency[weak != 1].min()


def test_activations_ask_the_member_that_is_right_nearby(table):
    """Where an image lies tells how hard it is."""
    hardness = np.where(table.right[0], 0, np.where(table.right[1], 1, 2))
    points = (hardness[:, None] + 0.01 * np.arange(600)[:, None] / 600).astype(np.float32)
    premodel = PremodelActivations(Neighborhood(points, table.right), table.costs.alone)
    found = Decisions.of(premodel, points, table).outcome(1e-6)
    is_helped = (hardness == 1) | ((hardness == 2) & table.right[2])
    assert (found.answers == table.labels)[is_helped].mean() > 0.95
    assert found.asked[hardness == 0, 0].mean() > 0.95


def test_neighbors_share_what_members_got_right():
    points = np.repeat(np.array([[0.0], [9.0]], np.float32), 30, axis=0)
    right = np.stack([points[:, 0] < 5, points[:, 0] > 5])
    near = Neighborhood(points, right)
    np.testing.assert_array_equal(
        near.local_accuracy(np.array([[1.0], [8.0]], np.float32)), [[1.0, 0.0], [0.0, 1.0]]
    )
    np.testing.assert_array_equal(
        placed(np.array([[1.0, 3.0, np.inf]], np.float32)), [[0.25, 0.75, 0]]
    )


def always_on(member, rows):
    return Decision(np.full(len(rows), member + 1 if member < 2 else 0), np.full(len(rows), 1.0))


@pytest.mark.parametrize(
    ("deadline", "asked"),
    [
        (np.inf, [True, True, True]),
        (14.0, [True, True, True]),
        (13.9, [True, True, False]),
        (3.9, [True, False, False]),
        (0.1, [True, False, False]),
    ],
)
def test_a_deadline_caps_the_members_that_are_asked(table, deadline, asked):
    found = route(nobody(600), always_on, 0.0, table.costs, deadline)
    assert (found == asked).all()


def test_a_deadline_that_the_largest_misses_leaves_the_largest_that_fits(table):
    found = route(nobody(600), always_on, LARGEST, table.costs, 5.0)
    assert (found == [False, True, False]).all()


def test_costs_are_those_of_what_was_asked():
    costs = Costs(np.array([1.0, 9.0]), np.array([1.0, 8.0]), look=0.5, decide=0.25)
    asked = np.array([[True, False], [True, True], [False, True]])
    np.testing.assert_allclose(costs.of(asked), [1.75, 9.75, 9.5])
    np.testing.assert_allclose(costs.of(asked, routed=False), [1.0, 9.0, 9.0])
    with pytest.raises(InputError, match="times of 0 ms or more"):
        Costs(np.array([1.0, 2.0]), np.array([1.0]))
