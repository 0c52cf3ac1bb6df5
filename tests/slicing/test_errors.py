"""Tests of the exception for mistakes, and of the way out where a package is missing."""

import re
import tomllib
from pathlib import Path

import pytest

from slicing.errors import installing

ROOT = Path(__file__).parents[2]
SOURCES = [
    path for package in ("slicing", "evolve", "experiments", "benchmarks")
    for path in (ROOT / package).rglob("*.py")
]  # fmt: skip


def test_an_extra_is_installed_in_the_versions_that_work_together():
    assert installing("onnx") == "python -m pip install -c constraints.txt -e '.[onnx]'"
    assert (ROOT / "constraints.txt").exists()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_sentence_has_a_command_of_its_own_that_installs(path):
    own = path.name == "errors.py"
    assert ("pip install" in re.sub(r'"\s*f?"', "", path.read_text())) == own


def test_extras_that_sentences_name_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {
        name for path in SOURCES
        for name in re.findall(r"""installing\(['"](\w+)['"]\)""", path.read_text())
    }  # fmt: skip
    assert named
    assert named <= set(extras["optional-dependencies"])
