"""A study beside other systems, at equal time: ``python -m benchmarks.study``.

All have the same training images, the same seconds from their start to their saved model, and all
cores, one after the other. Each runs in a process of its own, with empty caches. The test images
are classified at the end, by the one model that a system hands over. Peers get arrays, and do not
get the test labels; photos are made 64 x 64 pixels for them. Cells that the file of results has are
not repeated.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import command_line, origin
from benchmarks.output import Output
from benchmarks.study_report import Cell, report
from benchmarks.study_systems import (
    ANSWERS,
    AUTOKERAS,
    LABELS,
    PACKAGES,
    RESULT,
    SYSTEMS,
    TEST,
    TRAIN,
)
from experiments.components import Components
from experiments.console import exit_on_mistake, say
from experiments.environment import versions
from experiments.overrides import check
from experiments.programs import STUDY
from experiments.schema.run import plain
from experiments.statistics import Accuracy
from experiments.study.summary import SUMMARY
from slicing.data.dataset import Dataset, Images, Part
from slicing.data.preparation import Preparation
from slicing.errors import InputError, installing

OURS = "ours"
DATA = {
    "mnist5k": ("data=mnist5k",),
    "mnist": ("data=mnist",),
    "cifar10-5k": ("data=cifar10", "data.train_size=5000", "data.sample=stratified"),
    "cifar10": ("data=cifar10",),
    "flowers17": ("data=folder", "data.test_fraction=0.5"),
}
"""The options of a study, by the names of the command line."""

_SEEDED = "flowers17"
# Photos for those that take arrays; and how many times its budget a system may take.
_SIDE, _PATIENCE = 64, 5
_TRAIN_ORDER = 1


@dataclass(frozen=True)
class Job:
    """What is measured.

    Attributes
    ----------
    data : str
        One of :data:`DATA`.
    minutes : float
    system : str
    seed : int
        Of the system, and of the split of photos that have none.
    directory : Path or None
        Where the photos are.
    """

    data: str
    minutes: float
    system: str
    seed: int
    directory: Path | None = None

    @property
    def words(self) -> list[str]:
        """What a study is told of the images, but for their folder."""
        return [*DATA[self.data], *([f"data.seed={self.seed}"] if self.data == _SEEDED else [])]

    @property
    def of_place(self) -> list[str]:
        """What it is told of their folder."""
        return [] if self.directory is None else [f"data.directory={self.directory.resolve()}"]

    def dataset(self) -> Dataset[Any]:
        """Find the images."""
        [config] = check([*self.words, *self.of_place], program=STUDY)
        options = plain(config)
        data = {**options["data"], "calibration_fraction": 0.0}
        return Components({**options, "data": data}, {}).dataset()


def measure(job: Job) -> Cell:
    """Let a system search in a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
        environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
        run = _ours if job.system == OURS else _peer
        return run(job, folder, environment, os.getloadavg()[0])


def _ours(job: Job, folder: Path, environment: dict[str, str], load: float) -> Cell:
    words = [*job.words, f"seed={job.seed}", f"budget.minutes={job.minutes:g}"]
    private = [f"output={folder / 'study'}", f"tracking.uri=sqlite:///{folder / 'mlflow.db'}"]
    program = [sys.executable, "-m", "experiments.study"]
    begun = time.time()
    why = _run([*program, *words, *job.of_place, *private], job, environment)
    seconds = time.time() - begun
    command = shlex.join(["python", "-m", "experiments.study", *words])
    if why:
        return Cell(job.data, job.minutes, job.system, job.seed, seconds, load, command, why)
    summary = json.loads((folder / "study" / SUMMARY).read_text())
    (winner,) = (each for each in summary["trials"] if each["number"] == summary["winner"])
    return Cell(
        job.data, job.minutes, job.system, job.seed, seconds, load, command,
        test=Accuracy(**(summary["refit"] or summary["as_tried"])),
        found=winner["ended"] - begun,
        bytes=summary["engine_bytes"],
        overhead=summary["overhead"],
        winner=winner["family"],
        versions=summary["versions"],
    )  # fmt: skip


def _peer(job: Job, folder: Path, environment: dict[str, str], load: float) -> Cell:
    dataset = job.dataset()
    test = dataset.read_test()
    # Some systems judge by the last images.
    order = np.random.default_rng([job.seed, _TRAIN_ORDER]).permutation(len(dataset.train))
    np.save(folder / TRAIN, pixels(dataset.train)[order])
    np.save(folder / LABELS, dataset.train.labels[order])
    np.save(folder / TEST, pixels(test))
    program = [sys.executable, "-m", "benchmarks.study_systems"]
    begun = time.time()
    words = [job.system, str(folder), str(begun + 60 * job.minutes), str(job.seed)]
    why = _run([*program, *words], job, environment)
    seconds, command = time.time() - begun, ""
    if why:
        return Cell(job.data, job.minutes, job.system, job.seed, seconds, load, command, why)
    result = json.loads((folder / RESULT).read_text())
    return Cell(
        job.data, job.minutes, job.system, job.seed, result["ended"] - begun, load, command,
        test=Accuracy.of(np.load(folder / ANSWERS), test.labels),
        found=result["found"] - begun,
        bytes=result["bytes"],
        versions=versions(PACKAGES[job.system]),
    )  # fmt: skip


def pixels(part: Part) -> Any:
    """Give images of shape (n, height, width, channels), uint8."""
    if isinstance(part, Images):
        return np.rint(255 * part.images).astype(np.uint8)
    return part.prepared(Preparation.of((_SIDE, _SIDE), 3))


def _run(command: list[str], job: Job, environment: dict[str, str]) -> str:
    """Run a process; say why it gave nothing, or nothing."""
    limit = 60 * job.minutes * _PATIENCE
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            _, said = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"had no model after {limit:.0f} s and was ended"
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    last = [line.strip() for line in said.splitlines() if line.strip()]
    return f"failed: {last[-1] if last else process.returncode}" if process.returncode else ""


def _is_installed(system: str) -> bool:
    package = PACKAGES[system][0]
    return package in versions((package,))


def main(words: Sequence[str] | None = None) -> None:
    """Measure what is missing, and print the tables."""
    systems = [OURS, *SYSTEMS]
    parser = argparse.ArgumentParser(
        "python -m benchmarks.study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", nargs="+", choices=[*DATA], default=["mnist5k"])
    add("--directory", type=Path, help="the folder of flowers17")
    add("--minutes", nargs="+", type=float, default=[2.0], metavar="M")
    add("--seeds", type=int, default=3, help="default: %(default)s")
    add("--systems", nargs="+", choices=systems, default=systems)
    add("--json", type=Path, help="the file of results, which is added to")
    options = parser.parse_args(words)
    with exit_on_mistake():
        _measure_all(options, command_line("benchmarks.study", words))


def _measure_all(options: argparse.Namespace, command: str) -> None:
    if options.seeds < 1 or min(options.minutes) <= 0:
        raise InputError("--seeds is 1 or more, and --minutes are above 0.")
    if _SEEDED in options.data and options.directory is None:
        raise InputError(f"--data {_SEEDED} needs --directory, the folder of its photos.")
    output = None if options.json is None else Output("--json", options.json)
    cells = list[Cell]()
    if output is not None and output.path.exists():
        cells = [Cell.read(each) for each in json.loads(output.path.read_text())["cells"]]
    missing = [each for each in options.systems if each != OURS and not _is_installed(each)]
    for name in missing:
        how = AUTOKERAS if name == "autokeras" else installing("study-peers")
        say(f"{name} is left out, it is not installed: {how}.")
    known = {(each.data, each.minutes, each.system, each.seed) for each in cells}
    # Seed by seed: what an interruption leaves compares.
    for data in options.data:
        directory = options.directory if data == _SEEDED else None
        for minutes in options.minutes:
            for seed in range(options.seeds):
                for system in options.systems:
                    if system in missing or (data, minutes, system, seed) in known:
                        continue
                    say(f"{data}, {minutes:g} minutes, seed {seed}: {system}")
                    cells.append(measure(Job(data, minutes, system, seed, directory)))
                    say(f"  {cells[-1].told}")
                    if output is not None:
                        content = [asdict(each) for each in cells]
                        output.write_json({**origin(command), "cells": content})
    for data in dict.fromkeys(each.data for each in cells):
        print(f"**{data}**\n\n{report(cells, data)}\n")


if __name__ == "__main__":
    main()
