"""Files that are written whole or not at all."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

# Seconds after which nobody is at work on what was not changed.
_STALE = 3600.0
_PART = f".{'[0-9a-f]' * 32}.part"


@contextmanager
def replacing(path: Path, durable: bool = False) -> Iterator[BinaryIO]:
    """Write to a temporary file, which takes the name ``path`` when it is whole.

    Parameters
    ----------
    path : Path
        Of a link, the target is replaced. The folder must exist.
    durable : bool
        Whether to wait, some milliseconds, until the file and its name would survive a power
        failure.

    Yields
    ------
    binary file

    Raises
    ------
    OSError
        Where it cannot be written; the folder is then as before.
    """
    path = path.resolve()
    clear_stale(path.parent, escape(path.name) + _PART)
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        with naming(path):
            with part.open("wb") as file:
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in an OSError that names none: that of a full disk, while a file is written."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder would survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_parts(folder: Path) -> None:
    """Remove what processes that were killed left of their files; nobody else may be at work there.

    Parameters
    ----------
    folder : Path
    """
    for part in folder.glob("*" + _PART):
        part.unlink(missing_ok=True)


def clear_stale(folder: Path, pattern: str) -> None:
    """Remove temporary files and folders that were not changed for an hour.

    Their processes were killed.

    Parameters
    ----------
    folder : Path
    pattern : str
        Of their names, with ``*``.
    """
    for left in folder.glob(pattern):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime < _STALE:
                continue
            if left.is_dir():
                shutil.rmtree(left)
            else:
                left.unlink()
