"""States on disk, whole or not at all: settings and arrays, of which nothing is executed."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from filelock import FileLock, Timeout
from numpy.typing import NDArray

from slicing import tensor_file
from slicing.errors import InputError
from slicing.files import make_folder, replacing, sync_folder
from slicing.memory import TooLargeError

log = logging.getLogger(__name__)

_KIND, _VERSION = "knn-slicing state", 2
_STATE, _PREVIOUS, _NEW, _PART = ".state", ".previous", ".new", ".part"
_LOCK = "lock"

T = TypeVar("T")


class State(NamedTuple):
    """What a state holds; it comes from a file, so anyone may have written it.

    Attributes
    ----------
    settings : dict of str to object
        What JSON can express.
    arrays : dict of str to ndarray
    """

    settings: dict[str, Any]
    arrays: dict[str, NDArray[Any]]

    def get(self, name: str, kind: type[T]) -> T:
        """Give a setting, which must be of this very type.

        Raises
        ------
        KeyError, TypeError
        """
        value = self.settings[name]
        if type(value) is not kind:
            raise TypeError(f"{name} is a {type(value).__name__}, not a {kind.__name__}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Give a setting that must be a list of texts.

        Raises
        ------
        KeyError, TypeError
        """
        values = self.get(name, list)
        if any(type(value) is not str for value in values):
            raise TypeError(f"{name} is no list of texts")
        return tuple(values)

    def array(self, name: str, dtype: type[Any], ndim: int = 1) -> NDArray[Any]:
        """Give an array, which must be of this type and so many dimensions.

        Raises
        ------
        KeyError, TypeError
        """
        array = self.arrays[name]
        if array.dtype != dtype or array.ndim != ndim:
            raise TypeError(f"{name} is of the type {array.dtype} and the shape {array.shape}")
        return array


class Checkpoint:
    """A folder of named states, each with the one before it.

    A state is written beside the old one and takes its name when it is whole: if the
    process is killed, one of the two is there. It is a file of :mod:`slicing.tensor_file`:
    reading it executes nothing.

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
        make_folder(self.folder)
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

    def save(
        self,
        name: str,
        settings: Mapping[str, Any],
        arrays: tensor_file.Arrays | None = None,
        durable: bool = False,
    ) -> None:
        """Write a state; the one of that name becomes the one before.

        Parameters
        ----------
        name : str
        settings : mapping of str to object
            What JSON can express; floats keep every bit, NaN and infinities among them.
        arrays : mapping of str to ndarray, optional
        durable : bool
            Whether to wait until it would survive a power failure, too: some milliseconds more.

        Raises
        ------
        OSError
            Where it cannot be written; the state of that name is still there.
        """
        make_folder(self.folder)
        path, new = self._path(name), self._path(name, _NEW)
        content = tensor_file.pack(_KIND, {"version": _VERSION, **settings}, arrays or {})
        with replacing(new, durable) as file:
            file.write(content)
        if path.exists():
            path.replace(self._path(name, _PREVIOUS))
        new.replace(path)
        if durable:
            sync_folder(self.folder)

    def load(self, name: str) -> State | None:
        """Read a state; where it is damaged, the one before, with a warning in the log.

        Returns
        -------
        State or None
            None where there is no state, or, with a warning, only damaged ones.

        Raises
        ------
        InputError
            Where another version has written it, the system does not let it be read, or it is
            larger than the memory.
        """
        damaged: list[Path] = []
        for path in (self._path(name), self._path(name, _PREVIOUS)):
            try:
                state = State(*tensor_file.read(path, _KIND))
            except TooLargeError:
                raise
            except InputError as error:
                if isinstance(error.__cause__, OSError):
                    if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                        continue
                    raise
                damaged.append(path)
                continue
            for each in damaged:
                log.warning("%s is damaged: resuming from the state before it.", each)
                # Else it would replace this one as the state before.
                each.unlink()
            if state.settings.get("version") != _VERSION:
                raise InputError(
                    f"{path} was written by another version: resume it with that one, or start a "
                    "new run in another folder."
                )
            return state
        if damaged:
            log.warning("%s is damaged, and so is the state before it.", damaged[0])
        return None

    @contextmanager
    def understood(self, name: str) -> Iterator[None]:
        """Turn what is raised by a state of odd content into one sentence.

        Raises
        ------
        InputError
        """
        try:
            yield
        except InputError:
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise InputError(
                f"{self._path(name)} does not hold what this version writes: start a new run in "
                "another folder."
            ) from error

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
