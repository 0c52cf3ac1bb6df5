"""Where the trials of a study are kept: a file, or a database that several machines share."""

import os
from pathlib import Path
from types import TracebackType

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from slicing.errors import InputError

# Seconds that a process waits for another that writes to the same file of SQLite.
_SQLITE_WAITS = 60


def open_study(storage: Path | str, name: str, n_losses: int) -> optuna.Study:
    """Open a study, or make it where there is none of its name.

    Nothing that it reads is unpickled or executed.

    Parameters
    ----------
    storage : Path or str
        A file, for one process at a time; or the address of a database, as SQLAlchemy has it:
        ``postgresql://user@host/database``, ``mysql+pymysql://...``, ``sqlite:///file``.
    name : str
    n_losses : int
        Losses of a trial, to be minimized.

    Raises
    ------
    InputError
        For a file or a database that cannot be used, or where the study has other losses.
    """
    kept = _journal(storage) if isinstance(storage, Path) else _database(storage)
    study = optuna.create_study(
        storage=kept, study_name=name, directions=["minimize"] * n_losses, load_if_exists=True
    )
    if len(study.directions) != n_losses:
        raise InputError(
            f"The study {name} has {len(study.directions)} objectives there, not {n_losses}: give "
            "the same ones, or another name.",
            "name",
        )
    return study


def _journal(path: Path) -> BaseStorage:
    """Open a journal: a line of JSON for each change."""
    lock = _Lock(path)
    try:
        with lock:
            _mend(path)
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except (ValueError, LookupError, AttributeError, TypeError, AssertionError) as error:
        # Whatever a line makes Optuna raise that is none of its own.
        raise InputError(
            f"{path} is damaged ({type(error).__name__}: {error}): give a copy that is whole, or "
            "begin another study."
        ) from error


def _mend(path: Path) -> None:
    """Cut off a last line that a full disk or the end of the power has left incomplete."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = size = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - 2**16)
            file.seek(begin)
            at = file.read(end - begin).rfind(b"\n")
            if at >= 0:
                end = begin + at + 1
                break
            end = begin
        if end < size:
            file.truncate(end)


class _Lock(BaseJournalFileLock):
    """Holds the file beside the journal; the system frees it when its process ends.

    Those of Optuna stay behind a process that was killed, and the next one waits half a minute.
    """

    def __init__(self, path: Path) -> None:
        # Not .lock, for which those of Optuna would wait.
        self._lock = FileLock(f"{path}.held")

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _database(address: str) -> BaseStorage:
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise InputError(
            "storage is no address of a database: write postgresql://user@host/database.", "storage"
        ) from error
    options: dict[str, object] = {"pool_pre_ping": True}
    if url.drivername == "postgresql":
        # The driver that the extra postgres installs; SQLAlchemy's default is an older one.
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": _SQLITE_WAITS}
    try:
        return RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=options)
    except ImportError as error:
        raise _unusable(url, f"its driver is not installed: {error}") from error
    except SQLAlchemyError as error:
        raise _unusable(url, str(getattr(error, "orig", None) or error).split("\n")[0]) from error


def _unusable(url: URL, reason: str) -> InputError:
    # Without its password.
    return InputError(f"storage={url.render_as_string()} cannot be used: {reason}.", "storage")
