"""The tables of the paper, its figures beside ours.

``python -m benchmarks.paper_tables --budget full --json FILE --csv FILE --figure FILE``

Every cell of the tables, row, column and seed, is from one experiment, whose command stands beside
it, and which may give several cells. It has a folder of its own in that of ``--folder`` and is a
run of the MLflow experiment ``paper-tables``. What the file of cells holds is not computed again,
an interrupted experiment is resumed, and the tables are rewritten after each. One
process a column, with the same file of cells, makes use of more cores.

Protocols
    ``leave_one_out``, ``validation``: the training images choose the kernels, each classified by
    the others, or some by the rest, and the test images are classified once, at the end. ``test``:
    they choose the kernels, as in the paper most likely. It LEAKS.
Rows
    ``sliced``: the defaults of this project, linear discriminants between kernels and k-NN, which
    evolution learns again for every candidate. ``all features``: the k-NN on what the kernels give,
    as in the paper. ``averaged``: ``sliced`` where the k-NN sees the mean features of nine shifted
    copies of each image, a reference's or one to be classified.
Test images
    The first 1000, which may be those of the slides, and all 10,000.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks.machine import describe
from benchmarks.output import Output
from benchmarks.paper_cells import Cell, Store, packed
from benchmarks.paper_jobs import BUDGETS, PAIRS, Job, jobs
from benchmarks.paper_report import csv_text, entries, figure, text
from experiments.console import exit_on_mistake, say
from experiments.environment import commit
from experiments.overrides import check, chosen
from experiments.parents import ParentRun
from experiments.pipeline import run
from experiments.words import quoted
from slicing.errors import InputError

T = TypeVar("T")

_INTERRUPTED = "Interrupted. The same command resumes from here."
_EXPERIMENT = "paper-tables"
_TRACKING = (f"tracking.experiment={_EXPERIMENT}", "tracking.model=false")


def compute(same: Sequence[Job], folder: Path, parent: ParentRun, at_commit: str) -> list[Cell]:
    """Run or resume the experiment of some cells, as a child of an MLflow run."""
    first, names = same[0], " = ".join(job.row.title for job in same)
    name = f"{names}, {first.column}, seed {first.seed}"
    overrides = [
        *first.options, f"seed={first.seed}", f"name={quoted(name)}", *_TRACKING, parent.override
    ]  # fmt: skip
    [config] = check(overrides)
    folder.mkdir(parents=True, exist_ok=True)
    summary = run(config, chosen(overrides), folder, overrides)
    if summary.interrupted:
        raise KeyboardInterrupt
    cells, machine = [], describe()
    with np.load(folder / "predictions.npz") as predictions:
        for job in same:
            network = summary.networks[job.row.part]
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
                    commit=at_commit,
                    few=network.test.total,
                    n_tests=len(right),
                    right=packed(right),
                )
            )
    return cells


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    with exit_on_mistake({KeyboardInterrupt: lambda error: _INTERRUPTED}):
        _run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.paper_tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--budget", choices=BUDGETS, default="quick", help="default: %(default)s")
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="of every row; default: as the budget says"
    )
    parser.add_argument(
        "--rows", nargs="+", metavar="ROW",
        help="only rows that are named so or, where none is, whose names begin so; default: all",
    )  # fmt: skip
    parser.add_argument(
        "--columns", nargs="+", metavar="COLUMN",
        help="only columns that are named so, or whose names begin so; default: all",
    )  # fmt: skip
    parser.add_argument(
        "--cells", type=Path, metavar="FILE",
        help="keep the cells there, compute only others; default: cells.json in the folder",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, default=Path("outputs/paper_tables"),
        help="of the experiments; default: %(default)s",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tables there")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write them there as CSV")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw them there, as PNG")
    parser.add_argument(
        "--known", action="store_true", help="compute nothing: tables of the known cells"
    )
    parser.add_argument("--list", action="store_true", help="only print the commands of the cells")
    return parser


def _run(options: argparse.Namespace) -> None:
    budget = BUDGETS[options.budget]
    if options.seeds is not None and options.seeds < 1:
        raise InputError(f"--seeds {options.seeds} is not possible: give 1 or more.")
    rows = _chosen("rows", options.rows, {row.title: row for row in budget.rows})
    columns = _chosen("columns", options.columns, {column: column for column in budget.columns})
    todo = jobs(budget, rows, columns, options.seeds)
    if not todo:
        raise InputError(
            "These rows have no seeds in these columns of the budget: ask for some, --seeds 1."
        )
    if options.list:
        say("\n".join(f"# {job.title}\n{job.command}" for job in todo), sys.stdout)
        return
    cells = options.cells or options.folder / "cells.json"
    outputs = {
        name: Output(f"--{name}", getattr(options, name))
        for name in ("json", "csv", "figure")
        if getattr(options, name)
    }
    files = [cells.resolve(), *(output.path.resolve() for output in outputs.values())]
    if len({*files}) < len(files):
        raise InputError("Two of --cells, --json, --csv and --figure are the same file: name two.")
    store = Store(cells)
    if not options.known and any(store.find(job) is None for job in todo):
        options.folder.mkdir(parents=True, exist_ok=True)
        _compute(todo, store, options, {"cells": Output("--cells", cells)} | outputs)
    found = store.of(todo)
    if not found:
        raise InputError(
            f"{cells} has no cell of these rows and columns of --budget {options.budget}: name "
            "another budget, or another file by --cells, or compute them, without --known."
        )
    if len(found) < len(todo):
        say(f"{len(found)} of {len(todo)} cells are known.")
    _write(found, outputs)
    say(text(found, PAIRS), sys.stdout)


def _compute(
    todo: Sequence[Job], store: Store, options: argparse.Namespace, outputs: dict[str, Output]
) -> None:
    """Compute the missing cells."""
    # A process that computes other columns at the same time has another parent.
    name = "; ".join([f"paper tables, {options.budget}", *(options.columns or ())])
    # Now: the checkout may have another one when the cells are done.
    at_commit = commit() or ""
    with ParentRun(None, _EXPERIMENT, name, key=name) as parent:
        for number, job in enumerate(todo, 1):
            if store.find(job) is None:
                say(f"{number} of {len(todo)}: {job.title}")
                same = [
                    each
                    for each in todo
                    if each.digest == job.digest
                    and each.column == job.column
                    and store.find(each) is None
                ]
                store.add(compute(same, options.folder / job.place_on_disk, parent, at_commit))
                _write(store.of(todo), outputs)
                files = [output.path for output in outputs.values()]
                parent.describe(text(store.of(todo), PAIRS), files)


def _write(cells: Sequence[Cell], outputs: dict[str, Output]) -> None:
    """Write the tables of what there is."""
    found = entries(cells)
    if "json" in outputs:
        outputs["json"].write_json(found)
    if "csv" in outputs:
        outputs["csv"].write(csv_text(found).encode())
    if "figure" in outputs:
        outputs["figure"].write(figure(found))


def _chosen(option: str, asked: list[str] | None, known: dict[str, T]) -> list[T]:
    """Choose what an option names, whole or by the beginning."""
    if asked is None:
        return list(known.values())
    chosen = set()
    for word in asked:
        found = [word] if word in known else [name for name in known if name.startswith(word)]
        if not found:
            raise InputError(f"--{option} {word!r} matches none of: {'; '.join(known)}.")
        chosen.update(found)
    return [each for name, each in known.items() if name in chosen]


if __name__ == "__main__":
    main()
