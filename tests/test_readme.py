"""The README's claims that can be tried."""

import re
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


COMMANDS = re.findall(r"^(?:MNIST_DIR=\S+ )?python -m experiments\.run ?(.*)$", README, re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_are_valid(command):
    from experiments.overrides import check

    words = [word for word in command.split() if not word.startswith("--")]
    assert check(words, multirun="--multirun" in command)
