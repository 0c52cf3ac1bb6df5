"""The cells of the paper's tables: as entries, as Markdown, as CSV and as a figure."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import t

from benchmarks.paper_cells import Cell
from benchmarks.paper_jobs import title
from experiments.statistics import Accuracy, mcnemar
from experiments.tables import table

_SLIDES_ROWS = (
    "CNN, 1.2 M", "CNN, 122 k", "CNN, 70 k", "CNN, 44.6 k", "CNN, 31.7 k", "all features, CMA-ES",
    "all features, PSO",
)  # fmt: skip
SLIDES: dict[str, dict[str, float]] = {
    column: dict(zip(_SLIDES_ROWS, percents, strict=True))
    for column, percents in {
        "4000/1000, 5 epochs": (97.5, 97.0, 97.0, 96.1, 87.5, 97.5, 97.3),
        "60000/10000, 5 epochs": (99.91, 98.96, 98.98, 98.65, 97.8, 98.57, 98.52),
        "4000/1000, 20 epochs": (98.0, 97.5, 97.5, 97.4, 96.5, 97.5, 97.3),
    }.items()
}
"""The slides' accuracies, in percent, by column and row."""

# Test images of the slides' columns 4000/1000.
_FEW = 1000
_CONFIDENCE = 0.95
_SIGNIFICANT = 0.05
_DPI = 120


@dataclass(frozen=True)
class Entry:
    """All seeds of a row and column, on the first test images.

    Attributes
    ----------
    row, column, protocol : str
    test_images : int
        How many, from the first.
    mean : float
        Mean accuracy over the seeds, 0 to 1.
    low, high : float
        Wilson's interval of 95 % for the mean, rounded to whole images: what so many of them can
        tell.
    spread : float or None
        Half the width of the 95 % t interval of the mean over the seeds. Of two it is wide,
        whatever they are.
    seeds : int
    parameters : int
    conv_bytes : int or None
    total_bytes, evaluations : int
    seconds : float
        Median over the seeds: what else a shared machine did meanwhile is in some of them.
    command : str
        Of the first seed; the others have another ``seed=``.
    """

    row: str
    column: str
    protocol: str
    test_images: int
    mean: float
    low: float
    high: float
    spread: float | None
    seeds: int
    parameters: int
    conv_bytes: int | None
    total_bytes: int
    evaluations: int
    seconds: float
    command: str


def entries(cells: Sequence[Cell]) -> list[Entry]:
    """Sum the seeds up, in the order in which the rows and columns first appear."""
    found = []
    for same in _groups(cells):
        first = same[0]
        for n in sorted({min(first.few, _FEW), first.n_tests}):
            right = [int(cell.bits[:n].sum()) for cell in same]
            low, high = Accuracy(round(float(np.mean(right))), n).interval(_CONFIDENCE)
            found.append(
                Entry(
                    row=first.row,
                    column=first.column,
                    protocol=first.protocol,
                    test_images=n,
                    mean=float(np.mean(right)) / n,
                    low=low,
                    high=high,
                    spread=_spread([count / n for count in right]),
                    seeds=len(same),
                    parameters=first.parameters,
                    conv_bytes=first.conv_bytes,
                    total_bytes=first.total_bytes,
                    evaluations=round(float(np.mean([cell.evaluations for cell in same]))),
                    seconds=float(np.median([cell.seconds for cell in same])),
                    command=first.command,
                )
            )
    return found


def _groups(cells: Iterable[Cell]) -> Iterator[list[Cell]]:
    """Gather the seeds of each row, column and protocol, in ascending order."""
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.row, cell.column, cell.protocol), []).append(cell)
    for same in groups.values():
        yield sorted(same, key=lambda cell: cell.seed)


def _spread(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    scale = t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1) / np.sqrt(len(values))
    return float(scale * np.std(values, ddof=1))


def compared(one: Sequence[Cell], two: Sequence[Cell]) -> tuple[int, int, float]:
    """Compare two networks on the same test images, seed by seed.

    Parameters
    ----------
    one, two : sequence of Cell
        Of the same seeds, in the same order.

    Returns
    -------
    better, worse : int
        Images that only the first, or only the second, classifies correctly, of all seeds.
    p : float
        That of :func:`experiments.statistics.mcnemar`, twice the median over the seeds (of two that
        is their sum): they share their test images, so that their counts do not add up to one test,
        and twice the median of dependent p-values is one (Rüger, 1978).
    """
    better = worse = 0
    found = []
    for first, second in zip(one, two, strict=True):
        gained = int((first.bits & ~second.bits).sum())
        lost = int((second.bits & ~first.bits).sum())
        better, worse = better + gained, worse + lost
        found.append(mcnemar(gained, lost))
    return better, worse, min(1.0, 2.0 * float(np.median(found)) if len(found) > 1 else found[0])


def text(cells: Sequence[Cell], pairs: Sequence[tuple[str, str]]) -> str:
    """Set the tables in Markdown: one for each column, and the comparisons of pairs of rows.

    A dagger marks a difference that is not significant.
    """
    found = entries(cells)
    parts = []
    for column in dict.fromkeys(entry.column for entry in found):
        of_column = [entry for entry in found if entry.column == column]
        sizes = sorted({entry.test_images for entry in of_column})
        rows: dict[tuple[str, str], dict[int, Entry]] = {}
        for entry in of_column:
            rows.setdefault((entry.row, entry.protocol), {})[entry.test_images] = entry
        slides = SLIDES.get(column)
        header = ["network", "parameters", "conv bytes", "engine bytes"]
        header += ["slides, %"] if slides else []
        header += [f"% of {n:,} test images (95 %)" for n in sizes]
        header += ["± over seeds", "seeds", "evaluations", "seconds"]
        body = []
        for (row, protocol), by_size in rows.items():
            last = by_size[sizes[-1]]
            theirs = [f"{slides[row]:.2f}" if row in slides else "-"] if slides else []
            body.append(
                [
                    title(row, protocol),
                    f"{last.parameters:,}",
                    "-" if last.conv_bytes is None else f"{last.conv_bytes:,}",
                    f"{last.total_bytes:,}",
                    *theirs,
                    *(_percent(by_size[n]) for n in sizes),
                    "-" if last.spread is None else f"{100 * last.spread:.2f}",
                    str(last.seeds),
                    f"{last.evaluations:,}",
                    f"{last.seconds:,.0f}",
                ]
            )
        parts += [f"**{column}**", "", *table(header, body), ""]
        comparisons = [_comparison(cells, column, *pair) for pair in pairs]
        body = [line for line in comparisons if line]
        if body:
            header = ["network", "instead of", "seeds", "better, images", "worse, images", "p"]
            parts += [*table(header, body), ""]
    return "\n".join(parts).rstrip()


def _percent(entry: Entry) -> str:
    return f"{100 * entry.mean:.2f} ({100 * entry.low:.2f}-{100 * entry.high:.2f})"


def _comparison(cells: Sequence[Cell], column: str, one: str, two: str) -> list[str]:
    """Compare two rows over the seeds that both have; nothing where they have none."""
    found = []
    for row in (one, two):
        same = [
            cell
            for cell in cells
            if (cell.row, cell.column) == (row, column) and cell.protocol != "test"
        ]
        found.append({cell.seed: cell for cell in same})
    seeds = sorted(found[0].keys() & found[1].keys())
    if not seeds:
        return []
    better, worse, p = compared(*([cells_of[seed] for seed in seeds] for cells_of in found))
    dagger = " †" if p >= _SIGNIFICANT else ""
    return [one, two, str(len(seeds)), f"{better:,}", f"{worse:,}", f"{p:.2g}{dagger}"]


def csv_text(found: Sequence[Entry]) -> str:
    """Set the entries as CSV."""
    lines = StringIO()
    names = list(Entry.__dataclass_fields__)
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([getattr(entry, name) for name in names] for entry in found)
    return lines.getvalue()


def figure(found: Sequence[Entry]) -> bytes:
    """Draw the accuracy on all test images, a panel for each column, as PNG."""
    columns = list(dict.fromkeys(entry.column for entry in found))
    rows = list(dict.fromkeys((entry.row, entry.protocol) for entry in found))[::-1]
    canvas = Figure(figsize=(4 + 2.6 * len(columns), 1.5 + 0.28 * len(rows)), layout="constrained")
    panels: Any = canvas.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, column in zip(panels, columns, strict=True):
        most = max(entry.test_images for entry in found if entry.column == column)
        for entry in found:
            if entry.column != column or entry.test_images != most:
                continue
            height = rows.index((entry.row, entry.protocol))
            leaks = entry.protocol == "test"
            axes.errorbar(
                100 * entry.mean, height,
                xerr=[[100 * (entry.mean - entry.low)], [100 * (entry.high - entry.mean)]],
                fmt="o", color="0.6" if leaks else "C0", capsize=2,
            )  # fmt: skip
            slides = SLIDES.get(column, {}).get(entry.row)
            if slides:
                axes.plot(slides, height, "kx")
        axes.set_title(f"{column}\n{most:,} test images", fontsize="medium")
        axes.set_xlabel("accuracy, %")
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(rows)), [title(*row) for row in rows])
    canvas.suptitle(
        "ours, with Wilson's interval, gray where test images chose; x: the slides', of 1000 test "
        "images in the columns 4000/1000",
        fontsize="small",
    )
    content = BytesIO()
    FigureCanvasAgg(canvas).print_png(content)
    return content.getvalue()
