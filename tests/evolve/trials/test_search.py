"""The search: its order, its ends, its rungs, and what fails on the way."""

import math
from collections import Counter

import pytest
from optuna.trial import TrialState

from evolve.executors import ProcessExecutor
from evolve.trials import PRUNERS, Budget, Tried, finished, pruner
from tests.evolve.trials.fakes import (
    DESCRIPTIONS,
    loss_of,
    memory,
    search_in,
    space_of,
    starts_of,
    story,
    work,
)

NONE = pruner("none", 3)


class Clock:
    """Goes on when it is told."""

    now = 0.0

    def __call__(self):
        return self.now


def test_starts_come_first_in_their_order():
    ended = list(search_in(memory(), 5))
    wanted = [(name, values["x"]) for name, values in starts_of(space_of()) if name == "line"]
    assert [(each.family, each.options.get("x")) for each in ended[:2]] == wanted
    assert [each.number for each in ended] == [0, 1, 2, 3, 4]


def test_a_trial_climbs_its_rungs_and_keeps_the_last():
    ended = list(search_in(memory(), 3, pruner=NONE))
    assert [(each.family, each.rung) for each in ended] == [("line", 2), ("line", 2), ("flat", 0)]
    assert [each.options.get("epochs") for each in ended] == [9, 9, None]
    assert ended[0].values == (pytest.approx(0.025 / 2 + 0.1 + 0.3 / 9),)


@pytest.mark.parametrize("name", PRUNERS)
def test_a_pruner_spares_work(name):
    done = []

    def counted(task):
        done.append(task.rung)
        return work(task)

    ended = list(search_in(memory(), 30, pruner=pruner(name, 3), work=counted, seed=3))
    pruned = [each.is_pruned for each in ended]
    assert pruned == [each.rung < 2 and each.family != "flat" for each in ended]
    assert (Counter(done)[2] < Counter(done)[0]) == (
        name != "none" or any(each.family == "flat" for each in ended)
    )
    assert any(pruned) == (name != "none")


def test_the_target_ends_it():
    search = search_in(memory(), Budget(target=0.45))
    ended = list(search)
    assert search.ended == "target"
    assert ended[-1].values[0] <= 0.45
    assert all(each.values[0] > 0.45 for each in ended[:-1])


def test_the_target_is_for_the_goal_to_decide():
    study, budget = memory(2), Budget(trials=60, target=0.12)
    search = search_in(study, budget, losses=["bytes", "loss"])
    assert [each.metrics["loss"] <= 0.12 for each in search][-2:] == [False, True]
    assert search.ended == "target"
    again = search_in(study, budget, losses=["bytes", "loss"])
    assert (list(again), again.ended) == ([], "target")


def test_a_grid_ends_it():
    search = search_in(memory(), Budget(), sampler="grid")
    assert len(list(search)) == 3 + (4 * 2 + 8 * 2 * 4) + 2 * 4
    assert search.ended == "all tried"


def test_time_ends_it_and_leaves_what_comes_after():
    clock, left = Clock(), []

    def slow(task):
        left.append(task.seconds)
        clock.now += 10
        return work(task)

    search = search_in(
        memory(), Budget(seconds=50), work=slow, pruner=NONE, clock=clock, reserve=lambda: 15.0
    )
    ended = list(search)
    # For another of the family there is no time; of the other family nothing is known.
    found = [(each.family, each.rung, each.seconds, each.status, each.is_left) for each in ended]
    assert found == [
        ("line", 2, 30.0, "tried", False), ("line", 0, 0.0, "skipped", True),
        ("flat", 0, 10.0, "tried", False),
    ]  # fmt: skip
    assert ended[1].reason == "The quickest of line took 10 s, and 5 s were left."
    # The first trial may take longer than there is.
    assert left == [300, 25, 15, 5]
    assert search.ended == "time"


def test_a_trial_that_time_cuts_short_has_not_failed_and_is_tried_by_who_goes_on():
    study, clock = memory(), Clock()

    def slow(task):
        clock.now += task.seconds + 1
        return Tried("time", "It took more than 10 s.")

    search = search_in(study, Budget(seconds=10), work=slow, clock=clock)
    assert (list(search), search.ended, finished(study)) == ([], "time", [])
    again = list(search_in(study, 4))
    assert [each.number for each in again] == [0, 1, 2, 3]
    assert story(study) == story_of(4)


def test_a_trial_that_time_stopped_after_a_rung_goes_on_from_there():
    study, clock, tasks = memory(), Clock(), []

    def slow(task):
        tasks.append((task.number, task.rung))
        clock.now += 10
        return work(task)

    search = search_in(study, Budget(seconds=45), work=slow, pruner=NONE, clock=clock)
    found = [(each.number, each.rung, each.reason, each.is_left) for each in search]
    # No time was left for the second rung of the second trial: it has not failed.
    late = "Its rung before took 10 s, and 5 s were left."
    assert found[:2] == [(0, 2, "", False), (1, 0, late, True)]
    done, tasks[:] = [*tasks], []
    more = Budget(seconds=9999, trials=4)
    again = list(search_in(study, more, work=slow, pruner=NONE, clock=Clock()))
    assert (1, 1) not in done
    assert tasks[:2] == [(1, 1), (1, 2)]
    assert [(each.number, each.rung, each.is_left) for each in again[:1]] == [(1, 2, False)]
    assert story(study) == story_of(4, pruner=NONE)


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "grid"])
def test_what_the_time_is_too_short_for_is_skipped_and_tried_by_who_has_more(sampler):
    study, clock = memory(), Clock()
    slow = {"line": 1.0, "flat": 500.0}

    def timed(task):
        if task.left is not None and slow[task.family] > task.left:
            clock.now += 2
            return Tried("skipped", "Its training would take 500 s.", {"seconds": 500.0})
        clock.now += slow[task.family]
        return work(task)

    line = {"x": {"low": 0.0, "high": 1.0, "step": 0.05}, "k": {"choices": [1, 3, 5]}, "epochs": 1}
    space = space_of({"flat": DESCRIPTIONS["flat"], "line": line})
    given = {"space": space, "work": timed, "sampler": sampler, "starts": starts_of(space)}
    search = search_in(study, Budget(seconds=12), clock=clock, **given)
    ended = list(search)
    # Once it is known, nothing more of the family is begun, and the others have its time.
    assert [each.status for each in ended].count("skipped") == 1
    assert sum(each.status == "tried" for each in ended) >= 8
    [skipped] = [each for each in finished(study) if each.status == "skipped"]
    assert (skipped.family, skipped.is_left, skipped.seconds) == ("flat", True, 2.0)
    assert search.ended == "time"
    assert clock.now <= 12 + 1
    # It does not count among the trials, and comes first as soon as there is time.
    n_tried = sum(each.status == "tried" for each in ended)
    more = Budget(trials=n_tried + 2)
    again = list(search_in(study, more, clock=Clock(), **given))
    assert again[0].number == skipped.number
    assert {each.status for each in again} == {"tried"}
    assert len(again) == 2


def test_a_trial_has_a_limit_of_its_own():
    study, clock, left = memory(), Clock(), []

    def slow(task):
        left.append(task.seconds)
        clock.now += 4
        return work(task) if task.rung == 0 else Tried("time", "It took more than 2 s.")

    budget = Budget(seconds=100, trials=1, trial_seconds=6)
    [ended] = search_in(study, budget, work=slow, clock=clock)
    assert left == [6, 2]
    assert (ended.status, ended.rung, ended.reason) == ("tried", 0, "It took more than 2 s.")


def story_of(n, **options):
    study = memory()
    list(search_in(study, n, **options))
    return story(study)


@pytest.mark.parametrize("status", ["failed", "memory", "killed", "refused"])
def test_a_failure_is_recorded_and_ends_nothing(status):
    study = memory()

    def sometimes(task):
        return Tried(status, "Why.") if task.number % 2 else work(task)

    ended = list(search_in(study, 12, work=sometimes, sampler="tpe"))
    assert [each.status for each in ended] == ["tried", status] * 6
    assert all(each.values == () for each in ended[1::2])
    # The sampler takes them for the worst.
    assert {each.value for each in study.trials[1::2]} == {2.0}


def test_a_failure_on_a_later_rung_keeps_the_one_before():
    def fails(task):
        return Tried("killed", "By signal 9.") if task.rung else work(task)

    study = memory()
    [ended] = search_in(study, 1, work=fails)
    assert (ended.status, ended.reason, ended.rung) == ("tried", "By signal 9.", 0)
    assert ended.options["epochs"] == 1
    assert ended.metrics["loss"] == ended.values[0] == study.trials[0].value


def test_a_loss_that_is_no_number_is_a_failure():
    [ended] = search_in(memory(), 1, work=lambda task: Tried(metrics={"loss": math.nan}))
    assert (ended.status, ended.reason) == ("failed", "Its loss is not a number.")


def test_with_several_losses_the_first_decides_who_goes_on():
    study, one = memory(2), memory()
    ended = list(search_in(study, 20, losses=["loss", "bytes"]))
    list(search_in(one, 20))
    assert [each.rung for each in ended] == [each.rung for each in finished(one)]
    # Optuna's own samplers learn nothing from a pruned trial of several losses.
    assert {each.state for each in study.trials} == {TrialState.COMPLETE}


@pytest.mark.parametrize("sampler", ["nsga2", "tpe", "random"])
def test_with_several_losses_a_failure_is_on_no_front(sampler):
    def fails(task):
        return Tried("failed", "Why.") if task.number == 3 else work(task)

    for losses in (["loss", "bytes"], ["bytes", "loss"]):
        study = memory(2)
        list(search_in(study, 16, losses=losses, work=fails, sampler=sampler))
        assert 3 not in [each.number for each in study.best_trials]


def test_a_worker_may_be_a_process():
    study = memory()
    executor = ProcessExecutor(workers=2)
    ended = list(search_in(study, 9, executor=executor, workers=2))
    assert sorted(each.number for each in ended) == [*range(9)]
    for each in ended:
        rung = {**each.options, "epochs": each.options.get("epochs")}
        assert each.values == (loss_of(type("Task", (), {"family": each.family, "options": rung})),)
