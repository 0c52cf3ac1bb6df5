import shlex
from dataclasses import fields

import pytest

from experiments.help import help_page
from experiments.overrides import check
from experiments.schema.run import GROUPS


def page(*overrides):
    [config] = check(overrides, complete=False)
    return help_page(config)


def test_every_option_and_preset_is_there():
    text = page()
    for group, options in GROUPS.items():
        for option in options:
            assert f"  {group}={option}" in text
    assert "+debug=quick" in text
    assert "package _global_" not in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize("option", GROUPS["optimizer"])
def test_every_field_of_what_is_chosen_is_there_with_its_value(option):
    text = page(f"optimizer={option}")
    for each in fields(GROUPS["optimizer"][option]):
        assert (f"optimizer.{each.name}=" in text) == (each.name != "_target_")
    assert "  block.layers=[-1] " in text
    assert "  strategy.order=random " in text
    assert "  threads=null " in text


def test_what_must_be_given_shows():
    assert "data.directory=???" in page("data=folder")


def test_its_examples_are_valid():
    examples = [
        shlex.split(line.strip().partition("   ")[0])[3:]
        for line in page().splitlines()
        if line.startswith("  python -m experiments.run")
    ]
    assert len(examples) >= 5
    for words in examples:
        flags = {word for word in words if word.startswith("--")}
        overrides = [word for word in words if "=" in word]
        assert check(overrides, multirun="--multirun" in flags)
