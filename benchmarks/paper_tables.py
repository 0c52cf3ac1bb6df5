"""The tables of the paper, its figures beside ours.

``python -m benchmarks.paper_tables --budget full --json FILE --csv FILE --figure FILE``

Every cell of the tables, row, column and seed, comes of one experiment, whose command stands beside
it, and which may give several cells. It has a folder of its own (``--folder``) and is a run of the
MLflow experiment ``paper-tables``. What the file of ``--cells`` holds is not computed again, an
experiment that was interrupted is gone on with, and the tables are written anew after each. One
process a column, with the same file of cells, makes use of more cores.

Protocols
    ``leave_one_out``: the training images choose the kernels, and the test images are classified
    once, at the end. ``test``: they choose the kernels, as in the paper most likely. It LEAKS.
Rows
    ``sliced``: the defaults of this project, linear discriminants between kernels and k-NN, which
    evolution learns anew for every candidate. ``all features``: the k-NN on what the kernels give,
    as in the paper.
Test images
    The first 1000, as in the slides, and all 10,000.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from benchmarks.machine import describe
from benchmarks.output import Output
from benchmarks.paper_report import PROGRAM, Cell, csv_text, entries, figure, packed, text
from experiments.config import plain
from experiments.console import say
from experiments.overrides import CONF, VERSION_BASE, check, quoted
from experiments.parents import Parent
from experiments.pipeline import run
from experiments.tracking import environment
from slicing.errors import InputError

T = TypeVar("T")

_MISTAKE, _INTERRUPTED = 2, 130

# Of the options of an experiment.
_CHANGES_NOTHING = ("executor", "tracking", "name", "resume")


@dataclass(frozen=True)
class Row:
    """A network of the tables.

    Attributes
    ----------
    name : str
    part : str
        Which network of the experiment's summary it is: baseline or evolved.
    overrides : tuple of str
        What asks for it.
    protocol : str
    """

    name: str
    part: str
    overrides: tuple[str, ...]
    protocol: str = "leave_one_out"


_AS_IT_IS = "strategy.passes=0"
_ALL_FEATURES = ("slicing.projection=none", "fitness=neighbours")
_LEAKS = ("slicing.projection=none", "fitness=accuracy", "fitness.protocol=test")
_EXPERIMENT = "paper-tables"
_TRACKING = (f"tracking.experiment={_EXPERIMENT}", "tracking.model=false")
_OPTIMIZERS = (("random", "random search"), ("pso", "PSO"), ("cmaes", "CMA-ES"))


def _rows() -> Iterator[Row]:
    for size, network in (
        ("1.2 M", "baseline=mnist_cnn"),
        ("225 k", "baseline.units=128"),
        ("122 k", "baseline.units=64"),
        ("70 k", "baseline.units=32"),
        ("44.6 k", "baseline.units=16"),
        ("31.7 k", "baseline.units=8"),
    ):
        yield Row(f"CNN, {size}", "baseline", (network, _AS_IT_IS, *_ALL_FEATURES))
    kinds: dict[str, tuple[str, ...]] = {"sliced": (), "all features": _ALL_FEATURES}
    for kind, overrides in kinds.items():
        for what, baseline in (
            ("untrained kernels", ("baseline=random",)),
            ("not evolved", ()),
            ("by gradient", ("baseline=gradient",)),
        ):
            yield Row(f"{kind}, {what}", "evolved", (*baseline, _AS_IT_IS, *overrides))
        for optimizer, what in _OPTIMIZERS:
            yield Row(f"{kind}, {what}", "evolved", (f"optimizer={optimizer}", *overrides))
    yield Row("sliced, no backprop, CMA-ES", "evolved", ("baseline=random", "optimizer=cmaes"))
    for optimizer, what in _OPTIMIZERS:
        yield Row(f"all features, {what}", "evolved", (f"optimizer={optimizer}", *_LEAKS), "test")


ROWS = tuple(_rows())

_PLAIN = "sliced, CMA-ES"
LEVERS = tuple(row for row in ROWS if row.name == _PLAIN) + tuple(
    Row(
        f"{_PLAIN}: {what}",
        "evolved",
        overrides,
        "validation" if "fitness.protocol=validation" in overrides else "leave_one_out",
    )
    for what, overrides in (
        ("k-NN's smooth vote as fitness", ("fitness=neighbours",)),
        ("k-NN's accuracy as fitness", ("fitness=accuracy",)),
        ("images that are not shifted", ("fitness.shift=0",)),
        ("images shifted by two pixels", ("fitness.shift=2",)),
        ("discriminants without shifted copies", ("slicing.shift=0",)),
        ("discriminants with copies two pixels away", ("slicing.shift=2",)),
        ("held-out images as queries", ("fitness.protocol=validation",)),
        ("cosine", ("slicing.metric=cosine",)),
        ("k = 1", ("slicing.k=1",)),
        ("a third of the step", ("strategy.step=0.33",)),
        ("two passes", ("strategy.passes=2",)),
        ("half the generations, two passes", ("strategy.generations=7", "strategy.passes=2")),
        ("the best candidate handed over", ("strategy.hand_over=best",)),
        ("order of importance", ("strategy.order=importance",)),
        ("parallel", ("strategy=parallel",)),
        ("parallel, synchronised", ("strategy=parallel", "strategy.synchronise=8")),
        ("baseline with dropout", ("baseline.dropout=0.5",)),
        ("VkD-CMA-ES", ("optimizer=vkd_cmaes",)),
        (
            "whole layer at once, diagonal CMA-ES",
            ("optimizer=sep_cmaes", "strategy.block=layer", "strategy.max_evaluations=600"),
        ),
        ("first layer", ("strategy.layers=[1]", "strategy.max_evaluations=600")),
    )
)
"""What could make evolved kernels generalise."""

PAIRS = (
    ("sliced, CMA-ES", "sliced, not evolved"),
    ("sliced, CMA-ES", "sliced, random search"),
    ("sliced, CMA-ES", "sliced, PSO"),
    ("sliced, CMA-ES", "all features, CMA-ES"),
    ("sliced, CMA-ES", "sliced, by gradient"),
    ("sliced, CMA-ES", "CNN, 1.2 M"),
    ("sliced, CMA-ES", "CNN, 225 k"),
    ("all features, CMA-ES", "all features, not evolved"),
    ("all features, CMA-ES", "all features, random search"),
    *((row.name, _PLAIN) for row in LEVERS[1:]),
)
"""Rows that are compared image by image."""


@dataclass(frozen=True)
class Column:
    """Images and epochs of the tables.

    Attributes
    ----------
    overrides : tuple of str
        What asks for it.
    less : dict of str to tuple of str
        What else is asked for in rows whose names begin so, which would take too long otherwise.
    """

    overrides: tuple[str, ...]
    less: dict[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """What is computed.

    Attributes
    ----------
    rows : tuple of Row
    columns : dict of str to Column
    seeds : int
        They are 0, 1, ...
    """

    rows: tuple[Row, ...]
    columns: dict[str, Column]
    seeds: int


# What a baseline learns depends on the threads. One leaves a second core to another column.
_FULL = ("threads=1",)
_SMALL = ("+experiment=paper_4000_1000", *_FULL)
# On all features, particles, which go far, need more of the exact search, and 60,000 references do.
_FEWER = ("strategy.generations=4",)
_FEW_KERNELS = ("strategy.generations=4", "strategy.max_evaluations=648")
BUDGETS = {
    "full": Budget(
        ROWS,
        {
            "4000/1000, 5 epochs": Column(_SMALL, {"all features, PSO": _FEWER}),
            "60000/10000, 5 epochs": Column(
                ("+experiment=paper_60000_10000", *_FULL),
                {f"all features, {what}": _FEW_KERNELS for _, what in _OPTIMIZERS},
            ),
            "4000/1000, 20 epochs": Column(
                (*_SMALL, "baseline.epochs=20"), {"all features, PSO": _FEWER}
            ),
        },
        seeds=5,
    ),
    # All that the full one does, on images that need no download.
    "quick": Budget(
        ROWS,
        {
            "300/1000, 1 epoch": Column(
                (
                    "data.train_size=300", "baseline.filters=[2,3]", "baseline.epochs=1",
                    "strategy.generations=1", "threads=1",
                )
            ),
        },
        seeds=1,
    ),
    # What makes evolved kernels generalise: not for the test images to say.
    "levers": Budget(
        LEVERS,
        {"4000 images, 5 epochs, held out": Column((*_SMALL, "data=mnist_held_out"))},
        seeds=3,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A cell that is to be computed.

    Attributes
    ----------
    row : Row
    column : str
    options : tuple of str
        Those of the row and the column.
    seed : int
    """

    row: Row
    column: str
    options: tuple[str, ...]
    seed: int

    @property
    def command(self) -> str:
        """What runs it alone."""
        return PROGRAM + shlex.join([*self.options, f"seed={self.seed}"])

    @property
    def title(self) -> str:
        """The same in words."""
        return f"{self.row.name}, {self.column}, seed {self.seed}"

    @property
    def place_on_disk(self) -> str:
        """Name its folder, which processes that compute different columns do not share."""
        return re.sub(r"\W+", "-", self.column) + "-" + self.digest

    @cached_property
    def config(self) -> DictConfig:
        """All its options."""
        config = _composed(self.options).copy()
        config.seed = self.seed
        return config

    @cached_property
    def digest(self) -> str:
        """Of all options that change a result: another default makes it another cell."""
        options = {k: v for k, v in plain(self.config).items() if k not in _CHANGES_NOTHING}
        text = json.dumps(options, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _composed(options: tuple[str, ...]) -> DictConfig:
    """Compose once for all seeds: it takes a quarter of a second."""
    return check(options)[0]


def jobs(budget: Budget, rows: Sequence[Row], columns: Sequence[str], seeds: int) -> list[Job]:
    """Give the cells, seed by seed, so that what an interruption leaves compares."""
    found = []
    for seed in range(seeds):
        for column in columns:
            for row in rows:
                asked = [*row.overrides, *budget.columns[column].overrides]
                for name, less in budget.columns[column].less.items():
                    asked += less if row.name.startswith(name) else ()
                if "baseline=random" in row.overrides:
                    # Nobody trains it.
                    asked = [each for each in asked if not each.startswith("baseline.epochs")]
                found.append(Job(row, column, tuple(asked), seed))
    return found


def compute(same: Sequence[Job], folder: Path, parent: Parent) -> list[Cell]:
    """Run the experiment of some cells, or go on with it, as a child of a run of MLflow."""
    first, names = same[0], " = ".join(job.row.name for job in same)
    name = f"{names}, {first.column}, seed {first.seed}"
    overrides = [
        *first.options, f"seed={first.seed}", f"name={quoted(name)}", *_TRACKING, parent.override
    ]  # fmt: skip
    with initialize_config_dir(str(CONF), version_base=VERSION_BASE):
        composed = compose("config", overrides, return_hydra_config=True)
    chosen = composed.hydra.runtime.choices
    choices = {key: value for key, value in chosen.items() if not key.startswith("hydra/")}
    config = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    folder.mkdir(parents=True, exist_ok=True)
    summary = run(config, choices, folder, overrides)
    if summary.interrupted:
        raise KeyboardInterrupt
    cells, machine = [], describe()
    with np.load(folder / "predictions.npz") as predictions:
        for job in same:
            network = getattr(summary, job.row.part)
            right = predictions[job.row.part] == predictions["labels"]
            assert network.test is not None
            cells.append(
                Cell(
                    row=job.row.name,
                    column=job.column,
                    protocol=job.row.protocol,
                    seed=job.seed,
                    command=job.command,
                    options=job.digest,
                    parameters=network.parameters,
                    conv_bytes=network.conv_bytes,
                    total_bytes=network.total_bytes,
                    evaluations=summary.evaluations,
                    seconds=summary.train_seconds + summary.evolve_seconds,
                    machine=f"{machine['cpu']}, {machine['cores']} cores",
                    commit=environment().get("git_commit", ""),
                    few=network.test.total,
                    n_tests=len(right),
                    right=packed(right),
                )
            )
    return cells


class Store:
    """The file of cells: those that there are, whatever else is computed."""

    def __init__(self, output: Output | None) -> None:
        self._output = output
        self.cells: list[Cell] = []
        self._read()

    def _read(self) -> None:
        output = self._output
        if output and output.path.exists():
            try:
                held = json.loads(output.path.read_text())["cells"]
                self.cells = [Cell(**cell) for cell in held]
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise InputError(
                    f"{output.option} {output.path} holds no cells of these tables ({error}): move "
                    "it away, or name another file."
                ) from error

    def find(self, job: Job) -> Cell | None:
        """Find the cell of a job, computed for it or for a column that asks for the same."""
        wanted = (job.row.name, job.row.protocol, job.seed, job.digest)
        for cell in self.cells:
            if (cell.row, cell.protocol, cell.seed, cell.options) == wanted:
                return replace(cell, column=job.column)
        return None

    def of(self, jobs: Sequence[Job]) -> list[Cell]:
        """Give the cells of some jobs, of those that there are."""
        return [cell for cell in map(self.find, jobs) if cell is not None]

    def add(self, cells: Sequence[Cell]) -> None:
        """Keep cells, in the place of those that had other options."""
        with self._alone():
            self._read()  # another column's process may have written since
            places = {cell.place for cell in cells}
            self.cells = [each for each in self.cells if each.place not in places] + [*cells]
            if self._output:
                content = {"cells": [asdict(each) for each in self.cells]}
                self._output.write((json.dumps(content, indent=1) + "\n").encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let other processes wait meanwhile, where the system can do that."""
        if self._output is None or sys.platform == "win32":
            yield
            return
        import fcntl

        folder = os.open(self._output.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    try:
        _run(options)
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(_MISTAKE)
    except KeyboardInterrupt:
        say("Interrupted. The same command goes on from here.")
        sys.exit(_INTERRUPTED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.paper_tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--budget", choices=BUDGETS, default="quick", help="default: %(default)s")
    parser.add_argument("--seeds", type=int, metavar="N", help="default: that of the budget")
    parser.add_argument(
        "--rows", nargs="+", metavar="ROW",
        help="only rows whose names begin so; default: all",
    )  # fmt: skip
    parser.add_argument(
        "--columns", nargs="+", metavar="COLUMN",
        help="only columns whose names begin so; default: all",
    )  # fmt: skip
    parser.add_argument(
        "--cells", type=Path, metavar="FILE", help="keep the cells there, and go on from those"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("outputs/paper_tables"),
        help="of the experiments; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tables there")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write them there as CSV")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw them there, as PNG")
    parser.add_argument(
        "--known", action="store_true", help="compute nothing: tables of the cells that there are"
    )
    parser.add_argument("--list", action="store_true", help="only print the commands of the cells")
    return parser


def _run(options: argparse.Namespace) -> None:
    budget = BUDGETS[options.budget]
    seeds = budget.seeds if options.seeds is None else options.seeds
    if seeds < 1:
        raise InputError(f"--seeds {seeds} is not possible: give 1 or more.")
    rows = _chosen("rows", options.rows, budget.rows, [row.name for row in budget.rows])
    columns = _chosen("columns", options.columns, [*budget.columns], [*budget.columns])
    outputs = {
        name: Output(f"--{name}", getattr(options, name))
        for name in ("cells", "json", "csv", "figure")
        if getattr(options, name)
    }
    todo = jobs(budget, rows, columns, seeds)
    if options.list:
        print("\n".join(f"# {job.title}\n{job.command}" for job in todo))
        return
    store = Store(outputs.get("cells"))
    if options.known and not store.of(todo):
        raise InputError(
            "No cell of these rows and columns is known: without --known they are computed."
        )
    if not options.known and any(store.find(job) is None for job in todo):
        _compute(todo, store, options, outputs)
    _write(store.of(todo), outputs)
    print(text(store.of(todo), PAIRS))


def _compute(
    todo: Sequence[Job], store: Store, options: argparse.Namespace, outputs: dict[str, Output]
) -> None:
    """Compute the cells that there are not yet."""
    # A process that computes other columns at the same time has another parent.
    name = "; ".join([f"paper tables, {options.budget}", *(options.columns or ())])
    with Parent(None, _EXPERIMENT, name, key=name) as parent:
        for number, job in enumerate(todo, 1):
            if store.find(job) is None:
                say(f"{number} of {len(todo)}: {job.title}")
                same = [
                    each for each in todo if (each.column, each.digest) == (job.column, job.digest)
                ]
                store.add(compute(same, options.folder / job.place_on_disk, parent))
                _write(store.of(todo), outputs)
                files = [output.path for output in outputs.values() if output.path.exists()]
                parent.describe(text(store.of(todo), PAIRS), files)


def _write(cells: Sequence[Cell], outputs: dict[str, Output]) -> None:
    """Write the tables of what there is."""
    found = entries(cells)
    if "json" in outputs:
        listed = json.dumps([asdict(entry) for entry in found], indent=1)
        outputs["json"].write((listed + "\n").encode())
    if "csv" in outputs:
        outputs["csv"].write(csv_text(found).encode())
    if "figure" in outputs:
        outputs["figure"].write(figure(found))


def _chosen(option: str, asked: list[str] | None, all_: Sequence[T], names: list[str]) -> list[T]:
    """Choose what an option names."""
    if asked is None:
        return list(all_)
    found = []
    for each, name in zip(all_, names, strict=True):
        if name.startswith(tuple(asked)):
            found.append(each)
    if not found:
        raise InputError(f"--{option} {' '.join(asked)} matches none of: {', '.join(names)}.")
    return found


if __name__ == "__main__":
    main()
