"""Tables: in Markdown that reads well on a terminal, too, and the cells of those of a run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.new_classes import ClassAddition
from experiments.reliability import Reliability
from experiments.statistics import Accuracy, ClassFigures
from slicing.data.quality import Quality
from slicing.names import shown

# Pairs of classes in the table of those that are confused.
_CONFUSED = 10

Cells = tuple[list[str], list[list[str]]]
"""A header, and rows of as many cells."""


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Set a Markdown table with aligned columns, the first to the left, the others to the right.

    Names in it may hold anything: a bar in them ends no cell.
    """
    columns = zip(header, *body, strict=True)
    widest = [max(column, key=lambda cell: len(_safe(cell))) for column in columns]
    return [*table_lines(header, body, widest)]


def table_lines(
    header: Sequence[str], rows: Iterable[Sequence[str]], widest: Sequence[str]
) -> Iterator[str]:
    """Set the lines of a :func:`table` as its rows come.

    Parameters
    ----------
    header : sequence of str
    rows : iterable of sequence of str
    widest : sequence of str
        For each column a cell that is as wide as any of its rows.
    """
    # A rule is a dash and a colon at least.
    widths = [
        max(2, len(_safe(name)), len(_safe(cell)))
        for name, cell in zip(header, widest, strict=True)
    ]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(map(_safe, cells), widths, strict=True)
        right = (cell.rjust(width) for cell, width in rest)
        return " | ".join(["| " + first[0].ljust(first[1]), *right]) + " |"

    yield line(header)
    yield line(["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]])
    yield from map(line, rows)


def _safe(cell: str) -> str:
    return shown(cell).replace("|", "\\|")


def shorten(text: str, longest: int) -> str:
    """Cut a text at a length, and mark where it was cut."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def percent(accuracy: Accuracy | None) -> str:
    """Write an accuracy in percent, with its 95 % interval; a dash for none."""
    if accuracy is None:
        return "-"
    low, high = accuracy.interval()
    return f"{100 * accuracy.value:.2f} ({100 * low:.2f}-{100 * high:.2f})"


def class_cells(classes: Sequence[str], figures: Sequence[ClassFigures]) -> Cells:
    """Give the table of the classes."""
    header = ["class", "test images", "recall, % (95 % interval)", "precision, % (95 % interval)"]
    body = [
        [name, f"{recall.total if recall else 0:,}", percent(recall), percent(precision)]
        for name, (recall, precision) in zip(classes, figures, strict=True)
    ]
    return header, body


def confused_cells(
    classes: Sequence[str], labels: NDArray[np.int64], predicted: NDArray[np.int64]
) -> Cells:
    """Give the table of the classes that were taken for which most often."""
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_CONFUSED]
    pairs = [(*map(int, divmod(place, len(classes))), int(counts.flat[place])) for place in order]
    body = [[classes[true], classes[taken], f"{n:,}"] for true, taken, n in pairs if n]
    return ["class", "taken for", "test images"], body


def confidence_cells(reliability: Mapping[str, Reliability]) -> Cells:
    """Give the table that compares the confidence with the share of the votes."""
    header = ["", "mean, %", "calibration error, % (by chance up to)", "Brier score", "AUROC"]
    body = [
        [
            name,
            f"{100 * each.mean:.1f}",
            f"{100 * each.calibration_error:.1f} ({100 * each.by_chance:.1f})",
            f"{each.brier:.3f}",
            "-" if each.auroc is None else f"{each.auroc:.3f}",
        ]
        for name, each in reliability.items()
    ]
    return header, body


def bin_cells(reliability: Mapping[str, Reliability]) -> Cells:
    """Give the table of the bins of the confidence."""
    header = ["confidence, %", "test images", "mean, %", "% right (95 % interval)"]
    bins = reliability["confidence"].bins if reliability else ()
    body = [
        [
            f"{100 * each.low:.0f} to {100 * each.high:.0f}",
            f"{each.accuracy.total:,}",
            f"{100 * each.mean:.1f}",
            percent(each.accuracy),
        ]
        for each in bins
    ]
    return header, body


def finding_cells(quality: Quality) -> Cells:
    """Give the table of what deserves a look in the images, the worst first."""
    body = [[what, f"{n:,}", example] for what, n, example in quality.findings]
    return ["finding", "number", "for example"], body


def addition_cells(additions: Sequence[ClassAddition]) -> Cells:
    """Give the table of the new classes."""
    header = ["images of each new class"]
    for name, unit in (("engine", "ms to add"), ("baseline", "s to train again")):
        header += [f"{name}: {unit}", "% of old classes", "% of new classes"]
    body = []
    for addition in additions:
        cells = [str(addition.images)]
        for taught, scale in ((addition.engine, 1000.0), (addition.cnn, 1.0)):
            if taught is None:
                cells += ["-"] * 3
            else:
                cells += [
                    f"{scale * taught.seconds:.1f}",
                    percent(taught.old),
                    percent(taught.new),
                ]
        body.append(cells)
    return header, body
