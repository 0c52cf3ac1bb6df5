"""Every command starts, wherever numba may or may not write."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from slicing import numba_cache

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def read_only(tmp_path_factory):
    """A copy of the packages in which nothing can be compiled: files where folders should be."""
    root = tmp_path_factory.mktemp("read only")
    for package in ("slicing", "evolve"):
        shutil.copytree(ROOT / package, root / package, ignore=lambda *_: ["__pycache__"])
    for folder in [each for each in root.rglob("*") if each.is_dir()]:
        (folder / "__pycache__").touch()
    return root


@pytest.mark.parametrize("first", ["slicing.neighbors.exact", "evolve.fitness.shortlist", "numba"])
def test_without_any_place_it_is_a_temporary_folder_of_the_user(first, read_only, tmp_path):
    kept = {k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import {first}, slicing.scatter, numba; print(numba.config.CACHE_DIR)",
        ],
        cwd="/", capture_output=True, text=True,
        env=kept | {"PYTHONPATH": str(read_only), "HOME": "/proc", "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    [folder] = tmp_path.glob("knn-slicing-*")
    assert found.stdout.strip() == str(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert any(folder.iterdir())


@pytest.mark.parametrize("given", ["/proc/nothing", None])
def test_a_place_that_can_be_written_is_left_as_it_is(given, tmp_path, monkeypatch):
    """The package's own, here."""
    if given:
        monkeypatch.setenv("NUMBA_CACHE_DIR", given)
    else:
        monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    numba_cache.find_place()
    assert os.environ.get("NUMBA_CACHE_DIR") == given


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Only temporary files can be written."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(numba_cache, "_is_writable", lambda folder: False)
    monkeypatch.setattr(numba_cache.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(sys.modules, "numba", type("numba", (), {"config": type("config", (), {})}))
    return tmp_path / f"knn-slicing-{os.getuid()}"


def found():
    numba_cache.find_place()
    return Path(os.environ["NUMBA_CACHE_DIR"])


def test_the_next_process_finds_what_was_compiled(nowhere):
    assert found() == found() == nowhere
    assert stat.S_IMODE(nowhere.stat().st_mode) == 0o700


@pytest.mark.parametrize("what", ["link", "open", "file"])
def test_what_somebody_else_has_put_there_is_not_used(what, nowhere, tmp_path):
    """Numba executes what it finds in its cache."""
    if what == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        nowhere.symlink_to(tmp_path / "theirs")
    elif what == "open":
        nowhere.mkdir()
        nowhere.chmod(0o777)
    else:
        nowhere.write_text("no folder")
    folder = found()
    assert folder != nowhere
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not list((tmp_path / "theirs").glob("*"))
