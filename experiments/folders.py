"""Folders that commands make, and remove where they have no use for them."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from slicing.files import make_folder, require_writable


def made_for_output(output: str | None) -> Path:
    """Make the folder that the option ``output`` names; None: a new one in ``outputs``.

    Raises
    ------
    OSError
        Where it cannot be made, or takes no files: before hours of work.
    """
    folder = Path(output or f"outputs/{datetime.now():%Y-%m-%d/%H-%M-%S-%f}").expanduser()
    make_folder(folder)
    require_writable(folder)
    return folder


@contextmanager
def folder_for_output(output: str | None) -> Iterator[Path]:
    """Make that folder for the work in a ``with`` statement; where it fails, none is left empty."""
    folder = made_for_output(output)
    try:
        yield folder
    except BaseException:
        remove_if_only(folder, ())
        raise


def remove_if_only(folder: Path, names: Collection[str]) -> None:
    """Remove a folder that holds nothing but these names, and folders that are then empty.

    Parameters
    ----------
    folder : Path
        Where the user may not remove it, it stays.
    names : collection of str
        Of files and folders that may be removed with it.
    """
    # That of the start, too, and those around it are the user's.
    here = Path.cwd()
    with suppress(OSError):
        if folder.resolve() in (here, *here.parents):
            return
        if all(path.name in names for path in folder.iterdir()):
            shutil.rmtree(folder)
            for each in folder.resolve().parents:
                if here not in each.parents:
                    break
                each.rmdir()
