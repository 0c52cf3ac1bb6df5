"""For all tests: caches of their own, so that none reads or changes those of the user."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def _caches_of_their_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
