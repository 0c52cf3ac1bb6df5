"""For all tests: caches of their own, so that none reads or changes those of the user."""

import gc
import os
import signal

import numba
import pytest

from tests import figures

# What the libraries hold is looked through again and again: a tenth of all seconds, by default.
gc.set_threshold(20_000, 20, 20)
if "PYTEST_XDIST_WORKER" in os.environ:
    # A thread that waits for one without a core takes the core that the other waits for.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def set_threads():
    """Give parallel loops TEST_THREADS threads; by default all, or one in each of several workers.

    Where tests run beside each other, a parallel loop would wait for a core that others have.
    """
    default = 1 if "PYTEST_XDIST_WORKER" in os.environ else numba.config.NUMBA_NUM_THREADS
    numba.set_num_threads(int(os.environ.get("TEST_THREADS", default)))


@pytest.fixture(scope="module", autouse=True)
def _threads_of_fixtures():
    set_threads()


@pytest.fixture(autouse=True)
def _threads_of_tests():
    set_threads()


@pytest.fixture(scope="session", autouse=True)
def _caches_of_their_own(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    # To convert a pretrained network takes seconds: the workers share those that one of them has.
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "networks"
    shared.mkdir(exist_ok=True)
    (cache / "knn-slicing").mkdir()
    (cache / "knn-slicing" / "networks").symlink_to(shared)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        yield


@pytest.fixture(scope="session", autouse=True)
def _nothing_waits_for_the_disk():
    """A small experiment would a hundred times, and no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="module", autouse=True)
def _ctrl_c_is_heard():
    """Started in the background, a process inherits that it is ignored; NiceGUI has its own way."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _blank_figures():
    with pytest.MonkeyPatch.context() as patch:
        figures.leave_blank(patch)
        yield


@pytest.fixture
def visible_figures(monkeypatch):
    """For those that look at figures."""
    figures.draw(monkeypatch)


def pytest_collection_finish():
    """Let the collector leave alone what the modules of the tests hold: it stays to the end."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """Begin with the pages: a worker takes a file at a time, and that one would end alone."""
    items.sort(key=lambda item: item.path.name != "test_docs.py")
