"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4


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
    part = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
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


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder would survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
