"""Read files that may be damaged, within bounds: ``python -m benchmarks.readers KIND``.

It reads paths from standard input, one a line, and prints an outcome for each: ``read``,
``sentence`` where the reader refuses the file with one, ``memory`` where it asks for more than the
bound, and the name of the exception where it fails in another way.
"""

import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from slicing.baselines import SavedCNN
from slicing.data import idx
from slicing.data.archive import unpack
from slicing.data.image_file import MAX_MEGAPIXELS, read_image
from slicing.data.image_table import read_table
from slicing.engine.engine import Engine
from slicing.errors import InputError

BOUND = 1 << 30
"""Bytes of memory that reading a file may take."""


def _engine(path: Path) -> None:
    engine = Engine.load(path)
    engine.predict(np.zeros((1, *engine.input_shape), np.float32))


def _keras(path: Path) -> None:
    SavedCNN(path=path).shape((28, 28, 1), 10)


def _table(path: Path) -> None:
    for name in IMAGES_OF_TABLE:
        if not (image := path.parent / name).exists():
            Image.new("RGB", (8, 8)).save(image)
    read_table(path, MAX_MEGAPIXELS, within=path.parent)


def _archive(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unpack(path, Path(folder), MAX_GIGABYTES)


IMAGES_OF_TABLE = ("0.png", "1.png", "2.png", "3.png")
"""The files that a table of images may name."""

MAX_GIGABYTES = 0.1
"""What an archive may unpack to."""


READERS: dict[str, Callable[[Path], object]] = {
    "engine": _engine,
    "idx": lambda path: idx.read(path, (28, 28)),
    "image": lambda path: read_image(path, (28, 28), 3),
    "keras": _keras,
    "table": _table,
    "archive": _archive,
}
"""Reads a file of a kind, or raises an InputError."""


def keep_within_bound() -> None:
    """Let this process take no more memory than it has, and the bound."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + BOUND
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> None:
    """Read what is asked for."""
    reader = READERS[sys.argv[1]]
    warm = sys.stdin.readline().rstrip("\n")
    # The first is whole: what is imported and compiled for it does not count.
    reader(Path(warm))
    print("read", flush=True)
    keep_within_bound()
    for line in sys.stdin:
        try:
            reader(Path(line.rstrip("\n")))
            outcome = "read"
        except InputError as error:
            outcome = "sentence" if len(str(error).splitlines()) == 1 else "lines"
        except MemoryError:
            outcome = "memory"
        except Exception as error:
            outcome = type(error).__name__
        print(outcome, flush=True)


if __name__ == "__main__":
    main()
