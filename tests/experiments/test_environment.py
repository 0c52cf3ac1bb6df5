import shutil
import subprocess

import pytest

from experiments import environment
from experiments.environment import LIBRARIES, commit, machine, versions


def test_versions_are_those_that_are_installed():
    found = versions([*LIBRARIES, "a-library-that-is-not-there"])
    assert found.keys() == {"python", *LIBRARIES}
    assert found["numpy"].count(".") == 2


def test_the_machine_is_its_processor_its_linear_algebra_and_what_the_user_has_set(monkeypatch):
    before = machine()
    assert before["processor"]
    assert before["blas"]
    set_by_user = {
        "OPENBLAS_CORETYPE": "Haswell", "OMP_NUM_THREADS": "1", "NUMBA_CPU_NAME": "generic",
        "TF_ENABLE_ONEDNN_OPTS": "0", "NPY_DISABLE_CPU_FEATURES": "AVX2",
    }  # fmt: skip
    for name, value in {**set_by_user, "TF_VAR_password": "of Terraform"}.items():
        monkeypatch.setenv(name, value)
    assert machine() == {**before, **set_by_user}


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_there_is_a_commit_only_in_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init"], [*identity, "commit", "--allow-empty", "-m", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True, capture_output=True)
    head = subprocess.run(
        ["git", "-C", str(tmp_path), "rev-parse", "HEAD"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert commit() == head.stdout.strip()
    monkeypatch.setenv("PATH", "")
    assert commit() is None
