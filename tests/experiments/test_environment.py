import shutil
import subprocess

import pytest

from experiments import environment
from experiments.environment import LIBRARIES, commit, versions


def test_versions_are_those_that_are_installed():
    found = versions([*LIBRARIES, "a-library-that-is-not-there"])
    assert found.keys() == {"python", *LIBRARIES}
    assert found["numpy"].count(".") == 2


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
