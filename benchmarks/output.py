"""Files that a benchmark writes: checked first, then written whole or not at all."""

import json
from dataclasses import dataclass
from pathlib import Path

from experiments.json_values import plain_values
from slicing.errors import InputError
from slicing.files import replacing, require_writable


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
            raise InputError(f"{self.option} {self.path} is not a regular file: give another name.")
        try:
            require_writable(self.path.resolve().parent)
        except OSError as error:
            raise self._cannot_write(error) from error

    def write(self, content: bytes) -> None:
        """Write the file, whole or not at all.

        Raises
        ------
        InputError
            Where it cannot be written.
        """
        try:
            with replacing(self.path) as file:
                file.write(content)
        except OSError as error:
            raise self._cannot_write(error) from error

    def write_json(self, content: object, indent: int = 1) -> None:
        """Write dataclasses, mappings and sequences as JSON, whole or not at all.

        Numbers are finite or null. :func:`benchmarks.machine.origin` has what results begin with.

        Raises
        ------
        InputError
            Where it cannot be written.
        """
        text = json.dumps(plain_values(content), indent=indent, allow_nan=False)
        self.write((text + "\n").encode())

    def _cannot_write(self, error: OSError) -> InputError:
        return InputError(
            f"{self.option} {self.path} cannot be written ({error.strerror}): name a file in a "
            "folder that exists and can be written."
        )
