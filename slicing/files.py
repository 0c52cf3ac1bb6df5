"""Files: only regular ones are read, and what is written is whole or not there."""

import errno
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

# Seconds after which nobody is at work on what was not changed.
_STALE = 3600.0
_TEMPORARY = ".tmp-"
_PART = f".{'[0-9a-f]' * 32}.part"
_KINDS = {
    stat.S_IFDIR: "it is a folder",
    stat.S_IFIFO: "it is a named pipe, not a file",
    stat.S_IFSOCK: "it is a socket, not a file",
    stat.S_IFCHR: "it is a device, not a file",
    stat.S_IFBLK: "it is a device, not a file",
}


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading; what could wait for ever, or never end, is not opened.

    Raises
    ------
    OSError
        With a reason: also for a folder, a named pipe, a socket, a device and a name with NUL.
    """
    require_name(path)
    _require_regular(path.stat().st_mode, path)
    # Another process may have put a pipe there by now.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    file = os.fdopen(handle, "rb")
    try:
        _require_regular(os.fstat(handle).st_mode, path)
    except OSError:
        file.close()
        raise
    return file


def _require_regular(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        reason = _KINDS.get(stat.S_IFMT(mode), "it is not a file")
        raise OSError(errno.EINVAL, reason, str(path))


def require_name(path: Path) -> None:
    """Refuse a path that no file can have, for which Python raises errors that are no OSError.

    Raises
    ------
    OSError
        With a reason.
    """
    try:
        name = os.fsencode(path)
    except UnicodeEncodeError as error:
        raise OSError(errno.EINVAL, "its name holds half a character", str(path)) from error
    if b"\0" in name:
        raise OSError(errno.EINVAL, "its name holds a NUL character", str(path))


def is_full(error: OSError) -> bool:
    """Whether there is no room left: on the disk, or of what a user may have of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, unless it is there.

    Raises
    ------
    OSError
        With a reason, also for a name with NUL.
    """
    require_name(path)
    path.mkdir(parents=True, exist_ok=True)


def require_writable(folder: Path) -> None:
    """Put a file into a folder, and take it away again.

    Raises
    ------
    OSError
        With the folder's name, where it takes none.
    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error


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
    require_name(path)
    path = path.resolve()
    clear_stale(path.parent, escape(path.name) + _PART)
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        with naming(path, instead_of=part):
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
def naming(path: Path, instead_of: Path | None = None) -> Iterator[None]:
    """Name the file in an OSError that names none: that of a full disk, while a file is written.

    Parameters
    ----------
    path : Path
    instead_of : Path, optional
        The temporary file, whose name says nothing to anybody.
    """
    try:
        yield
    except OSError as error:
        # Without a number, a name would take the place of the message.
        if error.errno is not None and error.filename in (None, str(instead_of)):
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
    for temporary in folder.glob(_TEMPORARY + "*"):
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Let libraries put temporary files into a folder, for the length of a ``with`` statement.

    What is then left by a process that is killed, :func:`clear_parts` removes.

    Parameters
    ----------
    folder : Path

    Raises
    ------
    OSError
        Where it takes no files.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(
        prefix=_TEMPORARY, dir=folder.resolve(), ignore_cleanup_errors=True
    ) as temporary:
        tempfile.tempdir = temporary
        try:
            yield
        finally:
            tempfile.tempdir = before


def clear_stale(folder: Path, pattern: str) -> None:
    """Remove temporary files and folders in which nothing was changed for an hour.

    Their processes were killed.

    Parameters
    ----------
    folder : Path
    pattern : str
        Of their names, with ``*``.
    """
    for left in folder.glob(pattern):
        with suppress(OSError):
            # A large file is at work on for long, and its folder does not change meanwhile.
            changed = max(each.stat().st_mtime for each in (left, *left.rglob("*")))
            if time.time() - changed >= _STALE:
                _remove(left)


def delete_oldest(newest: Path, name: re.Pattern[str], limit: int, in_use: float = 0.0) -> None:
    """Delete the files and folders of a folder that were not used for the longest time.

    Parameters
    ----------
    newest : Path
        One that is kept.
    name : re.Pattern
        What the names are of those that may be deleted: others are left alone.
    limit : int
        Bytes that all of them may have.
    in_use : float, default=0
        Seconds in which what was used is kept all the same.
    """
    others = []
    for path in newest.parent.iterdir():
        if path != newest and name.fullmatch(path.name):
            with suppress(FileNotFoundError):  # another process may delete it
                others.append((path.stat().st_mtime, _size(path), path))
    total = _size(newest)
    for used, size, path in sorted(others, reverse=True):
        total += size
        if total > limit and time.time() - used >= in_use:
            with suppress(FileNotFoundError):
                _remove(path)


def _size(path: Path) -> int:
    """Give the bytes of a file, or of all files in a folder."""
    total = 0
    for each in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):
            total += each.stat().st_size if each.is_file() else 0
    return total


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
