"""Keep unpacked archives in the user's cache, so that a second run need not do it again.

They are found by the archives' contents. All of them take at most 20 GB: before that, those that
were not used for the longest time are deleted, unless that is less than a day.
"""

import hashlib
import os
import re
import tempfile
from pathlib import Path

import platformdirs

from slicing.data.archive import unpack
from slicing.errors import InputError
from slicing.files import clear_stale, delete_oldest, is_full, open_regular

LIMIT = 20_000_000_000
"""Bytes of all that is kept."""

_SCRATCH, _NAME = ".unpack-", re.compile(r"[0-9a-f]{16}")
# Seconds in which a run may still read what it asked for.
_IN_USE = 86_400.0


def unpacked(archive: Path, max_gigabytes: float, name: str) -> Path:
    """Unpack an archive, if that has not been done yet.

    Parameters
    ----------
    archive : Path
    max_gigabytes : float
        What it may unpack to, in thousands of millions of bytes.
    name : str
        Of the folder.

    Returns
    -------
    Path
        A folder of this name, which holds regular files alone.

    Raises
    ------
    InputError
        As :func:`slicing.data.archive.unpack`; and where the cache cannot be written. Nothing is
        left then.
    """
    cache = platformdirs.user_cache_path("knn-slicing") / "unpacked"
    try:
        with open_regular(archive) as file:
            kept = cache / hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{archive} cannot be read ({error.strerror}).") from error
    folder = kept / name
    try:
        if not folder.is_dir():
            cache.mkdir(parents=True, exist_ok=True)
            clear_stale(cache, f"{_SCRATCH}*")
            with tempfile.TemporaryDirectory(dir=cache, prefix=_SCRATCH) as scratch:
                part = Path(scratch) / name
                part.mkdir()
                unpack(archive, part, max_gigabytes)
                kept.mkdir(exist_ok=True)
                try:
                    part.rename(folder)
                except OSError:
                    if not folder.is_dir():  # else another process was faster
                        raise
        os.utime(kept)  # now it is the one that was used last
        delete_oldest(kept, _NAME, LIMIT, _IN_USE)
    except OSError as error:
        raise InputError(
            f"{archive} cannot be unpacked into {cache} ({error.strerror}): "
            f"{'make room, or ' if is_full(error) else ''}unpack it yourself, and give the folder."
        ) from error
    return folder
