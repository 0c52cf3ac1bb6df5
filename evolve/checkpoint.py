"""States on disk, whole or not at all."""

import logging
import os
import pickle
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slicing.errors import InputError

log = logging.getLogger(__name__)

_MAGIC = b"knn-slicing state 1\n"
_STATE, _PREVIOUS, _PART = ".state", ".previous", ".part"


class Checkpoint:
    """A folder of named states, each with the one before it.

    A state is written beside the old one and takes its name when it is whole, so that whatever
    ends the process leaves one of the two. States are unpickled: load only your own.

    Parameters
    ----------
    folder : path
        Made when the first state is saved.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out meanwhile; the lock ends with the process at the latest.

        Raises
        ------
        InputError
            Where another process has it.
        """
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    f"Another process is at work on {self.folder.parent}: wait until it has ended, "
                    "or end it."
                ) from error
            yield

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
            Where that is impossible; the state of that name is still there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path, part = self._path(name), self._path(name, _PART)
        content = pickle.dumps(state, pickle.HIGHEST_PROTOCOL)
        try:
            with part.open("wb") as file:
                file.write(_MAGIC + zlib.crc32(content).to_bytes(4, "big"))
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            if path.exists():
                path.replace(self._path(name, _PREVIOUS))
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        if durable:
            _sync_folder(self.folder)

    def load(self, name: str) -> Any:
        """Read a state; where it is damaged, with a warning in the log, the one before.

        Returns
        -------
        object or None
            None where there is none, or, with a warning, none that is whole.
        """
        damaged: list[Path] = []
        for path in (self._path(name), self._path(name, _PREVIOUS)):
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            start = len(_MAGIC) + 4
            crc = zlib.crc32(content[start:]).to_bytes(4, "big")
            if content[:start] == _MAGIC + crc:
                for each in damaged:
                    log.warning("%s is damaged: going on from the state before it.", each)
                    # Or it would become the one before, in the place of this one.
                    each.unlink()
                return pickle.loads(content[start:])
            damaged.append(path)
        if damaged:
            log.warning("%s is damaged, and so is what was before it: doing it anew.", damaged[0])
        return None

    def has(self, name: str) -> bool:
        """Whether there is a state of that name, perhaps a damaged one."""
        return any(self._path(name, suffix).exists() for suffix in (_STATE, _PREVIOUS))

    def discard(self, name: str) -> None:
        """Remove a state and the one before it, if they are there."""
        for suffix in (_STATE, _PREVIOUS, _PART):
            self._path(name, suffix).unlink(missing_ok=True)

    def clear(self, last: str) -> None:
        """Remove all states, that of the name `last` at last, and the folder if nothing is left."""
        names = {path.stem for path in self.folder.glob("*") if path.suffix in (_STATE, _PREVIOUS)}
        for name in sorted(names, key=lambda name: name == last):
            self.discard(name)
        (self.folder / "lock").unlink(missing_ok=True)
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _path(self, name: str, suffix: str = _STATE) -> Path:
        return self.folder / f"{name}{suffix}"


def _sync_folder(folder: Path) -> None:
    """Wait until the names in a folder would survive a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
