"""Tests of the exception for mistakes, and of the way out where a package is missing."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from slicing.errors import InputError, installing

ROOT = Path(__file__).parents[2]
SOURCES = [
    path for package in ("slicing", "evolve", "experiments", "benchmarks")
    for path in (ROOT / package).rglob("*.py")
]  # fmt: skip


@pytest.mark.parametrize(
    ("python", "name"),
    [
        ("clone/.venv/bin/python", ".venv/bin/python"),
        ("other place/bin/python3", "'{}/other place/bin/python3'"),
        ("clone of mine/python", "'{}/clone of mine/python'"),
    ],
)
def test_an_extra_is_installed_in_the_versions_that_work_together(
    tmp_path, monkeypatch, python, name
):
    """By the Python that runs, as it can be typed in the folder of the clone."""
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    monkeypatch.setattr(sys, "executable", str(tmp_path / python))
    expected = f"{name.format(tmp_path)} -m pip install -c constraints.txt -e '.[onnx]'"
    assert installing("onnx") == expected
    assert (ROOT / "constraints.txt").exists()


def test_the_option_of_a_group_is_named_wherever_it_has_a_value():
    error = InputError("2 files of /k=1/k=2 cannot be read: k=3, or k= 4 in all k.", "k")
    found = error.within("slicing")
    assert found.option == "slicing.k"
    assert str(found) == (
        "2 files of /k=1/k=2 cannot be read: slicing.k=3, or slicing.k= 4 in all k."
    )
    assert str(InputError("k must be odd.", "k").within("slicing")) == "slicing.k must be odd."


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
