"""States on disk, whole or not at all."""

import logging
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

from slicing.errors import InputError

log = logging.getLogger(__name__)

_MAGIC = b"knn-slicing state 1\n"


class Checkpoint:
    """A folder of named states, each with the one before it.

    A state is written beside the old one and takes its name when it is whole, so that whatever
    ends the process leaves one of the two. States are unpickled: load only your own.

    Parameters
    ----------
    folder : path
        Made where it is missing.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def save(self, name: str, state: Any, durable: bool = False) -> None:
        """Write a state; the one of that name becomes the one before.

        Parameters
        ----------
        name : str
        state : object
            What pickles.
        durable : bool
            Whether to wait until it would survive a power failure, too: some milliseconds more.

        Raises
        ------
        OSError
            Where that is impossible; the state of that name is still what it was.
        """
        path = self._path(name)
        part = path.with_suffix(".part")
        content = pickle.dumps(state, pickle.HIGHEST_PROTOCOL)
        try:
            with part.open("wb") as file:
                file.write(_MAGIC + zlib.crc32(content).to_bytes(4, "big"))
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            if path.exists():
                path.replace(path.with_suffix(".previous"))
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    def load(self, name: str) -> Any:
        """Read a state; where it is damaged, with a warning in the log, the one before.

        Returns
        -------
        object or None
            None where there is none.

        Raises
        ------
        InputError
            Where it and the one before are damaged.
        """
        path = self._path(name)
        damaged: list[Path] = []
        for candidate in (path, path.with_suffix(".previous")):
            try:
                content = candidate.read_bytes()
            except FileNotFoundError:
                continue
            start = len(_MAGIC) + 4
            crc = zlib.crc32(content[start:]).to_bytes(4, "big")
            if content[:start] == _MAGIC + crc:
                for each in damaged:
                    log.warning("%s is damaged: going on from the state before it.", each)
                return pickle.loads(content[start:])
            damaged.append(candidate)
        if damaged:
            raise InputError(
                f"{damaged[0]} is damaged, and there is no whole state before it: run the "
                "experiment anew."
            )
        return None

    def has(self, name: str) -> bool:
        """Whether there is a state of that name, perhaps a damaged one."""
        return self._path(name).exists()

    def discard(self, name: str) -> None:
        """Remove a state and the one before it, if they are there."""
        for path in (self._path(name), self._path(name).with_suffix(".previous")):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.state"
