"""The history of a run: one line a generation, one line a block, in the run's folder."""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from io import StringIO
from pathlib import Path

from evolve.events import BlockEnd, Event, Generation
from slicing.files import naming, replacing

# The only count that has its own CSV column.
_COUNT = "full_scans"

GENERATIONS, BLOCKS = "history.csv", "blocks.csv"


class History:
    """The two files of a run, line by line as it goes.

    Parameters
    ----------
    folder : Path
    events : sequence of Generation and BlockEnd
        Those that there are already. What lies in the folder is replaced: it is for people, and
        never read.

    Attributes
    ----------
    events : list of Generation and BlockEnd
        All, in their order.
    """

    def __init__(self, folder: Path, events: Sequence[Event] = ()) -> None:
        self.events = list(events)
        self._files = {
            kind: _Lines(folder / name, kind, [event for event in events if type(event) is kind])
            for kind, name in ((Generation, GENERATIONS), (BlockEnd, BLOCKS))
        }

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

    def __init__(self, path: Path, kind: type[Event], events: Iterable[Event]) -> None:
        header = _line(_COUNT if each.name == "counts" else each.name for each in fields(kind))
        # If the process ends meanwhile, the old file is untouched.
        with replacing(path) as whole:
            whole.writelines(line.encode() for line in (header, *map(_line_of, events)))
        self._path, self._file = path, path.open("a", newline="", encoding="utf-8")

    def write(self, event: Event) -> None:
        with naming(self._path):
            self._file.write(_line_of(event))
            self._file.flush()

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        with naming(self._path):
            self._file.close()


def _line_of(event: Event) -> str:
    values = asdict(event) | {"block": event.block.name}
    if isinstance(event, BlockEnd):
        values["reasons"] = "; ".join(event.reasons)
    else:
        values["counts"] = event.counts.get(_COUNT, "")
    return _line(values.values())


def _line(cells: Iterable[object]) -> str:
    text = StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()
