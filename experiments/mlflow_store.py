"""Open the store of MLflow's runs, and say its errors in one sentence."""

import logging
import os
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.dead_runs import mark_dead
from slicing.errors import InputError
from slicing.files import clear_stale

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Otherwise the UI first shows views for language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_SCRATCH = ".mlflow-"

PARENT = "mlflow.parentRunId"
"""The tag by which MLflow's UI puts a run under another."""


def connect(uri: str | None, experiment: str) -> tuple["MlflowClient", str]:
    """Open the store of runs, create what is missing in it, and find the experiment.

    Runs there whose process was killed are marked as such (:mod:`experiments.dead_runs`).

    Parameters
    ----------
    uri : str or None
        An SQLAlchemy or HTTP address; None is the database ``mlflow.db`` in the working directory,
        with the artifacts in ``mlartifacts`` beside it.
    experiment : str
        The experiment's name.

    Returns
    -------
    client : MlflowClient
    experiment_id : str

    Raises
    ------
    InputError
        Where there is no store at the address.
    """
    # Otherwise MLflow retries for minutes before it reports that there is no answer.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # They would overwrite ours.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    database = Path.cwd() / "mlflow.db"
    address = uri or _sqlite(database)
    location = None if uri else (database.parent / "mlartifacts").as_uri()
    try:
        if uri is None:
            clear_stale(database.parent, f"{_SCRATCH}*")
            if not database.exists():
                _create(database)
        client = MlflowClient(address)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            # Another run may create it at the same time.
            with suppress(MlflowException):
                client.create_experiment(experiment, location, tags=_KIND)
            found = client.get_experiment_by_name(experiment)
        if found is None:
            raise InputError(f"no experiment {experiment} can be created there")
        mark_dead(client, found.experiment_id)
    except Exception as error:  # each kind of store has exceptions of its own
        raise InputError(
            f"MLflow cannot use tracking.uri={address} ({gist(error)}): start the server, correct "
            "the address, or leave it out for a database in this folder."
        ) from error
    if found.lifecycle_stage != "active":
        raise InputError(
            f"The MLflow experiment {experiment} was deleted: restore it there, or choose another "
            "name with tracking.experiment=..."
        )
    return client, found.experiment_id


def _sqlite(path: Path) -> str:
    return f"sqlite:///{path.as_posix()}"


def _create(database: Path) -> None:
    """Create a database whole: processes that fill the same one at the same time spoil it."""
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory(
        prefix=_SCRATCH, dir=database.parent, ignore_cleanup_errors=True
    ) as folder:
        whole = Path(folder) / database.name
        MlflowClient(_sqlite(whole))
        # Another process may have been faster; then its database is the one.
        with suppress(FileExistsError):
            os.link(whole, database)


@contextmanager
def one_sentence(way_out: str) -> Iterator[None]:
    """Turn what MLflow raises into an InputError: one sentence, and the way out."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise InputError(f"MLflow did not take everything ({gist(error)}). {way_out}") from error


def gist(error: BaseException) -> str:
    """Shorten a message to its beginning."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return textwrap.shorten(lines[0], 160)
