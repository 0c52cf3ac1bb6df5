"""What is tried next: values that may be, the same for a seed, and better ones than by chance."""

import warnings
from functools import cache
from statistics import mean

import numpy as np
import pytest

from evolve.trials import PROPOSERS, Tried, proposer, pruner
from evolve.trials.nsga2 import NSGA2
from slicing.errors import InputError
from tests.evolve.trials.fakes import memory, search_in, space_of, story

LEARNERS = sorted({*PROPOSERS} - {"random", "grid"})


@cache
def proposals(sampler, seed):
    study = memory()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ended = list(search_in(study, 25, sampler=sampler, seed=seed))
    return ended, story(study)


@pytest.mark.parametrize("sampler", PROPOSERS)
def test_it_proposes_values_that_may_be(sampler):
    space = space_of()
    for each in proposals(sampler, 0)[0]:
        family = space.families[each.family]
        for option, value in each.options.items():
            assert option in family.rungs or family.parameters[option].holds(value)
        assert ("deep" in each.options) == (each.options.get("k") in (3, 5))


@pytest.mark.parametrize("sampler", PROPOSERS)
def test_a_seed_repeats_it(sampler):
    ended, known = proposals(sampler, 0)
    study = memory()
    list(search_in(study, 25, sampler=sampler))
    assert story(study) == known
    other = [each.options for each in proposals(sampler, 1)[0]]
    assert (other != [each.options for each in ended]) == (sampler != "grid")


PLANTED = {
    "wrong": {"x": {"low": 0.0, "high": 1.0}},
    "right": {
        "x": {"low": 0.0, "high": 1.0},
        "y": {"low": 1, "high": 1000, "log": True},
        "z": {"choices": ["a", "b", "c", "d"]},
    },
}


def planted(task):
    """Lose least in the right family, at x=0.8, y=30, z=c."""
    if task.family == "wrong":
        return Tried(metrics={"loss": 0.9})
    options = task.options
    off = abs(options["x"] - 0.8) + abs(np.log10(options["y"] / 30)) / 3 + (options["z"] != "c")
    return Tried(metrics={"loss": off / 3})


@cache
def reached(sampler):
    """Give the mean, over seeds, of the best losses of 60 trials."""
    found = []
    for seed in range(6):
        options = {"space": space_of(PLANTED), "sampler": sampler, "seed": seed, "starts": []}
        ended = search_in(memory(), 60, work=planted, pruner=pruner("none", 1), **options)
        found.append(min(each.values[0] for each in ended))
    return mean(found)


@pytest.mark.parametrize("sampler", LEARNERS)
def test_it_finds_a_planted_optimum_sooner_than_chance(sampler):
    assert reached(sampler) < 0.8 * reached("random")


def test_nsga2_breeds_from_the_front_and_where_it_is_sparse():
    algorithm = NSGA2(2, 4, np.random.default_rng(0))
    first = algorithm.ask()
    assert first.shape == (4, 2)
    algorithm.tell(first, [[0, 3], [3, 0], [1, 1], [3, 3]])
    second = algorithm.ask()
    assert ((second >= 0) & (second <= 1)).all()
    algorithm.tell(second, [[1, 1.5], [0.9, 1.1], [5, 5], [1.5, 0.9]])
    kept = [each.fitness.values for each in algorithm._parents]
    # Of the front of five, the ends, and the two that have the most room.
    assert set(kept[:2]) == {(0, 3), (3, 0)}
    assert set(kept[2:]) < {(1, 1), (0.9, 1.1), (1.5, 0.9)}
    assert (1, 1) not in kept


def test_names_and_generations_that_are_none_are_one_sentence():
    with pytest.raises(InputError, match=r"^sampler=tpee is unknown: did you mean tpe\?"):
        proposer("tpee", space_of(), 0)
    with pytest.raises(InputError, match=r"^population=3 is out of range: choose 4 or more"):
        proposer("cmaes", space_of(), 0, population=3)


@pytest.mark.parametrize("sampler", ["cmaes", "pso", "ga", "nsga2"])
def test_a_generation_has_as_many_as_are_wanted(sampler):
    proposes = proposer(sampler, space_of(), 0, population=5)
    for number in range(5):
        assert proposes.is_ready(number)
        assert not proposes.is_ready(5)
        proposes.tell(number, proposes.sampler(number).labels, [0.5])
    assert proposes.is_ready(5)


def small_fails(task):
    """Fail below the middle of x; above it, the size is least at 0.8."""
    if task.options["x"] < 0.5:
        return Tried("failed", "Why.")
    size = 1000.0 + abs(task.options["x"] - 0.8) + task.options["y"]
    return Tried(metrics={"loss": 0.5, "bytes": size})


@pytest.mark.parametrize("sampler", LEARNERS)
def test_it_is_not_drawn_to_failures(sampler):
    of = {"low": 0.0, "high": 1.0}
    space = space_of({"f": {"x": of, "y": of}})
    for losses in (["bytes"], ["bytes", "loss"]):
        ended = list(
            search_in(
                memory(len(losses)), 60, losses=losses, sampler=sampler, space=space, starts=[],
                work=small_fails, pruner=pruner("none", 1),
            )
        )  # fmt: skip
        last = [each.status for each in ended[30:]]
        # By chance, half of them fail.
        assert last.count("tried") > 20


def test_tpe_learns_from_trials_that_others_ended():
    families = {
        "quick": {"x": {"low": 0.0, "high": 1.0}},
        "slow": {"x": {"low": 0.0, "high": 1.0}, "epochs": {"rungs": [1, 3, 9]}},
    }

    def climbs(task):
        rung = {"quick": 0.5, "slow": 0.3}[task.family]
        return Tried(metrics={"loss": rung + 0.1 * task.options["x"]})

    # All trials of the slow family are ended early, and better than all of the other.
    ended = list(
        search_in(
            memory(), 50, space=space_of(families), starts=[], sampler="tpe", work=climbs,
            pruner=lambda *trial: False,
        )
    )  # fmt: skip
    assert [each.family for each in ended[20:]].count("slow") > 20
