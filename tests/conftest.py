"""For all tests: caches of their own, so that none reads or changes those of the user."""

import os
import signal

import numba
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine

EXECUTE = ConstrainedLayoutEngine.execute


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_is_heard():
    """Started in the background, a process inherits that it is ignored."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _figures_as_they_come():
    """Laying its figures out takes a small experiment longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConstrainedLayoutEngine, "execute", lambda self, figure: None)
        yield


@pytest.fixture
def laid_out(monkeypatch):
    """For those that look at figures."""
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", EXECUTE)
