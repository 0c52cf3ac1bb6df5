"""What is drawn: nothing twice, all of a small space, and the same after an interruption."""

import pytest

from evolve.trials import PROPOSERS, Budget, Tried, finished, proposer, pruner
from evolve.trials.proposers import Genetic
from tests.evolve.trials.fakes import memory, search_in, space_of, story, work

# Fifteen choices: 3 * (1 + 4), and one without options.
SMALL = {
    "line": {
        "x": {"choices": [0.1, 0.3, 0.5]},
        "k": {"choices": [1, 5]},
        "deep": {"low": 1, "high": 4, "only_if": {"k": 5}},
        "epochs": {"rungs": [1, 3, 9]},
    },
    "flat": {"kind": "b", "rate": 0.5},
}
# The same one twice.
STARTS = [("line", {"x": 0.1, "k": 5, "deep": 2}), ("line", {"x": 0.1, "k": 5, "deep": 2})]


def rated(task):
    return Tried(metrics={"loss": 0.1 if task.family == "one" else 0.5 + task.options["rate"]})


def small(study, budget=None, **options):
    options = {"space": space_of(SMALL), "starts": STARTS, "seed": 1, **options}
    return search_in(study, budget or Budget(), **options)


@pytest.mark.parametrize("sampler", PROPOSERS)
def test_a_small_space_is_tried_whole_and_nothing_of_it_twice(sampler):
    search = small(memory(), sampler=sampler, pruner=pruner("none", 3))
    tried = [tuple(each.options.items()) for each in search]
    assert len(set(tried)) == len(tried) == 16
    assert search.ended == "all tried"


@pytest.mark.parametrize("sampler", PROPOSERS)
def test_an_interruption_does_not_change_what_is_drawn_instead(sampler):
    whole, study, tasks = memory(), memory(), []
    list(small(whole, sampler=sampler))

    def stops(task):
        tasks.append(task)
        if len(tasks) % 3 == 0:
            raise KeyboardInterrupt
        return work(task)

    for _ in range(40):
        search = small(study, sampler=sampler, work=stops)
        list(search)
        if search.ended == "all tried":
            break
    assert story(study) == story(whole)


@pytest.mark.parametrize("sampler", PROPOSERS)
def test_a_space_without_an_end_gives_nothing_twice_either(sampler):
    """The best family has one choice alone, which is soon tried."""
    space = space_of({"one": {"x": 0.3}, "flat": {
        "kind": {"choices": ["a", "b"]}, "rate": {"low": 0.1, "high": 0.2}}})  # fmt: skip
    ended = list(search_in(memory(), 30, space=space, starts=[], sampler=sampler, work=rated))
    tried = [tuple(each.options.items()) for each in ended]
    assert len(set(tried)) == len(tried) == (9 if sampler == "grid" else 30)


def test_no_two_parents_of_nsga2_are_equal():
    space, study = space_of(SMALL), memory()
    proposes = proposer("nsga2", space, 0, population=4)
    search = small(study, 14, starts=[])
    search._drawing._proposer = proposes
    list(search)
    parents = [str(proposes._labels(each.genes)) for each in proposes._algorithm._parents]
    assert len({*parents}) == len(parents) == 4
    # They are the best of all that was tried before the last generation.
    assert isinstance(proposes, Genetic)
    losses = sorted(each.values[0] for each in finished(study)[: proposes._first])
    kept = [each.fitness.values[0] for each in proposes._algorithm._parents]
    assert sorted(kept) == losses[:4]


@pytest.mark.parametrize("sampler", ["cmaes", "pso", "ga", "nsga2"])
def test_a_number_past_the_generation_waits_for_the_next(sampler):
    study, whole = memory(), memory()
    options = {"sampler": sampler, "starts": [], "pruner": pruner("none", 3)}
    list(search_in(whole, 40, **options))
    ask, asked = study.ask, []

    def races():
        # Another process asks first, and does nothing more.
        asked.append(ask())
        return ask()

    study.ask = races
    list(search_in(study, 40, **options))
    assert len(asked) >= 20
    assert story(study)[:40] == story(whole)


def test_a_grid_may_be_larger_than_any_memory():
    space = space_of({"f": {f"x{place}": {"low": 0.0, "high": 1.0} for place in range(40)}})
    ended = search_in(
        memory(), 3, sampler="grid", space=space, starts=[],
        work=lambda task: Tried(metrics={"loss": 0.5}),
    )  # fmt: skip
    assert [sum(each.options.values()) for each in ended] == pytest.approx([0, 1 / 3, 2 / 3])
