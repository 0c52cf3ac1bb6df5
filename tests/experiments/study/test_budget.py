"""The time that a study has."""

from dataclasses import replace

import pytest

from evolve.trials import Finished
from experiments.study.budget import (
    OF_RUN,
    REPORT,
    Clock,
    refit_seconds,
    run_seconds,
    seconds_of,
    target_of,
)
from slicing.errors import InputError

NOTHING = {"minutes": None, "trials": None, "money": None, "price_per_hour": None,
           "target_accuracy": None}  # fmt: skip


def tried(seconds, folds=1, milliseconds=1.0):
    metrics = {"seconds": seconds, "milliseconds": milliseconds}
    details = {"folds": [[1, 2]] * folds}
    return Finished(0, "a", {}, 0, "tried", "", metrics, details, (0.5,), False, seconds)


@pytest.mark.parametrize(
    ("budget", "seconds"),
    [
        ({}, 600),
        ({"trials": 5}, None),
        ({"minutes": 2}, 120),
        ({"money": 2.0, "price_per_hour": 0.5}, 4 * 3600),
        ({"money": 1.0, "price_per_hour": 60.0, "minutes": 10}, 60),
    ],
)
def test_minutes_and_money_are_time(budget, seconds):
    assert seconds_of({**NOTHING, **budget}) == seconds


def test_a_target_is_a_loss():
    assert target_of(NOTHING) is None
    assert target_of({**NOTHING, "target_accuracy": 0.75}) == 0.25


@pytest.mark.parametrize(
    ("give", "budget", "sentence"),
    [
        (seconds_of, {"minutes": 0}, r"^budget\.minutes=0 is out of range"),
        (seconds_of, {"money": 1}, "^budget.money and budget.price_per_hour belong together"),
        (seconds_of, {"price_per_hour": -1, "money": 1}, r"^budget\.price_per_hour=-1 is out of"),
        (target_of, {"target_accuracy": 98}, r"^budget\.target_accuracy=98 is no share"),
    ],
)
def test_what_is_no_budget_is_refused(give, budget, sentence):
    with pytest.raises(InputError, match=sentence):
        give({**NOTHING, **budget})


def test_time_for_making_the_winner_again_is_kept_where_the_budget_has_it():
    assert Clock(600, 0).reserve(None, 100, 15) == REPORT
    short, long = tried(seconds=10), tried(seconds=1000)
    assert Clock(600, 0).reserve(short, 0, 7) == REPORT + 7 + 14
    assert Clock(600, 0).reserve(long, 0, 7) == REPORT
    assert refit_seconds(tried(10, folds=5), 7) < refit_seconds(tried(10), 7)
    # A slow engine takes long on the test images.
    slow = tried(10, milliseconds=40)
    assert Clock(60, 0).reserve(slow, 1000, 15) == REPORT + 10


def test_what_a_run_takes_beside_its_network_is_measured_by_the_first_trial():
    first = replace(tried(10), seconds=17.0)
    other = replace(first, number=1, seconds=10.1)
    assert run_seconds([other, first]) == 7
    # Nothing is measured where it was not the first rung, failed, or is not here.
    late, fallen = replace(first, rung=1), replace(first, status="memory")
    assert {run_seconds(each) for each in ([], [other], [late], [fallen])} == {OF_RUN}
    assert run_seconds([replace(first, seconds=10.1)]) > 0.1
