"""States on disk, whole or not at all."""

import logging
import pickle
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from slicing.errors import InputError
from slicing.files import replacing, sync_folder

log = logging.getLogger(__name__)

_MAGIC = b"knn-slicing state 1\n"
_STATE, _PREVIOUS, _NEW, _PART = ".state", ".previous", ".new", ".part"
_LOCK = "lock"


class Checkpoint:
    """A folder of named states, each with the one before it.

    A state is written beside the old one and takes its name when it is whole: if the
    process is killed, one of the two is there. States are unpickled: load only your own.

    Names of states have no dots.

    Parameters
    ----------
    folder : path
        Made when the first state is saved.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out; the lock ends with the process at the latest.

        Raises
        ------
        InputError
            Where another process has it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise InputError(
                f"Another process is at work on {self.folder.parent}: wait until it has ended, "
                "or end it."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def save(self, name: str, state: Any, durable: bool = False) -> None:
        """Write a state; the one of that name becomes the one before.

        Parameters
        ----------
        name : str
        state : object
            Can be pickled.
        durable : bool
            Whether to wait until it would survive a power failure, too: some milliseconds more.

        Raises
        ------
        OSError
            Where it cannot be written; the state of that name is still there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path, new = self._path(name), self._path(name, _NEW)
        content = pickle.dumps(state, pickle.HIGHEST_PROTOCOL)
        with replacing(new, durable) as file:
            file.write(_MAGIC + zlib.crc32(content).to_bytes(4, "big"))
            file.write(content)
        if path.exists():
            path.replace(self._path(name, _PREVIOUS))
        new.replace(path)
        if durable:
            sync_folder(self.folder)

    def load(self, name: str) -> Any:
        """Read a state; where it is damaged, the one before, with a warning in the log.

        Returns
        -------
        object or None
            None where there is no state, or, with a warning, only damaged ones.

        Raises
        ------
        InputError
            Where it holds classes that this version does not have.
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
                    log.warning("%s is damaged: resuming from the state before it.", each)
                    # Else it would replace this one as the state before.
                    each.unlink()
                try:
                    return pickle.loads(content[start:])
                except (AttributeError, ImportError) as error:
                    raise InputError(
                        f"{path} was written by another version: start a new run."
                    ) from error
            damaged.append(path)
        if damaged:
            log.warning("%s is damaged, and so is the state before it: starting again.", damaged[0])
        return None

    def has(self, name: str) -> bool:
        """Whether there is a state of that name, perhaps a damaged one."""
        return any(self._path(name, suffix).exists() for suffix in (_STATE, _PREVIOUS))

    def discard(self, name: str) -> None:
        """Remove a state and the one before it, if they are there."""
        for path in self._files():
            if path.name.partition(".")[0] == name:
                path.unlink()

    def clear(self, last: str) -> None:
        """Remove all states, the one named `last` at the end, and the folder if it is empty."""
        names = {path.name.partition(".")[0] for path in self._files()}
        for name in sorted(names, key=lambda name: name == last):
            self.discard(name)
        (self.folder / _LOCK).unlink(missing_ok=True)
        if self.folder.exists() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _path(self, name: str, suffix: str = _STATE) -> Path:
        return self.folder / f"{name}{suffix}"

    def _files(self) -> list[Path]:
        """List the files of all states, and what killed processes left of them."""
        suffixes = (_STATE, _PREVIOUS, _NEW, _PART)
        return [path for path in self.folder.glob("*.*") if path.suffix in suffixes]
