"""Records in folders: each has an id that is random, and used once."""

import json
import logging
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from slicing.errors import InputError
from slicing.files import make_folder, replacing

_ID = re.compile(r"[0-9a-f]{16}")
_NEW, _REMOVED = ".new-", ".removed-"

Record = TypeVar("Record")

log = logging.getLogger(__name__)


class NotFoundError(InputError):
    """There is no record of an id, or no file of a record."""


@contextmanager
def new_folder(root: Path) -> Iterator[Path]:
    """Make the folder of a record in ``root``: it has its name, the id, when the body has ended.

    Yields
    ------
    Path
        Another folder, to be filled; where the body fails, it is removed.
    """
    make_folder(root)
    identifier = secrets.token_hex(8)
    folder = root / f"{_NEW}{identifier}"
    folder.mkdir()
    try:
        yield folder
        folder.rename(root / identifier)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def id_of(folder: Path) -> str:
    """Give the id of the record in a folder, also while that is filled."""
    return folder.name.removeprefix(_NEW)


def folder_of(root: Path, identifier: str, noun: str) -> Path:
    """Find the folder of a record.

    Raises
    ------
    NotFoundError
    """
    folder = root / identifier
    if not _ID.fullmatch(identifier) or not folder.is_dir():
        raise NotFoundError(f"There is no {noun} of this id: it was deleted, or never was there.")
    return folder


def folders_in(root: Path) -> list[Path]:
    """List the folders of all records, in any order."""
    return [path for path in root.glob("*") if _ID.fullmatch(path.name)]


def records(root: Path, read: Callable[[Path], Record]) -> list[Record]:
    """Read all records; one that is damaged, or was just deleted, does not stop the others."""
    found = list[Record]()
    for folder in folders_in(root):
        try:
            found.append(read(folder))
        except NotFoundError:
            continue
        except (InputError, TypeError, LookupError) as error:
            log.warning("%s is left out, it is damaged: %s", folder, error)
    return found


def remove(folder: Path) -> None:
    """Delete a record: at once for all that read it, whole or not at all."""
    gone = folder.with_name(f"{_REMOVED}{folder.name}")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


def clear(root: Path) -> None:
    """Delete what a server that was killed left: records that were being made or deleted."""
    for path in (*root.glob(f"{_NEW}*"), *root.glob(f"{_REMOVED}*")):
        shutil.rmtree(path, ignore_errors=True)


def read(path: Path) -> dict[str, Any]:
    """Read a file of JSON.

    Raises
    ------
    InputError
        Where it is damaged.
    NotFoundError
        Where it is not there.
    """
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except FileNotFoundError as error:
        raise NotFoundError(f"{path.name} is not there: it was deleted.") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is damaged: delete {path.parent}.") from error


def write(path: Path, values: Mapping[str, Any]) -> None:
    """Write a file of JSON, whole or not at all."""
    with replacing(path, durable=True) as file:
        file.write(json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogateescape"))


def size_of(folder: Path) -> int:
    """Count the bytes of all files below a folder; links count as nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += 0 if path.is_symlink() or path.is_dir() else path.stat().st_size
        except FileNotFoundError:  # a process at work deleted it
            continue
    return total
