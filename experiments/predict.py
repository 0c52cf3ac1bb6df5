"""Classify images with an engine: ``python -m experiments.predict --help``."""

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from omegaconf import MISSING

from experiments.console import say
from experiments.summary import table
from experiments.tools import run_tool
from slicing.data.image_folder import MODES, read_image
from slicing.engine.engine import Engine
from slicing.errors import InputError

_SUFFIXES = {".png", ".jpg", ".jpeg"}
# Images that are in memory at a time.
_BATCH = 1000


class Format(Enum):
    """How predictions are printed."""

    table = "table"
    csv = "csv"
    json = "json"


@dataclass
class Options:
    """Classify images with an engine, the file engine.safetensors of a run."""

    engine: str = MISSING
    """The engine's file."""
    images: Any = MISSING
    """A folder, which is searched with all its folders, a PNG or JPEG file, or [several,files]."""
    format: Format = Format.table
    """What is printed: table, csv or json."""
    invert: bool = False
    """Whether to swap dark and bright: MNIST's digits are bright on a dark ground."""


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
        None where the engine gives none.
    """

    path: Path
    name: str
    shares: NDArray[np.float64]
    distance: float
    margin: float
    confidence: float | None


def predict(engine: Engine, paths: Sequence[Path], invert: bool = False) -> Iterator[Prediction]:
    """Classify image files, resized to what the engine takes.

    Raises
    ------
    InputError
        For a file that is no image.
    """
    height, width, channels = engine.stack.input_shape
    if channels not in MODES:
        raise InputError(f"The engine takes images of {channels} channels, and files have 1 or 3.")
    for start in range(0, len(paths), _BATCH):
        chunk = paths[start : start + _BATCH]
        pixels = np.stack([read_image(path, (height, width), channels) for path in chunk])
        if invert:
            pixels = 255 - pixels
        found = engine.evidence(pixels)
        yield from map(
            Prediction,
            chunk,
            (engine.classes[label] for label in found.labels),
            found.shares,
            found.distances.tolist(),
            found.margins.tolist(),
            repeat(None) if found.confidences is None else found.confidences.tolist(),
        )


def find_images(images: Any) -> list[Path]:
    """List the files that ``images=`` names, those of a folder in the order of their names.

    Raises
    ------
    InputError
        Where there are none.
    """
    found: list[Path] = []
    for name in images if isinstance(images, list) else [images]:
        path = Path(str(name)).expanduser()
        if path.is_dir():
            inside = [each for each in sorted(path.rglob("*")) if _is_image(each)]
            if not inside:
                raise InputError(f"{path} holds no PNG or JPEG files: name another folder.")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise InputError(
                f"There is no file or folder {path} (several are given as images=[a.png,b.png])."
            )
    if not found:
        raise InputError("images names no file: give a folder or files.")
    return found


def _is_image(path: Path) -> bool:
    """Whether a file in a folder is meant: macOS hides others of the same suffix beside them."""
    return path.suffix.lower() in _SUFFIXES and path.is_file() and not path.name.startswith(".")


def main(options: Options) -> None:
    """Print the class of every image."""
    engine = Engine.load(Path(options.engine).expanduser())
    # Names of files need not be UTF-8.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    rows = predict(engine, find_images(options.images), options.invert)
    if options.format == Format.table:
        body = [
            [
                str(row.path),
                row.name,
                "-" if row.confidence is None else f"{row.confidence:.2f}",
                f"{row.shares.max():.2f}",
                f"{row.distance:.3g}",
                f"{row.margin:.2f}",
            ]
            for row in rows
        ]
        header = ["image", "class", "confidence", "share of the votes", "distance", "margin"]
        print("\n".join(table(header, body)))
        if engine.confidence is None:
            say(
                "This engine gives no confidence: add data.calibration_fraction=0.1 to the run "
                "that makes it."
            )
    elif options.format == Format.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        evidence = ["confidence", "distance", "margin"]
        writer.writerow(["image", "class", *evidence, *engine.classes])
        writer.writerows(
            [row.path, row.name, row.confidence, row.distance, row.margin, *row.shares]
            for row in rows
        )
    else:
        found = [
            {
                "image": str(row.path),
                "class": row.name,
                "confidence": row.confidence,
                "distance": row.distance,
                "margin": row.margin,
                "votes": dict(zip(engine.classes, row.shares.tolist(), strict=True)),
            }
            for row in rows
        ]
        print(json.dumps(found, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    run_tool("experiments.predict", Options, main)
