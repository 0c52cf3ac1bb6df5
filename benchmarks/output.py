"""Files that a benchmark writes: tried before there is anything to write, then whole or not."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from slicing.errors import InputError


@dataclass(frozen=True)
class Output:
    """A file that an option of the command line names.

    Attributes
    ----------
    option : str
    path : Path

    Raises
    ------
    InputError
        Where it cannot be written.
    """

    option: str
    path: Path

    def __post_init__(self) -> None:
        if self.path.is_dir():
            raise InputError(f"{self.option} {self.path} is a folder: give the name of a file.")
        if self.path.exists() and not self.path.is_file():
            raise InputError(f"{self.option} {self.path} is no file: give the name of one.")
        try:
            with tempfile.TemporaryFile(dir=self.path.resolve().parent):
                pass
        except OSError as error:
            raise self._cannot_write(error) from error

    def write(self, content: bytes) -> None:
        """Write the file, whole or not at all.

        Raises
        ------
        InputError
            Where it cannot be written.
        """
        path = self.path.resolve()  # what a link points to, not the link
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            unfinished.write_bytes(content)
            unfinished.replace(path)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise self._cannot_write(error) from error

    def _cannot_write(self, error: OSError) -> InputError:
        return InputError(
            f"{self.option} {self.path} cannot be written ({error.strerror}): name a file in a "
            "folder that exists and can be written."
        )
