"""What is used of Hydra's innards is there: these tests fail first when Hydra moves."""

import sys

import pytest
from hydra.errors import HydraException

from experiments.hydra_internals import (
    configurations,
    group_names,
    option_names,
    parse_override,
    parsed_arguments,
)
from experiments.schema.docs import CONF


def test_the_command_line_is_divided_as_hydra_divides_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run", "seed=1", "--multirun", "optimizer=pso", "-c", "job"])
    arguments = parsed_arguments()
    assert arguments.overrides == ["seed=1", "optimizer=pso"]
    assert arguments.multirun
    assert arguments.cfg == "job"
    for flag in ("help", "hydra_help", "shell_completion", "info", "config_name", "config_dir"):
        assert not getattr(arguments, flag)


def test_groups_and_their_options():
    with configurations(CONF):
        assert {"data", "optimizer", "debug"} <= set(group_names())
        assert {"serial", "processes", "ray"} <= set(option_names("executor"))
        assert option_names("seed") == []


def test_a_folder_that_is_searched_first(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("defaults: [base_mnist]\n")
    with configurations(CONF, tmp_path):
        assert {"mine", "mnist"} <= set(option_names("data"))
    with configurations(CONF):
        assert "mine" not in option_names("data")


def test_words_of_a_command_line():
    override = parse_override("images=[a.png,'b c.png']")
    assert override.key_or_group == "images"
    assert override.value() == ["a.png", "b c.png"]
    with configurations(CONF):
        assert parse_override("seed=1,2").is_sweep_override()
    with pytest.raises(HydraException):
        parse_override("images=[a.png")
