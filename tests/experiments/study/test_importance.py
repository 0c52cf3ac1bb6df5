"""What mattered to a study, as a search leaves it."""

import math

import pytest

from evolve.trials import Tried, pruner
from experiments.study.importance import importance
from tests.evolve.trials.fakes import memory, search_in, space_of
from tests.experiments.study.summaries import trial

OF = {
    "baseline.learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "baseline.pooling": {"choices": [[True], [False], [True, True]]},
    "baseline.epochs": {"rungs": [2, 6]},
}
WINNER = trial(0, "cnn")


def judged(accuracy):
    return Tried(metrics={"accuracy": accuracy, "loss": 1 - accuracy})


def decides(task):
    """Give an accuracy that the learning rate decides."""
    accuracy = 1 - abs(math.log10(task.options["baseline.learning_rate"]) + 2) / 10
    return judged(accuracy)


def kept(n, work=decides, family="cnn", options=OF):
    """A study in which some of the trials were ended early."""
    study = memory()
    list(
        search_in(
            study, n, space=space_of({family: options}), work=work, starts=[],
            pruner=pruner("asha", 2),
        )
    )  # fmt: skip
    return study


def test_what_decides_comes_first():
    found = importance(kept(40), WINNER)
    assert [*found] == ["baseline.learning_rate", "baseline.pooling"]
    assert found["baseline.learning_rate"] > 0.7
    assert sum(found.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "options",
    [{"n": 1}, {"n": 14}, {"n": 40, "work": lambda task: Tried("failed")},
     {"n": 40, "family": "sliced"}],
)  # fmt: skip
def test_from_few_trials_of_the_family_nothing_is_said(options):
    assert importance(kept(**options), WINNER) == {}


@pytest.mark.filterwarnings("error")
def test_where_all_did_equally_well_nothing_is_said():
    assert importance(kept(20, lambda task: judged(0.5)), WINNER) == {}


def test_a_family_without_options_has_none_that_matter():
    study = memory()
    for each in kept(20).trials:
        options = {name: value for name, value in each.params.items() if name == "family"}
        each.params, each.distributions = options, {"family": each.distributions["family"]}
        study.add_trial(each)
    assert importance(study, WINNER) == {}
