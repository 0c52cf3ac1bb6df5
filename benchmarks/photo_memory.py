"""The memory that many photos take: ``python -m benchmarks.photo_memory``.

So many JPEG files are made, no two alike, and ``experiments.inspect`` looks at them with a small
network: each is decoded to find out whether it can be, is decoded again for the network, and is
compared with all others. It is a process of its own, whose largest memory counts.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.machine import command_line, origin
from benchmarks.output import Output
from experiments.console import exit_on_mistake, say
from experiments.tables import table
from slicing.checks import at_least
from slicing.errors import InputError

_CLASSES, _SIDE = 10, 32
# Channels of the network's maps, at its two cuts.
_CHANNELS = 8, 16


@dataclass(frozen=True)
class Memory:
    """What a look at so many files takes.

    Attributes
    ----------
    files : int
    peak_bytes : int
        Of the process, at most.
    map_bytes : int
        Of what the network makes of them.
    seconds : float
        Of all its processors.
    """

    files: int
    peak_bytes: int
    map_bytes: int
    seconds: float


def make_photos(folder: Path, n: int) -> None:
    """Write files of 96 x 72 pixels, a color for each class with spots of all colors."""
    colors = np.random.default_rng(0).integers(0, 256, (_CLASSES, 1, 1, 3))
    for number in range(n):
        label = number % _CLASSES
        spots = np.random.default_rng(number + 1).integers(-120, 120, (6, 8, 3))
        pixels = (colors[label] + spots).clip(0, 255).astype(np.uint8)
        path = folder / f"{label}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).resize((96, 72), Image.Resampling.BICUBIC).save(path)


def save_network(path: Path) -> None:
    """Write a network of two convolutions, which ends in maps."""
    from slicing.backend import load_keras

    keras = load_keras()
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(channels, 3, strides=2, activation="relu") for channels in _CHANNELS
    ]
    keras.Sequential([keras.Input((_SIDE, _SIDE, 3)), *layers]).save(path)


def measure(n: int) -> Memory:
    """Make so many files, and let a process look at them."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        make_photos(place / "photos", n)
        # In a process of its own: what this one holds would be counted with the other's.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            pool.submit(save_network, place / "small.keras").result()
        words = [
            f"data.directory={place / 'photos'}", "baseline=application",
            f"baseline.path={place / 'small.keras'}", "threads=1", f"output={place / 'found'}",
        ]  # fmt: skip
        environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache")}
        with (place / "said").open("w+") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "experiments.inspect", *words],
                env=environment,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                said.seek(0)
                raise InputError(f"A look at {n:,} files has failed: {said.read()[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    seconds = usage.ru_utime + usage.ru_stime
    return Memory(n, unit * usage.ru_maxrss, 4 * n * sum(_CHANNELS), seconds)


def report(found: Sequence[Memory]) -> str:
    """Set the table."""
    header = ["files", "memory at most, MB", "the network's maps, MB", "seconds of a core"]
    body = [
        [
            f"{each.files:,}",
            f"{each.peak_bytes / 1e6:,.0f}",
            f"{each.map_bytes / 1e6:,.1f}",
            f"{each.seconds:,.0f}",
        ]
        for each in found
    ]
    return "\n".join(table(header, body))


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photo_memory", description=__doc__)
    parser.add_argument(
        "--files", type=int, nargs="+", default=[1000, 10_000, 100_000], help="how many, each time"
    )
    parser.add_argument("--json", type=Path, help="write the results there")
    arguments = parser.parse_args()
    for n in arguments.files:
        at_least("--files", n, 10 * _CLASSES)
    output = None if arguments.json is None else Output("--json", arguments.json)
    found = list[Memory]()
    for n in arguments.files:
        say(f"Looking at {n:,} files")
        start = time.perf_counter()
        found.append(measure(n))
        say(f"{time.perf_counter() - start:,.0f} s")
    if output is not None:
        content = origin(command_line("benchmarks.photo_memory"))
        output.write_json({**content, "results": [asdict(each) for each in found]})
    print(report(found))


if __name__ == "__main__":
    with exit_on_mistake():
        main()
