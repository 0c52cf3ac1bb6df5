"""Folders that commands make, and remove where they have no use for them."""

import shutil
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path


def made_for_output(output: str | None) -> Path:
    """Make the folder that the option ``output`` names; None: a new one in ``outputs``."""
    folder = Path(output or f"outputs/{datetime.now():%Y-%m-%d/%H-%M-%S-%f}").expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
