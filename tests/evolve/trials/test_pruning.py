"""Which trials go on, beside Optuna's pruners where nothing interrupts them."""

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.pruners import HyperbandPruner, SuccessiveHalvingPruner

from evolve.trials import pruner
from evolve.trials.pruning import FACTOR, Hyperband
from slicing.errors import InputError
from tests.evolve.trials.fakes import memory

RUNGS = 3
LOSSES = st.lists(
    st.lists(st.sampled_from([n / 8 for n in range(9)]), min_size=RUNGS, max_size=RUNGS),
    min_size=1,
    max_size=30,
)


def ours(prune, trials):
    reached, ends = [dict[int, float]() for _ in range(RUNGS)], []
    for number, losses in enumerate(trials):
        rung = 0
        while rung < RUNGS - 1 and prune(number, rung, losses[rung], dict(reached[rung])):
            reached[rung][number] = losses[rung]
            rung += 1
        reached[rung][number] = losses[rung]
        ends.append(rung)
    return ends


def optunas(prune, trials):
    study, ends = memory(), []
    study.pruner = prune
    for losses in trials:
        trial = study.ask()
        for rung, loss in enumerate(losses[:-1]):
            trial.report(loss, FACTOR**rung)
            if trial.should_prune():
                break
        else:
            rung = RUNGS - 1
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        ends.append(rung)
    return ends


@settings(max_examples=25, deadline=None)
@given(LOSSES)
def test_asha_is_that_of_optuna(trials):
    theirs = SuccessiveHalvingPruner(min_resource=1, reduction_factor=FACTOR)
    assert ours(pruner("asha", RUNGS), trials) == optunas(theirs, trials)


@settings(max_examples=25, deadline=None)
@given(LOSSES)
def test_hyperband_is_that_of_optuna_but_for_who_is_in_which_bracket(trials):
    prune = Hyperband(RUNGS)
    theirs = HyperbandPruner(
        min_resource=1, max_resource=FACTOR ** (RUNGS - 1), reduction_factor=FACTOR
    )
    theirs._get_bracket_id = lambda study, trial: prune.bracket(trial.number)
    assert ours(prune, trials) == optunas(theirs, trials)


def test_the_brackets_of_hyperband_have_the_sizes_of_its_algorithm():
    prune = Hyperband(RUNGS)
    assert prune._sizes == [9, 5, 3]
    counts = [0] * RUNGS
    for number in range(1700):
        counts[prune.bracket(number)] += 1
    assert counts == pytest.approx([900, 500, 300], rel=0.1)


def test_the_median_waits_for_four():
    prune, three = pruner("median", RUNGS), {0: 0.1, 1: 0.2, 2: 0.3}
    assert prune(9, 0, 0.9, three)
    assert not prune(9, 0, 0.9, {**three, 3: 0.4})
    assert prune(9, 0, 0.25, {**three, 3: 0.4})


def test_none_ends_no_trial():
    assert pruner("none", RUNGS)(9, 0, 0.9, dict.fromkeys(range(8), 0.1))


def test_a_name_that_is_none_gets_the_nearest():
    with pytest.raises(InputError, match=r"^pruner=hyperbend is unknown: did you mean hyperband\?"):
        pruner("hyperbend", RUNGS)
