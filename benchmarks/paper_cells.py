"""The cells of the paper's tables, and the file that keeps them."""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from benchmarks.output import Output
from benchmarks.paper_jobs import Job
from slicing.errors import InputError


@dataclass(frozen=True)
class Cell:
    """One experiment.

    Attributes
    ----------
    row, column, protocol : str
    seed : int
    command : str
        What runs it.
    options : str
        A digest of all its options.
    parameters : int
        Weights and biases of the network.
    conv_bytes : int or None
        The slides' engine size: its convolutions, as float32; None for a CNN.
    total_bytes : int
        All that classifying needs, references included.
    evaluations : int
    seconds : float
        Of the training and the evolution.
    machine : str
    commit : str
        Of this project, whose constraints.txt has the versions; empty outside a checkout.
    few : int
        How many of the test images, from the first, the slides' column has.
    n_tests : int
    right : str
        Which of them are classified correctly: a bit each, compressed by zlib, in base 64.
    """

    row: str
    column: str
    protocol: str
    seed: int
    command: str
    options: str
    parameters: int
    conv_bytes: int | None
    total_bytes: int
    evaluations: int
    seconds: float
    machine: str
    commit: str
    few: int
    n_tests: int
    right: str

    @property
    def place(self) -> tuple[str, str, str, int]:
        """Where in the tables it stands."""
        return self.row, self.column, self.protocol, self.seed

    @property
    def bits(self) -> NDArray[np.bool_]:
        """Which test images are classified correctly, shape (n_tests,).

        Raises
        ------
        ValueError, zlib.error
            Where :attr:`right` is damaged, or of other images.
        """
        packed = np.frombuffer(zlib.decompress(base64.b64decode(self.right)), np.uint8)
        if len(packed) != -(-self.n_tests // 8):
            raise ValueError(f"the bits of {self.row} are not those of {self.n_tests} images")
        return np.unpackbits(packed, count=self.n_tests).astype(bool)


def packed(right: NDArray[np.bool_]) -> str:
    """Pack which images are classified correctly, as :attr:`Cell.right` has it."""
    return base64.b64encode(zlib.compress(np.packbits(right).tobytes(), 9)).decode()


def _checked(cell: Cell) -> Cell:
    """Refuse what no table can be made of."""
    numbers = (
        cell.seed, cell.parameters, cell.total_bytes, cell.evaluations, cell.seconds, cell.few,
        cell.n_tests,
    )  # fmt: skip
    if not all(isinstance(number, int | float) for number in numbers):
        raise TypeError(f"the numbers of {cell.row} are {numbers}")
    _ = cell.bits  # raises where they are damaged
    return cell


class Store:
    """The file of cells."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.cells: list[Cell] = []
        self._read()

    def _read(self) -> None:
        if self._path.exists():
            try:
                held = json.loads(self._path.read_text())["cells"]
                self.cells = [_checked(Cell(**cell)) for cell in held]
            except (OSError, ValueError, TypeError, KeyError, zlib.error) as error:
                raise InputError(
                    f"--cells {self._path} holds no cells of these tables ({error}): move it away, "
                    "or name another file."
                ) from error

    def find(self, job: Job) -> Cell | None:
        """Find the cell of a job, computed for it or for a column that asks for the same."""
        wanted = (job.row.name, job.row.protocol, job.seed, job.digest)
        for cell in self.cells:
            if (cell.row, cell.protocol, cell.seed, cell.options) == wanted:
                return replace(cell, column=job.column)
        return None

    def of(self, jobs: Sequence[Job]) -> list[Cell]:
        """Return the known cells of some jobs."""
        return [cell for cell in map(self.find, jobs) if cell is not None]

    def add(self, cells: Sequence[Cell]) -> None:
        """Keep cells; they replace those with other options."""
        with FileLock(f"{self._path}.lock"):
            self._read()  # another column's process may have written since
            places = {cell.place for cell in cells}
            self.cells = [each for each in self.cells if each.place not in places] + [*cells]
            Output("--cells", self._path).write_json({"cells": self.cells})
