"""What ``from slicing import ...`` gives."""

import subprocess
import sys

import pytest

import slicing


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("name", slicing.__all__)
def test_every_name_is_what_its_module_has(name):
    assert getattr(slicing, name).__name__ == name
    assert name in dir(slicing)


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="No slicing attribute mnist6k"):
        slicing.mnist6k  # noqa: B018


def test_no_name_is_that_of_a_module():
    names = run(
        "import pkgutil, slicing; print(*(each.name for each in pkgutil.iter_modules("
        "slicing.__path__)))"
    )
    assert not set(names.split()) & set(slicing.__all__)


def test_importing_it_imports_nothing_else():
    loaded = run(
        "import sys; before = set(sys.modules); import slicing; print(*(set(sys.modules) - before))"
    )
    others = {name for name in loaded.split() if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name.split(".")[0] for name in others} == {"slicing", "lazy_loader"}
    ours = {name for name in others if name.startswith("slicing")}
    assert ours == {"slicing", "slicing.numba_cache"}


def test_its_names_start_no_tensorflow_and_nothing_of_the_floors_above():
    loaded = run(
        "import sys; from slicing import *; UntrainedCNN, TrainedCNN(); Recipe();"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    ).split()
    assert not {"tensorflow", "keras", "mlflow", "hydra", "evolve", "experiments"} & set(loaded)
