"""Several engines as one, over several seeds: ``python -m benchmarks.adaptive``.

``--quick`` takes 5000 digits and three seeds, some minutes; without it, it is full MNIST and five.

Each cell makes a system by experiments.adaptive, with members, roles and thresholds of its own, and
keeps what its summary says of each selector. The system is then asked about the test images again,
with noise, blurred and turned, and nothing is learned again: what is certified does not hold there.
Whether somebody who watches which members are asked would notice is measured, too.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, rotate

from benchmarks.machine import command_line, origin
from benchmarks.output import Output
from experiments.adaptive.program import SYSTEM, adaptive
from experiments.adaptive.summary import SUMMARY
from experiments.components import Components
from experiments.console import exit_on_mistake, say
from experiments.monitor import Silent
from experiments.overrides import check
from experiments.programs import ADAPTIVE
from experiments.schema.run import plain
from experiments.tables import table
from slicing.adaptive import System
from slicing.adaptive.drift import Watched
from slicing.checks import at_least, one_of

JOBS: Mapping[str, Sequence[str]] = {
    "mnist5k": ("data=mnist5k", "data.calibration_fraction=0.25", "loss=0.02"),
    "nested": (
        "data=mnist5k",
        "data.calibration_fraction=0.25",
        "loss=0.02",
        "members=nested",
        "filters=[[4],[4,64],[4,64,128]]",
    ),
    "mnist": ("data=mnist", "data.calibration_fraction=0.1667", "loss=0.002"),
    "cifar10": ("data=cifar10", "data.calibration_fraction=0.2", "loss=0.005"),
}
"""What is measured: the options that differ, by name."""

# Of the distortions: standard deviations of noise and of a blur in pixels, degrees of a turn.
_NOISE, _BLUR, _TURN = 0.2, 1.0, 20.0


@dataclass(frozen=True)
class Distorted:
    """What becomes of a system where images are distorted.

    Attributes
    ----------
    name : str
    system, largest : float
        Accuracy of the system, and of its largest member alone.
    escalated : float
        Share of the images about which the largest member was asked.
    noticed : bool
        Whether :class:`~slicing.adaptive.drift.Watched` has noticed, with all images as its window.
    """

    name: str
    system: float
    largest: float
    escalated: float
    noticed: bool


@dataclass(frozen=True)
class Cell:
    """One system.

    Attributes
    ----------
    job : str
    seed : int
    command : str
    summary : mapping of str to object
        See :class:`experiments.adaptive.summary.AdaptiveSummary`.
    distorted : tuple of Distorted
        The first is not.
    """

    job: str
    seed: int
    command: str
    summary: Mapping[str, Any]
    distorted: tuple[Distorted, ...]


def cell(job: str, seed: int, more: Sequence[str] = ()) -> Cell:
    """Make a system, and distort the test images."""
    words = [*JOBS[job], *more, f"seed={seed}"]
    with tempfile.TemporaryDirectory() as folder:
        own = [f"output={folder}/system", f"tracking.uri=sqlite:///{folder}/mlflow.db"]
        [config] = check([*words, *own], program=ADAPTIVE)
        summary = adaptive(config, words, Silent())
        system = System.load(Path(summary.folder) / SYSTEM)
        content = json.loads((Path(summary.folder) / SUMMARY).read_text("utf-8"))
    del content["folder"]
    test = Components(plain(config), {}).dataset().read_test()
    found = tuple(
        _judged(name, system, images, test.labels) for name, images in distorted(test.images)
    )
    return Cell(job, seed, command_line(ADAPTIVE.module, words), content, found)


def distorted(images: NDArray[np.float32]) -> list[tuple[str, NDArray[np.float32]]]:
    """Give images as they are, with noise, blurred and turned, each by its name.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), float32
    """
    noise = np.random.default_rng(0).normal(0.0, _NOISE, images.shape)
    changed = {
        "none": images,
        "noise": images + noise,
        "blur": gaussian_filter(images, (0, _BLUR, _BLUR, 0)),
        "turned": rotate(images, _TURN, (1, 2), reshape=False, order=1),
    }
    return [(name, each.clip(0, 1).astype(np.float32)) for name, each in changed.items()]


def _judged(
    name: str, system: System, images: NDArray[np.float32], labels: NDArray[np.int64]
) -> Distorted:
    found = system.answers(images)
    largest = system.engines[-1].predict_labels(images)
    watched = Watched(system, window=len(images))
    watched.predict_labels(images)
    return Distorted(
        name,
        float((found.shares.argmax(axis=1) == labels).mean()),
        float((largest == labels).mean()),
        float(found.asked[:, -1].mean()),
        watched.has_drifted,
    )


def report(cells: Sequence[Mapping[str, Any]]) -> str:
    """Set a table of the selectors and one of the distortions, means over the seeds.

    Parameters
    ----------
    cells : sequence of mapping
        As the file has them.
    """
    header = [
        "",
        "selector",
        "times faster",
        "% right",
        "loss, at most, %",
        "gap closed, %",
        "AUROC",
    ]
    body, others, wholes = [], [], []
    for job in dict.fromkeys(each["job"] for each in cells):
        own = [each for each in cells if each["job"] == job]
        names = [each["name"] for each in own[0]["summary"]["selectors"]]
        # Where the sums of parts are not what was measured, nothing is said by them.
        wholes_of = [each["summary"]["assembled"] for each in own]
        adds_up = all(abs(each["parts"] / each["milliseconds"] - 1) <= 0.1 for each in wholes_of)
        for number, name in enumerate(names):
            found = [each["summary"]["selectors"][number] for each in own]
            right = [each["test"]["correct"] / each["test"]["total"] for each in found]
            gaps = [each["gap_closed"] for each in found if each["gap_closed"] is not None]
            areas = [each["auroc"] for each in found if each["auroc"] is not None]
            body.append([
                f"{job}, {len(own)} seeds",
                name,
                f"{np.mean([each['times_faster'] for each in found]):.2f}" if adds_up else "-",
                f"{100 * np.mean(right):.2f}",
                f"{100 * np.max([each['bound'] for each in found]):g}",
                f"{100 * np.mean(gaps):.0f}" if gaps else "-",
                f"{np.mean(areas):.3f}" if areas else "-",
            ])  # fmt: skip
        wholes += [_whole(each) for each in own]
        for number, first in enumerate(own[0]["distorted"]):
            found = [each["distorted"][number] for each in own]
            means = [
                100 * np.mean([each[key] for each in found])
                for key in ("system", "largest", "escalated")
            ]
            noticed = sum(each["noticed"] for each in found)
            others.append([
                job, first["name"], *(f"{mean:.2f}" for mean in means), f"{noticed} of {len(own)}",
            ])  # fmt: skip
    whole = [
        "", "seed", "ms", "the largest member", "times faster (95 % interval)", "% right",
        "% right, largest member", "members, ms",
    ]  # fmt: skip
    distortions = [
        "", "images", "% right", "% right, largest member", "% to the largest", "noticed",
    ]  # fmt: skip
    tables = [(header, body), (whole, wholes), (distortions, others)]
    return "\n\n".join("\n".join(table(*each)) for each in tables)


def _whole(cell: Mapping[str, Any]) -> list[str]:
    """Give the row of one system, measured as a whole."""
    summary = cell["summary"]
    took, members = summary["assembled"], summary["members"]
    [own] = [each for each in summary["selectors"] if each["name"] == summary["chosen"]]
    right = [each["test"]["correct"] / each["test"]["total"] for each in (own, members[-1])]
    low, high = took["faster"]
    return [
        cell["job"],
        str(cell["seed"]),
        f"{took['milliseconds']:.3f}",
        f"{took['largest']:.3f}",
        f"{took['largest'] / took['milliseconds']:.2f} ({low:.2f}-{high:.2f})",
        *(f"{100 * each:.2f}" for each in right),
        ", ".join(f"{each['milliseconds']:.3f}" for each in members),
    ]


def main() -> None:
    """Make the systems, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adaptive", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5000 digits, three seeds")
    parser.add_argument("--jobs", help=f"of {', '.join(JOBS)}, with commas; mnist by default")
    parser.add_argument("--seeds", type=int, help="how many; 5 by default")
    parser.add_argument("--json", type=Path, help="write the results there")
    arguments = parser.parse_args()
    n_seeds = arguments.seeds if arguments.seeds is not None else 3 if arguments.quick else 5
    at_least("--seeds", n_seeds, 1)
    jobs = (arguments.jobs or ("mnist5k,nested" if arguments.quick else "mnist")).split(",")
    for job in jobs:
        one_of("--jobs", job, [*JOBS])
    output = None if arguments.json is None else Output("--json", arguments.json)
    cells = []
    for job in jobs:
        for seed in range(n_seeds):
            say(f"{job}, seed {seed}")
            cells.append(cell(job, seed))
            if output is not None:
                # After each, so that an end before the last loses none.
                output.write_json({**origin(command_line("benchmarks.adaptive")), "cells": cells})
    plain_cells = json.loads(json.dumps(cells, default=lambda each: each.__dict__))
    print(report(plain_cells))


if __name__ == "__main__":
    with exit_on_mistake():
        main()
