"""Open the store of MLflow's runs, and say its errors in one sentence."""

import logging
import os
import shlex
import sqlite3
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from experiments.dead_runs import mark_dead
from experiments.secrets import HIDDEN, masked
from slicing.errors import InputError
from slicing.files import clear_stale

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

# Otherwise the UI first shows views for language models.
_KIND = {"mlflow.experimentKind": "custom_model_development"}
_SCRATCH = ".mlflow-"
# The folder of the artifacts beside the database, and where the database names it.
_ARTIFACTS = "mlartifacts"
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
)

PARENT = "mlflow.parentRunId"
"""The tag by which MLflow's UI puts a run under another."""

OVERRIDES = "overrides"
"""The tag that has a run's command line."""

URI = "MLFLOW_TRACKING_URI"
"""The environment variable that every MLflow tool reads."""
_EXPERIMENT = "MLFLOW_EXPERIMENT_NAME"
# Has an address with its password, for this process and those that it starts.
_PRIVATE = "KNN_SLICING_TRACKING_URI"


def given_address(uri: str | None) -> str | None:
    """Find the address of the store that the user gives, as an option or in the environment.

    Parameters
    ----------
    uri : str or None
        Perhaps from :func:`hide_password`.

    Returns
    -------
    str or None

    Raises
    ------
    InputError
        Where its password is not known: an earlier process had it.
    """
    if uri is None:
        return os.environ.get(URI) or None
    if HIDDEN in uri:
        for known in (os.environ.get(_PRIVATE), os.environ.get(URI)):
            if known and masked(known) == uri:
                return known
        raise InputError(
            f"tracking.uri={uri} was written down without its password: give tracking.uri=... with "
            f"it again, or set {URI}.",
            "tracking.uri",
        )
    return uri


def serving(uri: str | None, model: str) -> str:
    """Give the command line that serves a model of the store at ``uri``, without its password."""
    address = masked(given_address(uri) or "sqlite:///mlflow.db")
    command = ["mlflow", "models", "serve", "--env-manager", "local", "-m", f"models:/{model}"]
    return f"{URI}={shlex.quote(address)} {shlex.join(command)}"


def hide_password(uri: str | None) -> str | None:
    """Return an address without its password, which only this process and its children know."""
    if uri is None or masked(uri) == uri:
        return uri
    os.environ[_PRIVATE] = uri
    return masked(uri)


def require_given(tracking: Mapping[str, Any]) -> None:
    """Refuse a store that the user gives and MLflow cannot use: before anything is read or done.

    Parameters
    ----------
    tracking : mapping of str to object
        Options of the group ``tracking``.

    Raises
    ------
    InputError
    """
    if given_address(tracking["uri"]):
        connect(tracking["uri"], tracking["experiment"])


def connect(uri: str | None, experiment: str | None) -> tuple["MlflowClient", str]:
    """Open the store of runs, create what is missing in it, and find the experiment.

    Runs there whose process was killed are marked as such (:mod:`experiments.dead_runs`). A
    database that was moved or copied with its folder finds its artifacts where they are now.

    Parameters
    ----------
    uri : str or None
        An SQLAlchemy or HTTP address; None is that of MLFLOW_TRACKING_URI, else the database
        ``mlflow.db`` in the working directory, with the artifacts in ``mlartifacts`` beside it.
    experiment : str or None
        The experiment's name; None is that of MLFLOW_EXPERIMENT_NAME, else ``knn-slicing``.

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
    # They log what they raise, with its traceback, as on a full disk.
    for name in ("mlflow.store.db.utils", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    database = Path.cwd() / "mlflow.db"
    given = given_address(uri)
    location = None if given else (database.parent / _ARTIFACTS).as_uri()
    experiment = experiment or os.environ.get(_EXPERIMENT) or "knn-slicing"
    try:
        address = given or _sqlite(database)
        if given is None:
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
        if location and found.artifact_location != location:
            _follow(database, found.artifact_location, location)
        mark_dead(client, found.experiment_id)
    except Exception as error:  # each kind of store has exceptions of its own
        if given is None:
            raise InputError(
                f"MLflow cannot use {database} ({gist(error)}): move it away, or record elsewhere "
                "with tracking.uri=..."
            ) from error
        raise InputError(
            f"MLflow cannot use {'tracking.uri' if uri else URI}={masked(given)} ({gist(error)}): "
            "start the server, correct the address, or leave it out for a database in this folder."
        ) from error
    if found.lifecycle_stage != "active":
        raise InputError(
            f"The MLflow experiment {experiment} was deleted: restore it there, or choose another "
            "name with tracking.experiment=..."
        )
    return client, found.experiment_id


@contextmanager
def global_address(address: str) -> Iterator[None]:
    """Let MLflow's own functions use a store, for the length of a ``with`` statement.

    They note it in the environment, too, where the next run would take it for the user's.
    """
    import mlflow

    before = mlflow.get_tracking_uri()
    noted = {name: os.environ.get(name) for name in (URI, "MLFLOW_EXPERIMENT_ID")}
    mlflow.set_tracking_uri(address)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
        for name, value in noted.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _sqlite(path: Path) -> str:
    """Write a path as an address, whatever its name holds."""
    # Here, not above: it takes a while.
    from sqlalchemy.engine import URL

    # With the driver's name: else MLflow would make folders of the quoted names.
    return URL.create("sqlite+pysqlite", database=str(path)).render_as_string()


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


def _follow(database: Path, old: str, new: str) -> None:
    """Let a database that was moved or copied with its folder know where its files are now.

    MLflow writes down whole paths, and would go on in the folder that was. Locations that are not
    ours stay as they are, and so do those of files that did not come along.
    """
    is_ours = old.startswith("file:") and old.endswith(f"/{_ARTIFACTS}")
    came_along = (database.parent / _ARTIFACTS).is_dir()
    if not is_ours or (not came_along and Path(url2pathname(urlsplit(old).path)).exists()):
        return
    with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        for table, column in _LOCATIONS:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE substr({column} || '/', 1, ?) = ?",
                (new, len(old) + 1, len(old) + 1, f"{old}/"),
            )
    log.warning("The folder of %s has moved: MLflow finds its files here now.", database)


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
    return textwrap.shorten(masked(lines[0]), 160)
