"""What a study optimizes, and the limits of its classifier."""

import pytest

from evolve.trials import Finished
from experiments.study.objectives import Limits, Objectives
from slicing.errors import InputError


def trial(number, accuracy, size=100, milliseconds=1.0, status="tried", engine=True):
    metrics = {
        "accuracy": accuracy, "bytes": size, "parameters": size // 4, "milliseconds": milliseconds
    }  # fmt: skip
    return Finished(
        number, "family", {}, 0, status, "", metrics, {"engine": engine}, (1 - accuracy,), False,
        1.0,
    )  # fmt: skip


def test_accuracy_comes_first_then_bytes():
    trials = [trial(0, 0.9), trial(1, 0.95, 200), trial(2, 0.95, 150)]
    assert Objectives().best(trials).number == 2
    assert Objectives(("bytes",)).best(trials).number == 0


def test_of_equals_the_quickest_comes_first():
    trials = [trial(0, 0.9, milliseconds=3.0), trial(1, 0.9, milliseconds=2.0), trial(2, 0.9)]
    assert [each.number for each in Objectives().valid(trials)] == [2, 1, 0]


def test_only_what_keeps_the_limits_and_has_an_engine_can_win():
    trials = [
        trial(0, 0.99, size=1000), trial(1, 0.98, engine=False), trial(2, 0.97, milliseconds=9.0),
        trial(3, 0.5), trial(4, 1.0, status="failed"),
    ]  # fmt: skip
    limited = Objectives(limits=Limits(bytes=500, milliseconds=5.0))
    assert [each.number for each in limited.valid(trials)] == [3]
    assert limited.best(trials[:3]) is None


def test_a_broken_limit_is_worse_than_any_error_and_the_more_so():
    limited = Objectives(limits=Limits(bytes=100))
    losses = [limited(trial(0, 0.0 if size <= 100 else 1.0, size).metrics)[0]
              for size in (50, 100, 101, 200, 10_000)]  # fmt: skip
    assert losses[0] == losses[1] == 1.0
    assert losses[1:] == sorted(losses[1:])
    assert 1 < losses[2] < losses[3] < losses[4] < 2


def test_the_front_holds_what_none_beats():
    trials = [trial(0, 0.9, 10), trial(1, 0.95, 20), trial(2, 0.94, 30), trial(3, 0.94, 30, 0.5)]
    assert [each.number for each in Objectives().front(trials)] == [1, 3, 0]


@pytest.mark.parametrize("names", [("accuracy",), ("bytes", "accuracy"), ("milliseconds",)])
def test_a_failure_loses_against_all_and_a_broken_limit_against_all_others(names):
    limited = Objectives(names, Limits(bytes=100))
    kept, broken, more = (limited(trial(0, 0.0, size).metrics) for size in (100, 101, 10**9))
    for losses in zip(kept, broken, more, limited.worst, strict=True):
        assert losses[0] < losses[1] < losses[2] < losses[3]


def test_a_target_is_reached_by_the_accuracy_of_an_engine_that_can_be_handed_over():
    objectives = Objectives(("bytes", "accuracy"), Limits(bytes=100))
    assert objectives.reaches(trial(0, 0.9), 1 - 0.9)
    assert not objectives.reaches(trial(0, 0.89), 1 - 0.9)
    for short in ({"size": 101}, {"engine": False}):
        assert not objectives.reaches(trial(0, 0.95, **short), 1 - 0.9)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Objectives(()), "^objectives=.* has none, or one twice"),
        (lambda: Objectives(("bytes", "bytes")), "has none, or one twice"),
        (
            lambda: Objectives(("acuracy",)),
            "^objectives=acuracy is unknown: did you",
        ),
        (lambda: Limits(bytes=0), "^bytes=0 is out of range"),
    ],
)
def test_a_mistake_is_one_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
