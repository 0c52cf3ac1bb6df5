"""The history of a run: one line a generation, one line a block, in the run's folder."""

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from evolve.block import Block
from evolve.events import BlockEnd, Generation
from slicing.files import naming

Event = Generation | BlockEnd

# The only count that has its own CSV column.
_COUNT = "full_scans"

GENERATIONS, BLOCKS = "history.csv", "blocks.csv"

_READ: dict[Any, Callable[[str], Any]] = {
    int: int,
    float: float,
    bool: lambda text: text == "True",
    tuple[str, ...]: lambda text: tuple(text.split("; ")),
}


class History:
    """The two files of a run, line by line as it goes.

    Parameters
    ----------
    folder : Path
    blocks : sequence of Block
        Those of the run.
    n_kept : int
        Lines of the first ``n_kept`` blocks, written by an earlier process, are kept.

    Attributes
    ----------
    events : list of Generation and BlockEnd
        All, in their order.
    """

    def __init__(self, folder: Path, blocks: Sequence[Block], n_kept: int) -> None:
        by_name = {block.name: block for block in blocks}
        self.events: list[Event] = []
        self._files: dict[type[Event], _Lines] = {}
        for kind, name in ((Generation, GENERATIONS), (BlockEnd, BLOCKS)):
            kept = _read(folder / name, kind, by_name, n_kept) if n_kept else []
            self.events += kept
            self._files[kind] = _Lines(folder / name, kind, kept)
        # A block ends after its last generation: stable where blocks end together.
        self.events.sort(key=lambda event: event.evaluations)

    def append(self, event: Event) -> None:
        """Add an event; when this returns, killing the process does not lose it.

        With the end of a block, all before it would survive a power failure, too.
        """
        self.events.append(event)
        self._files[type(event)].write(event)
        if isinstance(event, BlockEnd):
            for lines in self._files.values():
                lines.sync()

    def close(self) -> None:
        """Close the files."""
        for lines in self._files.values():
            lines.close()


class _Lines:
    """A CSV file that some events are in and that further ones are added to."""

    def __init__(self, path: Path, kind: type[Event], events: Sequence[Event]) -> None:
        self._path, part = path, path.with_suffix(".part.csv")
        self._file = part.open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, _columns(kind))
        self._writer.writeheader()
        for event in events:
            self.write(event)
        # If the process ends before this, the old file is untouched.
        part.replace(path)

    def write(self, event: Event) -> None:
        row = asdict(event) | {"block": event.block.name}
        if isinstance(event, BlockEnd):
            row["reasons"] = "; ".join(event.reasons)
        else:
            row[_COUNT] = row.pop("counts").get(_COUNT, "")
        with naming(self._path):
            self._writer.writerow(row)
            self._file.flush()

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        with naming(self._path):
            self._file.close()


def _columns(kind: type[Event]) -> list[str]:
    return [_COUNT if field.name == "counts" else field.name for field in fields(kind)]


def _read(path: Path, kind: type[Event], blocks: Mapping[str, Block], n_kept: int) -> list[Any]:
    """Read the events of the first blocks; a last line that is not whole is left out."""
    if not path.exists():
        return []
    lines = path.read_text("utf-8").splitlines(keepends=True)
    events = []
    for row in csv.DictReader(line for line in lines if line.endswith("\n")):
        if int(row["block_number"] or n_kept) >= n_kept:
            continue
        values: dict[str, Any] = {"block": blocks[row["block"]]}
        for field in fields(kind):
            if field.name == "counts":
                values["counts"] = {_COUNT: int(row[_COUNT])} if row[_COUNT] else {}
            elif field.name != "block":
                values[field.name] = _READ[field.type](row[field.name])
        events.append(kind(**values))
    return events
