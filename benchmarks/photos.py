"""How well sliced networks classify photos: ``python -m benchmarks.photos``.

Each cell is a run of ``experiments.run`` by the command that its results name, with the saved
engine's answers to the test images. Flowers are split at random, by several seeds, so that 20, 40
or 60 of 80 images a class are for training; the rest is the test. Copies are on one side of each
split. CIFAR-10 has test images of its own. Cells that the file of results has are not run again.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from benchmarks.machine import command_line, origin
from benchmarks.output import Output
from experiments.console import exit_on_mistake, say
from experiments.summary import SUMMARY, saved_of
from experiments.tables import table
from slicing.errors import InputError


@dataclass(frozen=True)
class Job:
    """Some cells of the table: runs that differ in the seed of the split.

    Attributes
    ----------
    data, name : str
        The dataset, and what the command line calls them.
    text, training : str
        What the table calls them, and how many images train.
    options : tuple of str
        Of ``experiments.run``.
    seeds : int
        Splits, by ``data.seed`` from 0 on; one where there is a split.
    goal : float or None
        Percent of the test images that were hoped for.
    """

    data: str
    name: str
    text: str
    training: str
    options: tuple[str, ...]
    seeds: int = 1
    goal: float | None = None


# Images of a class in flowers17; how many of them train, and what was hoped for then.
_FLOWERS, _GOALS = 80, {20: 95.0, 40: 97.0, 60: 98.0}
_SEEDS = 5
# All training images teach, and none the confidence.
_FOLDER = ("data=folder", "data.calibration_fraction=0")
# The best for training images that were left out.
_BOTH = ("data.fit=crop", "baseline.mirrored=true")
_KERNELS = (
    "slicing.cut=block16", "slicing.pool=3", "baseline.kernels=16", "optimizer=sep_cmaes",
)  # fmt: skip
_LITE2 = ("baseline=efficientnet_lite2", "baseline.image_size=[192,192]", "baseline.mirrored=true")
_LAST_12 = f"slicing.cut=[{','.join(f'block{n}' for n in range(11, 22))},top]"


def _flowers(name: str, text: str, *options: str) -> Iterator[Job]:
    for n, goal in _GOALS.items():
        given = (*_FOLDER, *options, f"data.test_fraction={1 - n / _FLOWERS:g}")
        yield Job("flowers17", name, text, f"{n} a class", given, _SEEDS, goal)


def _cifar(name: str, text: str, training: str, goal: float | None, *options: str) -> Job:
    return Job("cifar10", name, text, training, ("data=cifar10", *options), goal=goal)


JOBS = (
    *_flowers("lite0", "Lite0", "baseline=efficientnet_lite0"),
    *_flowers("lite0-both", "Lite0, crop, mirrored", "baseline=efficientnet_lite0", *_BOTH),
    *_flowers("lite2-both", "Lite2, crop, mirrored", "baseline=efficientnet_lite2", *_BOTH),
    Job(
        "flowers17", "evolved", "Lite0, 16 kernels on its last block", "20 a class",
        (*_FOLDER, "baseline=efficientnet_lite0", "data.test_fraction=0.75", *_KERNELS),
        _SEEDS,
    ),
    _cifar(
        "few", "Lite2 at 192 x 192, mirrored", "1,000 a class", 84.0,
        "data.sample=stratified", "data.train_size=10000", *_LITE2, "slicing.k=25",
    ),
    _cifar(
        "all", "Lite2 at 192 x 192, mirrored, 12 cuts", "5,000 a class", 87.0,
        *_LITE2, _LAST_12, "slicing.k=25",
    ),
    _cifar(
        "finetuned", "Lite0 at 128 x 128, its last 8 blocks trained, mirrored", "5,000 a class",
        92.0, "baseline=finetuned", "baseline.image_size=[128,128]", "baseline.layers=8",
        "baseline.epochs=2", "baseline.versions=2", "baseline.batch_size=64",
        "baseline.learning_rate=5e-4", "baseline.shift=0.1", "baseline.crop=0", "baseline.color=0",
        "baseline.choice_fraction=0.05", "baseline.mirrored=true", "slicing.k=25",
    ),
    _cifar(
        "small", "a CNN of three convolutions, trained here", "5,000 a class", None,
        "baseline.filters=[32,64,64]", "baseline.pooling=[true,true,true]",
        "baseline.batch_norm=true", "baseline.dropout=0.5", "baseline.epochs=8",
        "slicing=prototypes", "slicing.per_class=1", "slicing.shift=0", "slicing.storage=int8",
        "strategy.max_seconds=60",
    ),
)  # fmt: skip
"""All of them."""


@dataclass(frozen=True)
class Cell:
    """A run: its command, without the folder of the data, and what came out.

    Attributes
    ----------
    data, name, training, seed
        See :class:`Job`.
    command : str
    total : int
        Test images.
    correct : mapping of str to int
        How many of them each network classified right that can, by their names in the
        :class:`~experiments.summary.Summary` of the run.
    network : str
        What the table of the run calls the saved engine.
    engine_bytes : int
    evolution : mapping of str to number, or None
        What evolution changed, see :class:`experiments.statistics.Comparison`; None without.
    seconds : float or None
        From the command to its end, with empty caches; None: they were not empty.
    pass_seconds : float or None
        Those in which images were read and went through the frozen network.
    """

    data: str
    name: str
    training: str
    seed: int
    command: str
    total: int
    correct: Mapping[str, int]
    network: str
    engine_bytes: int
    evolution: Mapping[str, float] | None
    seconds: float | None
    pass_seconds: float | None

    @property
    def has_head(self) -> bool:
        """Whether the network classifies without being sliced, too."""
        return "baseline" in self.correct

    def percent(self, network: str) -> float:
        """Give the share of the test images that one of :attr:`correct` classified right."""
        return 100 * self.correct[network] / self.total


class Run(NamedTuple):
    """A run that has ended.

    Attributes
    ----------
    command : str
        Without the folders of the data and of what it wrote.
    folder : Path
        What it wrote.
    lines : list of (float, str)
        What it said, and after how many seconds.
    seconds : float
        From the command to its end.
    """

    command: str
    folder: Path
    lines: list[tuple[float, str]]
    seconds: float


@contextmanager
def running(job: Job, seed: int, directory: Path, cold: bool = False) -> Iterator[Run]:
    """Run a cell; its folder is deleted at the end of the ``with`` block."""
    options = [*job.options, f"data.seed={seed}", "tracking.model=false"]
    command = shlex.join(["python", "-m", "experiments.run", *options])
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        environment = dict(os.environ)
        if cold:
            environment["XDG_CACHE_HOME"] = str(place / "cache")
        options += [
            f"data.directory={directory.resolve()}",
            f"hydra.run.dir={place / 'run'}",
            f"tracking.uri=sqlite:///{place / 'mlflow.db'}",
        ]
        lines, start = list[tuple[float, str]](), time.perf_counter()
        with subprocess.Popen(
            [sys.executable, "-m", "experiments.run", *options],
            env=environment,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stderr is not None
            lines += ((time.perf_counter() - start, line) for line in process.stderr)
        if process.returncode:
            said = "".join(line for _, line in lines[-20:]).strip()
            raise InputError(f"{command} has failed: {said}")
        yield Run(command, place / "run", lines, time.perf_counter() - start)


def measure(job: Job, seed: int, directory: Path, cold: bool) -> Cell:
    """Run a cell, and read what came out."""
    with running(job, seed, directory, cold) as run:
        summary: dict[str, Any] = json.loads((run.folder / SUMMARY).read_text())
    networks = summary["networks"]
    saved = networks[saved_of(networks)]
    tests = {name: each["test_all"] or each["test"] for name, each in networks.items()}
    (total,) = {each["total"] for each in tests.values() if each}
    return Cell(
        data=job.data,
        name=job.name,
        training=job.training,
        seed=seed,
        command=run.command,
        total=total,
        correct={name: each["correct"] for name, each in tests.items() if each},
        network=saved["name"],
        engine_bytes=saved["total_bytes"],
        evolution=summary["comparisons"].get("evolution"),
        seconds=run.seconds if cold else None,
        pass_seconds=seconds_of("features", run.lines) if cold else None,
    )


def seconds_of(task: str, lines: Sequence[tuple[float, str]]) -> float:
    """Add up how long a task of a run took.

    Parameters
    ----------
    task : str
    lines : sequence of (float, str)
        What the run has said, and when, in seconds.
    """
    return sum(
        then - now for (now, line), (then, _) in pairwise(lines) if line.startswith(f"{task} ")
    )


def report(cells: Sequence[Cell], data: str) -> str:
    """Write the table of a dataset: means and standard deviations over the splits."""
    header = [
        "what is sliced", "training images", "goal, %", "its engine, %", "not evolved, %",
        "not sliced, %", "engine bytes", "minutes", "the pass, %",
    ]  # fmt: skip
    body = []
    for job in JOBS:
        own = [each for each in cells if _key(each) == (data, job.name, job.training)]
        if not own:
            continue
        # Of the same split, only the seconds differ.
        by_seed = {each.seed: each for each in own}.values()
        times = [(each.seconds, each.pass_seconds) for each in own]
        cold = [(all_of, some) for all_of, some in times if all_of is not None and some is not None]
        body.append(
            [
                job.text,
                job.training,
                "-" if job.goal is None else f"{job.goal:g}",
                _spread([each.percent(saved_of(each.correct)) for each in by_seed]),
                _spread([each.percent("sliced") for each in by_seed if each.evolution]),
                _spread([each.percent("baseline") for each in by_seed if each.has_head]),
                f"{round(mean(each.engine_bytes for each in by_seed)):,}",
                _mean([seconds / 60 for seconds, _ in cold], ".1f"),
                _mean([100 * passed / seconds for seconds, passed in cold], ".0f"),
            ]
        )
    # A column in which nothing stands says nothing.
    kept = [n for n in range(len(header)) if n < 2 or any(row[n] != "-" for row in body)]
    return "\n".join(table([header[n] for n in kept], [[row[n] for n in kept] for row in body]))


def _key(cell: Cell) -> tuple[str, str, str]:
    return cell.data, cell.name, cell.training


def _spread(percents: Sequence[float]) -> str:
    """Write the mean and, of several, the standard deviation."""
    spread = f" ± {stdev(percents):.2f}" if len(percents) > 1 else ""
    return _mean(percents, ".2f") + spread


def _mean(numbers: Sequence[float], form: str) -> str:
    return format(mean(numbers), form) if numbers else "-"


def main() -> None:
    """Run the cells that are missing, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photos", description=__doc__)
    parser.add_argument("--data", choices=["flowers17", "cifar10"], default="flowers17")
    parser.add_argument("--directory", type=Path, help="the folder of its photos", required=True)
    names = [*dict.fromkeys(job.name for job in JOBS)]
    parser.add_argument("--networks", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", type=int, default=_SEEDS, help="splits of the flowers")
    parser.add_argument("--cold", action="store_true", help="with empty caches, for the seconds")
    parser.add_argument("--json", type=Path, help="the file of results, which is added to")
    arguments = parser.parse_args()
    output = None if arguments.json is None else Output("--json", arguments.json)
    cells = list[Cell]()
    if output is not None and output.path.exists():
        cells = [Cell(**each) for each in json.loads(output.path.read_text())["cells"]]
    known = {(*_key(each), each.seed, each.seconds is not None) for each in cells}
    for job in JOBS:
        if job.data != arguments.data or job.name not in arguments.networks:
            continue
        for seed in range(min(job.seeds, arguments.seeds)):
            if (job.data, job.name, job.training, seed, arguments.cold) in known:
                continue
            say(f"{job.data}, {job.text}, {job.training}, seed {seed}")
            cells.append(measure(job, seed, arguments.directory, arguments.cold))
            if output is not None:
                content = origin(command_line("benchmarks.photos"))
                output.write_json({**content, "cells": [asdict(each) for each in cells]})
    print(report(cells, arguments.data))


if __name__ == "__main__":
    with exit_on_mistake():
        main()
