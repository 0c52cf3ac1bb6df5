"""Classify images with an engine or a system: ``python -m experiments.predict --help``."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from omegaconf import MISSING

from experiments.console import MISTAKE, say
from experiments.statistics import Accuracy
from experiments.tables import table_lines
from experiments.tools import run_tool
from slicing.adaptive import System, load
from slicing.checks import positive
from slicing.data.archive import MAX_GIGABYTES, is_archive
from slicing.data.find_photos import unpacked_photos
from slicing.data.image_file import (
    MAX_MEGAPIXELS,
    UnreadableImageError,
    is_left_by_system,
    is_text,
)
from slicing.engine.engine import Engine
from slicing.errors import InputError
from slicing.memory import set_bound
from slicing.names import class_name, counted, csv_cell, shown

# Images that are in memory at a time, or fewer: so many pixels, in millions.
_BATCH, _BATCH_MEGAPIXELS = 100, 100


class Format(Enum):
    """How predictions are printed."""

    table = "table"
    csv = "csv"
    json = "json"


@dataclass
class Options:
    """Classify images with an engine, the file engine.safetensors of a run."""

    engine: str = MISSING
    """The engine's file, engine.safetensors in the folder of a run; or system.safetensors, that of
    several engines as one, which experiments.adaptive makes."""
    images: Any = MISSING
    """A folder, which is searched with all its folders, an archive (zip, tar) of images, an image
    file, or [several,of,them]."""
    format: Format = Format.table
    """What is printed: table, csv or json."""
    invert: bool = False
    """Whether to swap dark and bright: MNIST's digits are bright on a dark ground."""
    max_megapixels: float = MAX_MEGAPIXELS
    """Pixels of a file, in millions, above which it is not decoded: they take memory."""
    max_gigabytes: float | None = None
    """Gigabytes of memory above which the engine is refused before it is read; null: what there
    is."""


class Prediction(NamedTuple):
    """The answer to an image file, and what it rests on: see :class:`slicing.engine.Evidence`.

    Attributes
    ----------
    path : Path
    name : str
        Of the class.
    shares : ndarray of shape (n_classes,), float64
        Each class's share of the votes.
    distance, margin : float
    confidence : float or None
        None where the engine gives none, and for an outlier.
    is_outlier : bool or None
        Whether the image is unlike all that taught the confidence; None where nothing did.
    """

    path: Path
    name: str
    shares: NDArray[np.float64]
    distance: float
    margin: float
    confidence: float | None
    is_outlier: bool | None


def predict(
    engine: Engine | System,
    paths: Sequence[Path],
    invert: bool = False,
    max_megapixels: float = MAX_MEGAPIXELS,
    unreadable: Callable[[UnreadableImageError], None] | None = None,
) -> Iterator[Prediction]:
    """Classify image files, resized to what the engine takes.

    Parameters
    ----------
    engine : Engine or System
    paths : sequence of Path
    invert : bool
        Whether to swap dark and bright.
    max_megapixels : float
        Pixels of a file, in millions, above which it is not decoded.
    unreadable : callable, optional
        Is told of each file that cannot be read; without it, the first ends everything.

    Yields
    ------
    Prediction

    Raises
    ------
    InputError
        For an engine that takes no images from files, or too large ones.
    """
    positive("max_megapixels", max_megapixels)
    preparation = engine.for_files(max_megapixels)
    height, width = preparation.image_size
    batch = max(1, min(_BATCH, int(_BATCH_MEGAPIXELS * 1e6) // (height * width)))
    for start in range(0, len(paths), batch):
        read = dict[Path, NDArray[np.uint8]]()
        for path in paths[start : start + batch]:
            try:
                read[path] = preparation.of_file(path, max_megapixels)
            except UnreadableImageError as error:
                if unreadable is None:
                    raise
                unreadable(error)
        if not read:
            continue
        pixels = np.stack(list(read.values()))
        if invert:
            pixels = 255 - pixels
        found = engine.evidence(pixels)
        yield from map(
            Prediction,
            read,
            (engine.classes[label] for label in found.labels),
            found.shares,
            found.distances.tolist(),
            found.margins.tolist(),
            *zip(*found.certainties(), strict=True),
        )


def find_images(images: Any) -> list[Path]:
    """List the files that ``images=`` names, those of a folder in the order of their names.

    In a folder, hidden files, what systems leave there, and text are passed over. An archive is
    unpacked into the cache, and its files are those of the folder there.

    Raises
    ------
    InputError
        Where there are none, or an archive cannot be unpacked.
    """
    found: dict[Path, None] = {}
    for name in images if isinstance(images, list) else [images]:
        path = Path(str(name)).expanduser()
        folder = _unpacked(path) if path.is_file() and is_archive(path) else path
        if folder.is_dir():
            inside = [each for each in sorted(folder.rglob("*")) if _is_meant(each, folder)]
            if not inside:
                raise InputError(f"{path} holds no images: name another one.")
            found |= dict.fromkeys(inside)
        elif os.path.lexists(path):
            found[path] = None
        else:
            raise InputError(
                f"There is no file or folder {path} (several are given as images=[a.png,b.png])."
            )
    if not found:
        raise InputError("images names no file: give a folder or files.")
    return list(found)


def _unpacked(archive: Path) -> Path:
    try:
        return unpacked_photos(archive)
    except InputError as error:
        if error.option is None:
            raise
        # Of this program, max_gigabytes is another bound.
        raise InputError(
            f"{archive} unpacks to more than {MAX_GIGABYTES:g} GB: unpack it yourself, and give "
            "the folder."
        ) from error


def _is_meant(path: Path, folder: Path) -> bool:
    """Whether something in a folder is to be classified."""
    names = map(Path, path.relative_to(folder).parts)
    return not (path.is_dir() or any(map(is_left_by_system, names)) or is_text(path))


class _Score:
    """Counts right answers for files whose folders are named after classes."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = classes
        self._right = list[bool]()

    def add(self, path: Path, answer: str) -> None:
        name = class_name(path.absolute().parent.name)
        if name in self._classes:
            self._right.append(name == answer)

    def __str__(self) -> str:
        if not self._right:
            return ""
        accuracy = Accuracy(sum(self._right), len(self._right))
        low, high = accuracy.interval()
        return (
            f"Taken for the class that their folder names: {accuracy.correct:,} of "
            f"{counted(accuracy.total, 'image')}, {accuracy.value:.2%} (95 % interval {low:.2%} to "
            f"{high:.2%}). Images that taught the engine flatter it."
        )


def main(options: Options) -> None:
    """Print the class of every image; exit with 2 where some could not be read."""
    set_bound(options.max_gigabytes)
    engine = load(Path(options.engine).expanduser())
    paths = find_images(options.images)
    # Names hold letters that some terminals do not have.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    failures, score = list[UnreadableImageError](), _Score(engine.classes)

    def rows() -> Iterator[Prediction]:
        for row in predict(engine, paths, options.invert, options.max_megapixels, failures.append):
            score.add(row.path, row.name)
            yield row

    _PRINT[options.format](engine, paths, rows())
    if str(score):
        say(str(score))
    for error in failures:
        say(str(error))
    if failures and len(paths) > 1:
        say(f"{len(failures):,} of {len(paths):,} files could not be read.")
    if failures:
        sys.exit(MISTAKE)


def _print_table(
    engine: Engine | System, paths: Sequence[Path], rows: Iterator[Prediction]
) -> None:
    first = next(rows, None)
    if first is None:
        return
    outliers = 0

    def cells() -> Iterator[list[str]]:
        nonlocal outliers
        for row in chain([first], rows):
            outliers += bool(row.is_outlier)
            yield [
                str(row.path),
                row.name,
                _confidence(row),
                f"{row.shares.max():.2f}",
                f"{row.distance:.3g}",
                f"{row.margin:.2f}",
            ]

    header = ["image", "class", "confidence", "share of the votes", "distance", "margin"]
    # The others are no wider than their names.
    widest = [max(map(str, paths), key=len), max(engine.classes, key=len), *header[2:]]
    for line in table_lines(header, cells(), widest):
        print(line)
    if outliers:
        say(
            "An outlier is unlike all images that taught the confidence, so it has none: its "
            "answer is farther, or its contrast smaller, than that of each of them."
        )
    if isinstance(engine, Engine) and engine.confidence is None:
        say(
            "This engine gives no confidence: a run learns it from training images that it holds "
            "out, data.calibration_fraction=0.1 of them, where these are 50 or more."
        )


def _confidence(row: Prediction) -> str:
    if row.is_outlier:
        return "outlier"
    return "-" if row.confidence is None else f"{row.confidence:.2f}"


def _print_csv(engine: Engine | System, paths: Sequence[Path], rows: Iterator[Prediction]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    evidence = ["confidence", "outlier", "distance", "margin"]
    writer.writerow(["image", "class", *evidence, *map(csv_cell, engine.classes)])
    for row in rows:
        names = csv_cell(str(row.path)), csv_cell(row.name)
        confidence = row.confidence, row.is_outlier
        writer.writerow([*names, *confidence, row.distance, row.margin, *row.shares])


def _print_json(engine: Engine | System, paths: Sequence[Path], rows: Iterator[Prediction]) -> None:
    separator = "[\n"
    for row in rows:
        found = {
            "image": str(row.path),
            "class": row.name,
            "confidence": row.confidence,
            "outlier": row.is_outlier,
            "distance": row.distance,
            "margin": row.margin,
            "votes": dict(zip(engine.classes, row.shares.tolist(), strict=True)),
        }
        # Within JSON's quotes, what is not safe to show is written as JSON escapes it, too.
        print(f"{separator}{shown(json.dumps(found, ensure_ascii=False))}", end="")
        separator = ",\n"
    print("[]" if separator == "[\n" else "\n]")


_PRINT = {Format.table: _print_table, Format.csv: _print_csv, Format.json: _print_json}


if __name__ == "__main__":
    run_tool("experiments.predict", Options, main)
