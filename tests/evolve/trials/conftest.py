import importlib.util

import pytest

from tests import postgres


@pytest.fixture(scope="session")
def postgresql():
    """The address of a server of PostgreSQL."""
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed")
    with postgres.server() as address:
        yield address
