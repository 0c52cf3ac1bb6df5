"""Read a table of image files: a line for each, with its path and its label (CSV, TSV)."""

import csv
import os
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from slicing.data.listing import LISTED, PART_OF, Listing, folders_in, some
from slicing.errors import InputError
from slicing.names import class_name, counted

# What columns are called, in lower case and without what separates words.
_CALLED = {
    "path": {"path", "file", "filename", "filepath", "image", "imagepath", "imagename"},
    "label": {"label", "class", "classname", "category"},
    "split": {"split", "subset", "set"},
}
_DELIMITERS = ",;\t|"
# Lines by which the delimiter is found.
_SAMPLE = 20


class _Row(NamedTuple):
    number: int
    """The line of the table, from 1."""
    path: str
    label: str
    split: str


def read_table(
    table: Path, max_megapixels: float, within: Path | None = None
) -> dict[str, Listing]:
    """List the images of a table, and open each: Pillow reads their headers.

    The columns are called ``path`` (``file``, ``filename``, ``image``), ``label`` (``class``,
    ``category``) and ``split`` (``subset``, ``set``), of which the last may be missing and one of
    the others may have any name. Or there are two columns without names, path and label. They are
    separated by commas, semicolons, tabs or bars.

    Parameters
    ----------
    table : Path
        In UTF-8. Its paths start in its folder, or all of them in a folder beside it: where the
        first file is. Backslashes are taken for slashes. A file that is named twice counts once.
    max_megapixels : float
        Pixels of an image, in millions, above which it is not read.
    within : Path, optional
        The folder that no path may leave. Default: files may be anywhere.

    Returns
    -------
    dict of str to Listing
        By part: ``train``, ``val``, ``test``; ``train`` alone where there is no ``split``.

    Raises
    ------
    InputError
        For a table that says too little or contradicts itself, with the numbers of its lines.
    """
    rows = _rows(table)
    has_split = any(row.split for row in rows)
    _refuse(table, "no path", (row for row in rows if not row.path), "add it")
    _refuse(table, "no label", (row for row in rows if not row.label), "add it")
    if has_split:
        unknown = (row for row in rows if row.split.lower() not in PART_OF)
        _refuse(table, "a part of no known name", unknown, "write train, val or test")
    if within is not None:
        leaving = (row for row in rows if _leaves(row.path))
        _refuse(table, "a path that leaves the archive", leaving, "write it relative to the table")

    base = _base(table, rows[0].path)
    files = [(_file(base, row.path), row) for row in rows]
    missing = (row for file, row in files if not _is_file(file))
    _refuse(table, "a path where no file is", missing, "correct it, add the file")
    first: dict[str, tuple[Path, _Row]] = {}
    twice = list[str]()
    for file, row in files:
        _, other = first.setdefault(os.path.normpath(file), (file, row))
        if (other.label, other.split) != (row.label, row.split):
            twice.append(f"{row.path} in lines {other.number:,} and {row.number:,}")
    if twice:
        raise InputError(
            f"{table} gives a file two labels or parts, {some(twice, LISTED)}: delete one of the "
            "lines."
        )

    found = dict[str, Listing]()
    for file, row in first.values():
        part = PART_OF[row.split.lower()] if has_split else "train"
        source = f"{table} ({part})" if has_split else str(table)
        listing = found.setdefault(part, Listing([source]))
        name = class_name(row.label)
        listing.places[name] = table
        listing.add(file, name, max_megapixels)
    return found


def _rows(table: Path) -> list[_Row]:
    """Read the lines: their numbers of columns and the names of these are checked here."""
    reader = csv.reader(())
    try:
        # A mark of the order of bytes is what Excel writes first.
        with table.open(encoding="utf-8-sig", newline="") as file:
            delimiter = _delimiter(list(islice(file, _SAMPLE)))
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            lines = [
                (reader.line_num, [cell.strip() for cell in line]) for line in reader if any(line)
            ]
    except UnicodeDecodeError as error:
        raise InputError(f"{table} is not UTF-8: save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise InputError(
            f"{table} cannot be read as a table ({error}, line {reader.line_num:,}): correct the "
            "line."
        ) from error
    except OSError as error:
        raise InputError(f"{table} cannot be read ({error.strerror}).") from error
    if not lines:
        raise InputError(f"{table} is empty: write a path and a label in each line.")
    names = lines[0][1]
    if ragged := [number for number, line in lines if len(line) != len(names)]:
        raise InputError(
            f"{table} has {counted(len(names), 'column')} in its first line and another number in "
            f"{_lines(ragged)}: correct them."
        )
    columns = _columns(table, names)
    if columns is None:
        columns = {"path": 0, "label": 1}
    else:
        del lines[0]
    if not lines:
        raise InputError(f"{table} names no images: write a path and a label in each line.")
    # Where there is no split, none is said.
    return [
        _Row(number, *(line[columns[what]] if what in columns else "" for what in _CALLED))
        for number, line in lines
    ]


def _delimiter(lines: Sequence[str]) -> str:
    """Find what separates columns: as many of them as can be, and the same number in all lines."""

    def score(delimiter: str) -> tuple[bool, int]:
        widths = [len(line) for line in csv.reader(lines, delimiter=delimiter) if any(line)]
        return len(set(widths)) == 1 and widths[0] > 1, max(widths, default=0)

    return max(_DELIMITERS, key=score)


def _columns(table: Path, names: Sequence[str]) -> dict[str, int] | None:
    """Find the columns by their names; None where the first line holds none."""
    plain = ["".join(filter(str.isalnum, name.lower())) for name in names]
    columns = dict[str, int]()
    for what, called in _CALLED.items():
        fitting = [column for column, name in enumerate(plain) if name in called]
        if len(fitting) > 1:
            raise InputError(
                f"{table} has several columns for the {what}, "
                f"{some(names[column] for column in fitting)}: give all but one another name."
            )
        if fitting:
            columns[what] = fitting[0]
    if not columns and len(names) == 2:
        return None
    others = [column for column in range(len(names)) if column not in columns.values()]
    lacking = [what for what in ("path", "label") if what not in columns]
    if columns and len(lacking) == 1 and len(others) == 1:
        columns[lacking[0]] = others[0]
    elif lacking:
        raise InputError(
            f"{table} has the columns {some(names, LISTED)}: call one path and one label, in the "
            "first line."
        )
    return columns


def _base(table: Path, first: str) -> Path:
    """Find the folder in which the paths start."""
    if _is_file(_file(table.parent, first)):
        return table.parent
    beside = [path for path in folders_in(table.parent) if _is_file(_file(path, first))]
    if len(beside) > 1:
        raise InputError(
            f"{table} names {first}, which is in {some(path.name for path in beside)}: write the "
            "folder into the paths."
        )
    return beside[0] if beside else table.parent


def _file(base: Path, path: str) -> Path:
    """Find a file, whether its name has composed letters or, as macOS writes them, parts."""
    if "\\" in path and not _is_file(base / path):
        path = path.replace("\\", "/")
    forms = (path, *(unicodedata.normalize(form, path) for form in ("NFC", "NFD")))
    return next((base / form for form in forms if _is_file(base / form)), base / path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long
        return False


def _leaves(path: str) -> bool:
    # It takes slashes and backslashes, and letters of drives.
    windows = PureWindowsPath(path)
    return bool(windows.anchor) or ".." in windows.parts


def _refuse(table: Path, what: str, rows: Iterable[_Row], way_out: str) -> None:
    faulty = list(rows)
    if faulty:
        paths = f" ({some((row.path for row in faulty), LISTED)})" if faulty[0].path else ""
        raise InputError(
            f"{table} has {what} in {_lines(row.number for row in faulty)}{paths}: {way_out}, or "
            f"delete the line."
        )


def _lines(numbers: Iterable[int]) -> str:
    found = [f"{number:,}" for number in numbers]
    return f"line{'s' if len(found) > 1 else ''} {some(found, LISTED)}"
