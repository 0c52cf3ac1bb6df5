import math

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState, create_trial

from experiments.study.importance import importance
from tests.experiments.study.summaries import trial

RATE, POOLING = "cnn:baseline.learning_rate", "cnn:baseline.pooling"
OF = {
    RATE: FloatDistribution(1e-4, 1e-1, log=True),
    POOLING: CategoricalDistribution(["[true]", "[false]", "[true,true]"]),
    "family": CategoricalDistribution(["cnn", "sliced"]),
}
WINNER = trial(0, "cnn")


def kept(n, status="tried", family="cnn", is_constant=False):
    """A study in which the learning rate decides, and half of the trials were ended early."""
    draw, study = np.random.default_rng(0), optuna.create_study()
    for number in range(n):
        rate = 1e-2 if is_constant else float(10 ** draw.uniform(-4, -1))
        accuracy = 1 - abs(math.log10(rate) + 2) / 10
        pooling = OF[POOLING].choices[0 if is_constant else draw.integers(3)]
        params = {RATE: rate, POOLING: pooling, "family": family}
        kept_of_it = {"family": family, "status": status, "metrics": {"accuracy": accuracy}}
        state = (TrialState.COMPLETE, TrialState.PRUNED)[number % 2]
        study.add_trial(
            create_trial(
                state=state,
                value=1 - accuracy,
                params=params,
                distributions=OF,
                user_attrs=kept_of_it,
            )
        )
    return study


def test_what_decides_comes_first():
    found = importance(kept(40), WINNER)
    assert [*found] == ["baseline.learning_rate", "baseline.pooling"]
    assert found["baseline.learning_rate"] > 0.7
    assert sum(found.values()) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "study", [kept(0), kept(14), kept(40, "failed"), kept(40, family="sliced")]
)
def test_from_few_trials_of_the_family_nothing_is_said(study):
    assert importance(study, WINNER) == {}


@pytest.mark.filterwarnings("error")
def test_where_all_did_equally_well_nothing_is_said():
    assert importance(kept(20, is_constant=True), WINNER) == {}


def test_a_family_without_options_has_none_that_matter():
    study = optuna.create_study()
    for each in kept(20).trials:
        each.params, each.distributions = {}, {}
        study.add_trial(each)
    assert importance(study, WINNER) == {}
