"""What may be tried: values, conditions, and descriptions that are none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from evolve.trials import Space, Tried
from evolve.trials.space import Parameter, family_of, label
from slicing.errors import InputError
from tests.evolve.trials.fakes import memory, search_in, space_of

SHARES = st.floats(0, 1)
RANGES = {
    "floats": ({"low": -1.5, "high": 2.5}, None),
    "log": ({"low": 0.001, "high": 10.0, "log": True}, None),
    "steps": ({"low": 0.0, "high": 0.6, "step": 0.1}, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
    "a step that misses the end": ({"low": 0.5, "high": 2, "step": 1}, [0.5, 1.5]),
    "whole": ({"low": 2, "high": 5}, [2, 3, 4, 5]),
    "whole steps": ({"low": 1, "high": 6, "step": 2}, [1, 3, 5]),
    "whole ends, other steps": ({"low": 0, "high": 1, "step": 0.25}, [0, 0.25, 0.5, 0.75, 1]),
    "whole log": ({"low": 1, "high": 4, "log": True}, [1, 2, 3, 4]),
    "choices": ({"choices": ["a", [1, 2], None]}, ["a", [1, 2], None]),
}


@pytest.mark.parametrize("name", RANGES)
@given(SHARES)
def test_every_share_is_a_value_and_every_value_is_found(name, share):
    description, values = RANGES[name]
    parameter = family_of("f", {"x": description}).parameters["x"]
    value = parameter.at(share)
    assert parameter.holds(value)
    assert values is None or value in values
    assert parameter.at(0.0) == (parameter.choices or (parameter.low,))[0]
    if values is not None:
        found = [parameter.at(number / 100) for number in range(101)]
        assert [each for place, each in enumerate(found) if each not in found[:place]] == values


@pytest.mark.parametrize("name", RANGES)
def test_its_values_are_known_and_each_is_at_its_share(name):
    description, values = RANGES[name]
    parameter = family_of("f", {"x": description}).parameters["x"]
    assert (parameter.values and [*parameter.values]) == values
    for value in values or (-0.5, 0.5, 2.5):
        if parameter.holds(value):
            found = parameter.at(parameter.share(value))
            assert found == (value if values else pytest.approx(value))


def test_equal_shares_are_equally_likely():
    parameter = Parameter(low=2, high=5)
    found = [parameter.at(number / 1000) for number in range(1000)]
    assert [found.count(each) for each in (2, 3, 4, 5)] == [250] * 4


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("steps", 0.25), ("steps", 0.7), ("whole", 2.5), ("whole", 3.0), ("whole", True),
        ("floats", "1"), ("floats", 2.6), ("choices", "b"), ("choices", [1]),
    ],
)  # fmt: skip
def test_what_is_none_of_its_values_is_none(name, wrong):
    assert not family_of("f", {"x": RANGES[name][0]}).parameters["x"].holds(wrong)


CHAIN = {
    "a": {"choices": ["yes", "no"]},
    "b": {"choices": [1, 2], "only_if": {"a": "yes"}},
    "c": {"low": 0, "high": 9, "only_if": {"b": [2]}},
    "d": {"choices": ["here"], "only_if": {"files": [True]}},
}


@given(st.lists(SHARES, min_size=4, max_size=4), st.booleans())
def test_a_parameter_is_there_where_those_that_it_needs_are(shares, files):
    space, left = space_of({"f": CHAIN}, files=files), iter(shares)

    def draw(name, parameter):
        return "f" if name == "family" else parameter.at(next(left))

    _, values = space.proposal(draw)
    assert ("b" in values) == (values["a"] == "yes")
    assert ("c" in values) == (values.get("b") == 2)
    assert ("d" in values) == files


def test_a_grid_goes_through_all_that_may_stand_together():
    ended = list(
        search_in(
            memory(), 99, space=space_of({"f": CHAIN}, files=True), sampler="grid", starts=[],
            work=lambda task: Tried(metrics={"loss": 0.5}),
        )
    )  # fmt: skip
    found = [tuple(each.options.values()) for each in ended]
    whole = [0, 3, 6, 9]
    assert found == [
        ("yes", 1, "here"), *(("yes", 2, each, "here") for each in whole), ("no", "here")
    ]  # fmt: skip


def test_a_start_names_some_values_and_gets_the_middle_of_others():
    family = family_of("f", {**CHAIN, "start": [{"b": 2}, {"a": "no"}]})
    assert [*family.starts({"files": False})] == [{"a": "yes", "b": 2, "c": 5}, {"a": "no"}]


def test_rungs_and_fixed_options_join_the_values():
    family = family_of("f", {"fixed": [1], "e": {"rungs": [1, 5]}, "g": {"rungs": ["s", "t"]}})
    assert family.n_rungs == 2
    assert family.options({"x": 1}, 1) == {"fixed": [1], "x": 1, "e": 5, "g": "t"}


def test_a_choice_may_be_several_options():
    two, one = {"filters": [8, 16], "pooling": [True, True]}, {"filters": [8], "pooling": [True]}
    description = {
        "network": {"choices": [two, one]},
        "rate": {"choices": [1, 2], "only_if": {"network": [one]}},
        "start": [{"network": one}],
    }  # fmt: skip
    family = family_of("f", description)
    [values] = family.starts({})
    assert values == {"network": one, "rate": 1}
    assert family.options(values, 0) == {**one, "rate": 1}
    # A store keeps it as text, and gives it back.
    parameter = family.parameters["network"]
    assert [parameter.value(label(each)) for each in parameter.choices] == [two, one]


@pytest.mark.parametrize(
    ("description", "rule"),
    [
        ({"x": {}}, "x has choices; or low and high, with step or log; or rungs; not nothing"),
        ({"x": {"low": 1}}, "x has choices; or .*; not low"),
        ({"x": {"choices": [1], "low": 1}}, "x has choices; or .*; not choices, low"),
        ({"x": {"low": 1, "high": 2, "stop": 3}}, "x has choices; or .*; not high, low, stop"),
        ({"x": {"rungs": [1], "only_if": {}}}, "x has choices; or .*; not rungs"),
        ({"x": {"choices": []}}, "x has a list of values, in brackets"),
        ({"x": {"choices": 3}}, "x has a list of values, in brackets"),
        ({"x": {"rungs": []}}, "x has a list of values, in brackets"),
        ({"x": {"choices": [1, True]}}, "x names each of its choices once"),
        ({"x": {"choices": [[1], "[1]"]}}, "x names each of its choices once"),
        ({"x": {"low": "1", "high": 2}}, "low, high and step of x are numbers"),
        ({"x": {"low": 1, "high": float("inf")}}, "low, high and step of x are numbers"),
        ({"x": {"low": False, "high": True}}, "low, high and step of x are numbers"),
        ({"x": {"low": 2, "high": 2}}, "low of x is below high, and step above 0"),
        ({"x": {"low": 1, "high": 2, "step": 0}}, "low of x is below high, and step above 0"),
        ({"x": {"low": 0, "high": 2, "log": True}}, "log of x is true or false, and true needs"),
        ({"x": {"low": 1, "high": 2, "log": "no"}}, "log of x is true or false"),
        ({"x": {"low": 1, "high": 2, "log": True, "step": 1}}, "log of x is true or false"),
        ({"x": {"choices": [1], "only_if": ["y"]}}, "only_if of x names other options, each with"),
        ({"x": {"choices": [1], "only_if": {"x": 1}}}, "x is there only if x has some value"),
        ({"x": {"choices": [1], "only_if": {"y": 1}}, "y": 1}, "x is there only if y has some"),
        ({"y": {"rungs": [1]}, "x": {"choices": [1], "only_if": {"y": 1}}}, "one of no rungs"),
        ({"x": {"rungs": [1, 2]}, "y": {"rungs": [1]}}, "x, y have as many rungs each"),
        ({"start": {"x": 1}}, "start is a list of options with their values"),
        ({"start": [{"x": 1}], "x": 1}, "start names options that are searched, and x is not"),
        ({"start": [{"x": 3}], "x": {"choices": [1]}}, "start names values .*, and x=3 is not"),
        ({"judged": "me"}, "judged is engine or baseline, not me"),
    ],
)
def test_what_is_no_family_is_one_sentence(description, rule):
    with pytest.raises(InputError, match=f"^space: f: .*{rule}") as caught:
        family_of("f", description)
    assert caught.value.option == "space"
    assert "\n" not in str(caught.value)


def test_a_condition_on_nothing_is_one_sentence():
    family = family_of("f", {"x": {"choices": [1], "only_if": {"baselin": [1]}}})
    with pytest.raises(InputError, match=r"^space: f: x is there only if baselin has some value"):
        Space({"f": family})
    with pytest.raises(InputError, match=r"^space has no families"):
        Space({})


@pytest.mark.parametrize("path", sorted(Path("conf/families").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_families_of_the_studies_can_be_read(path):
    family = family_of(path.stem, OmegaConf.to_container(OmegaConf.load(path)))
    assert list(Space({path.stem: family}, {"files": False}).families) == [path.stem]
