"""The README's claims that can be tried."""

import re
import shutil
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_library_in_ten_lines(capsys):
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    small = {"mnist5k()": "mnist5k(train_size=300, test_size=60)", "=2000": "=100"}
    for text, replacement in small.items():
        assert code.count(text) == 1
        code = code.replace(text, replacement)
    exec(code, {})
    assert 0.5 < float(capsys.readouterr().out) <= 1


COMMAND = r"^(?:MNIST_DIR=\S+ )?python -m experiments\.run ?(.*)$"
COMMANDS = re.findall(COMMAND, README.replace("\\\n", ""), re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_are_valid(command, monkeypatch):
    from experiments.overrides import check

    # As on a cluster, which those for SLURM are for.
    monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
    words = [word for word in command.split() if not word.startswith("--")]
    assert check(words, multirun="--multirun" in command)


TOOLS = re.findall(r"^python -m experiments\.(predict|export) (.*)$", README, re.M)


@pytest.mark.parametrize(("tool", "arguments"), TOOLS)
def test_the_commands_of_the_tools_are_valid(tool, arguments):
    from importlib import import_module

    from experiments.options import parse

    assert parse(import_module(f"experiments.{tool}").Options, arguments.split()).engine


def test_all_tools_are_shown():
    assert {tool for tool, _ in TOOLS} == {"predict", "export"}
