"""What `import evolve` gives, and what it does not import."""

import subprocess
import sys

import pytest

import evolve


def test_every_name_is_there():
    assert {"Parallel", "ScheduleOptions", "kernels"} < {*evolve.__all__}
    for name in evolve.__all__:
        assert getattr(evolve, name).__name__ == name
    with pytest.raises(AttributeError, match="No evolve attribute Nothing"):
        evolve.Nothing  # noqa: B018


def test_it_imports_no_tensorflow():
    script = "import sys; from evolve import *; print({'tensorflow', 'keras'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
