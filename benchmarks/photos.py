"""How well sliced networks classify photos, with nothing trained: ``python -m benchmarks.photos``.

Each cell is a run of ``experiments.run`` by the command that its results name. Flowers are split at
random, by several seeds, so that 20, 40 or 60 of 80 images a class are for training; the rest is
the test. Copies are on one side of each split. Cells that the file of results has are not run
again.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.machine import command_line, origin
from benchmarks.output import Output
from experiments.console import exit_on_mistake, say
from experiments.tables import table
from slicing.errors import InputError

NETWORKS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")

# Images of a class in flowers17, and how many of them train.
_FLOWERS, _TRAINING = 80, (20, 40, 60)
_CIFAR_TEST = 10_000


@dataclass(frozen=True)
class Job:
    """A cell of the table: several runs.

    Attributes
    ----------
    data, row, column : str
        Where it stands.
    options : tuple of str
        Of ``experiments.run``.
    seeds : int
        Splits, by ``data.seed`` from 0 on; one where there is a split.
    """

    data: str
    row: str
    column: str
    options: tuple[str, ...]
    seeds: int


@dataclass(frozen=True)
class Cell:
    """A run: its command, without the folder of the data, and what came out.

    Attributes
    ----------
    data, row, column, seed
        Where it stands.
    command : str
    correct, total : int
        Test images.
    network : str
        What the table of the run calls the network.
    engine_bytes : int
    seconds : float
        From the command to its end; with the maps of the network, or without those that the cache
        had.
    cold : bool
        Whether the caches were empty.
    """

    data: str
    row: str
    column: str
    seed: int
    command: str
    correct: int
    total: int
    network: str
    engine_bytes: int
    seconds: float
    cold: bool


def jobs(data: str, networks: Sequence[str], seeds: int) -> Iterator[Job]:
    """List the cells of one of the datasets, ``flowers17`` or ``cifar10``."""
    for network in networks:
        own = (f"baseline={network}", "data.calibration_fraction=0")
        if data == "flowers17":
            for n in _TRAINING:
                fraction = f"data.test_fraction={1 - n / _FLOWERS:g}"
                yield Job(data, network, f"{n} a class", ("data=folder", *own, fraction), seeds)
        else:
            small = "baseline.image_size=[192,192]"
            few = ("data.sample=stratified", "data.train_size=10000")
            yield Job(data, network, "1,000 a class", ("data=cifar10", *own, small, *few), 1)
            yield Job(data, network, "all", ("data=cifar10", *own, small), 1)


def measure(job: Job, seed: int, folder: Path, cold: bool) -> Cell:
    """Run a cell."""
    options = [*job.options, f"data.seed={seed}", "tracking.model=false"]
    command = ["python", "-m", "experiments.run", *options]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        environment = dict(os.environ)
        if cold:
            environment["XDG_CACHE_HOME"] = str(place / "cache")
        places = [
            f"data.directory={folder.resolve()}", f"hydra.run.dir={place / 'run'}",
            f"tracking.uri=sqlite:///{place / 'mlflow.db'}",
        ]  # fmt: skip
        start = time.perf_counter()
        finished = subprocess.run(
            [sys.executable, *command[1:], *places], env=environment, capture_output=True, text=True
        )
        seconds = time.perf_counter() - start
        if finished.returncode:
            raise InputError(f"{shlex.join(command)} has failed: {finished.stderr.strip()}")
        summary: dict[str, Any] = json.loads((place / "run" / "summary.json").read_text())
    networks = summary["networks"]
    found = networks.get("evolved") or networks["sliced"]
    accuracy = found["test_all"] or found["test"]
    return Cell(
        job.data, job.row, job.column, seed, shlex.join(command), accuracy["correct"],
        accuracy["total"], found["name"], found["total_bytes"], seconds, cold,
    )  # fmt: skip


def report(cells: Sequence[Cell]) -> str:
    """Write the table: mean and standard deviation over the splits."""
    places = dict.fromkeys((each.data, each.row, each.column) for each in cells)
    body = []
    for data, row, column in places:
        own = [each for each in cells if (each.data, each.row, each.column) == (data, row, column)]
        shares = [100 * each.correct / each.total for each in own]
        spread = f" ± {stdev(shares):.2f}" if len(own) > 1 else ""
        body.append(
            [
                data,
                row,
                column,
                f"{mean(shares):.2f}{spread}",
                str(len(own)),
                f"{own[0].engine_bytes:,}",
            ]
        )
    header = ["data", "network", "training images", "%", "splits", "engine bytes"]
    return "\n".join(table(header, body))


def main() -> None:
    """Run the cells that are missing, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photos", description=__doc__)
    parser.add_argument("--data", choices=["flowers17", "cifar10"], default="flowers17")
    parser.add_argument("--directory", type=Path, help="the folder of its photos", required=True)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--seeds", type=int, default=5, help="splits of the flowers")
    parser.add_argument("--cold", action="store_true", help="with empty caches, for the seconds")
    parser.add_argument("--json", type=Path, help="the file of results, which is added to")
    arguments = parser.parse_args()
    output = None if arguments.json is None else Output("--json", arguments.json)
    cells = list[Cell]()
    if output is not None and output.path.exists():
        cells = [Cell(**each) for each in json.loads(output.path.read_text())["cells"]]
    known = {(each.data, each.row, each.column, each.seed, each.cold) for each in cells}
    for job in jobs(arguments.data, arguments.networks, arguments.seeds):
        for seed in range(job.seeds):
            if (job.data, job.row, job.column, seed, arguments.cold) in known:
                continue
            say(f"{job.data}, {job.row}, {job.column}, seed {seed}")
            cells.append(measure(job, seed, arguments.directory, arguments.cold))
            if output is not None:
                output.write_json(
                    {
                        **origin(command_line("benchmarks.photos")),
                        "cells": [asdict(each) for each in cells],
                    }
                )
    print(report(cells))


if __name__ == "__main__":
    with exit_on_mistake():
        main()
