"""Figures of an experiment, without any global state of matplotlib."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from evolve.events import BlockEnd, Generation
from experiments.places import Places
from experiments.reliability import Reliability
from experiments.summary import NetworkResult
from slicing.baselines import Epoch
from slicing.files import replacing
from slicing.stack import Conv, ConvStack

_BLUE, _ORANGE, _GRAY = "#1f6fb4", "#e07b00", "0.6"
# Of the networks, one after the other.
_COLORS = (_GRAY, _BLUE, _ORANGE, "#2a8a4a", "#8e44ad", "#b03a2e", "#1b7f8c")
# Of a confusion matrix: inches of its narrowest cell, points of a digit that is an inch wide, and
# most classes whose names stand slanted, not upright.
_NARROWEST, _POINTS, _SLANTED = 0.15, 100.0, 12
# Letters of a block's name for which the width of the picture has room.
_LETTERS = 110


def convergence(history: Sequence[Generation | BlockEnd], path: Path, title: str = "") -> None:
    """Draw the losses over the evaluations, with the boundaries between blocks.

    Parameters
    ----------
    history : sequence of Generation and BlockEnd
        What the schedule gave, in order.
    path : Path
        The PNG file to write.
    title : str
    """
    generations = [event for event in history if isinstance(event, Generation)]
    ends = [event for event in history if isinstance(event, BlockEnd)]
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for end in ends[:-1]:
        axes.axvline(end.evaluations, color=_GRAY, linewidth=0.5, alpha=0.5)
    starts = [0, *(end.evaluations for end in ends)]
    total = max((event.evaluations for event in history), default=0)
    for start, end in zip(starts, ends, strict=False):
        width, name = end.evaluations - start, end.block.name
        if width * _LETTERS >= len(name) * total:
            axes.text(
                start + width / 2, 1.0, name, transform=axes.get_xaxis_transform(),
                ha="center", va="bottom", fontsize="small", color="0.3",
            )  # fmt: skip
    network = [*(end.loss_before for end in ends), ends[-1].loss_after] if ends else []
    if ends:
        evaluations = [0, *(end.evaluations for end in ends)]
        axes.step(
            evaluations, network, where="post", color=_BLUE, linewidth=2.5, label="the network"
        )
    _line_by_block(axes, generations, "mean_loss", "mean of a generation", _GRAY)
    _line_by_block(axes, generations, "best_loss", "best of a block", _ORANGE)
    if generations:
        # The first generations of a block can be far above everything that matters.
        means, bests = (
            [loss for loss in losses if np.isfinite(loss)]
            for losses in (
                [event.mean_loss for event in generations],
                [*(event.best_loss for event in generations), *network],
            )
        )
        if means and bests:
            low, top = min(bests), max(float(np.percentile(means, 90)), *bests)
            margin = 0.1 * (top - low) + 1e-6
            axes.set_ylim(low - margin, top + 2 * margin)
    axes.set_xlabel("evaluations")
    axes.set_ylabel("loss")
    axes.set_title(plain(title), pad=18)
    axes.legend(loc="upper right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def kernels(before: ConvStack, after: ConvStack, path: Path) -> None:
    """Draw every kernel before and after evolution, layer by layer.

    A kernel with several input channels is shown by its mean over them.

    Parameters
    ----------
    before, after : ConvStack
        Of the same shapes.
    path : Path
        The PNG file to write.
    """
    layers = list(zip(before.convs, after.convs, strict=True))
    columns = [min(conv.n_kernels, 16) for conv, _ in layers]
    grids = [[_grid(conv, n) for conv in pair] for pair, n in zip(layers, columns, strict=True)]
    heights = [grid[0].shape[0] / grid[0].shape[1] for grid in grids]
    size = (11, 0.4 + sum(5 * height + 0.5 for height in heights))
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(wspace=0.05))
    panels = figure.subplots(len(layers), 2, squeeze=False, height_ratios=heights)
    for number, (row, pair, (conv, _)) in enumerate(zip(panels, grids, layers, strict=True), 1):
        limit = max(float(np.nanmax(np.abs(grid))) for grid in pair) or 1.0
        channels = conv.weights.shape[2]
        what = f"conv{number}" + (f", mean of {channels} channels" if channels > 1 else "")
        for axes, grid, when in zip(row, pair, ("before", "after"), strict=True):
            drawn = axes.imshow(grid, cmap="RdBu_r", vmin=-limit, vmax=limit)
            axes.set_title(f"{what}: {when}", fontsize="medium")
            axes.set_axis_off()
        figure.colorbar(drawn, ax=list(row), shrink=0.8, pad=0.01)
    save(figure, path)


def confusion(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    classes: Sequence[str],
    path: Path,
    title: str = "",
) -> None:
    """Draw a confusion matrix: how many images of a class were taken for which.

    Parameters
    ----------
    labels, predicted : ndarray of shape (n,), int64
    classes : sequence of str
        Names of the classes, in label order.
    path : Path
        The PNG file to write.
    title : str
    """
    n = len(classes)
    counts = np.zeros((n, n), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Many classes get narrow cells, and letters that fit into them.
    cell = float(np.clip(8 / n, _NARROWEST, 0.5))
    digits = max(2, len(str(counts.max(initial=0))))
    side = max(4.5, n * cell + 1.5)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
    for row, col in zip(*np.nonzero(counts), strict=True):
        axes.text(
            col, row, str(counts[row, col]), ha="center", va="center",
            fontsize=min(8.5, _POINTS * cell / digits),
            color="white" if shares[row, col] > 0.5 else "black",
        )  # fmt: skip
    labeled = [plain(name, 24) for name in classes]
    slant: dict[str, Any] = {}
    if max(map(len, labeled)) > 3 or n > _SLANTED:
        slant = {"rotation": 90} if n > _SLANTED else {"rotation": 45, "ha": "right"}
    size = min(10.0, 0.5 * _POINTS * cell)
    axes.set_xticks(range(n), labeled, fontsize=size, **slant)
    axes.set_yticks(range(n), labeled, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(plain(title), fontsize="medium", wrap=True)
    save(figure, path)


def training(epochs: Sequence[Epoch], path: Path, title: str = "") -> None:
    """Draw the loss and the accuracy of a training over its epochs.

    Parameters
    ----------
    epochs : sequence of Epoch
        One at least, in their order.
    path : Path
        The PNG file to write.
    title : str
    """
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    numbers = range(1, len(epochs) + 1)
    for axes, values, color, what in zip(
        figure.subplots(1, 2),
        ([each.loss for each in epochs], [100 * each.accuracy for each in epochs]),
        (_ORANGE, _BLUE),
        ("loss", "% of the training images right"),
        strict=True,
    ):
        axes.plot(numbers, values, "o-", color=color, markersize=4)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epochs")
        axes.set_ylabel(what)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(plain(title))
    save(figure, path)


def accuracy(networks: Sequence[NetworkResult], path: Path, title: str = "") -> None:
    """Draw the accuracy of networks against their bytes, with 95 % intervals.

    Networks of the same size stand side by side.

    Parameters
    ----------
    networks : sequence of NetworkResult
        One that cannot classify is left out.
    path : Path
        The PNG file to write.
    title : str
    """
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    sizes, ends = list[int](), list[float]()
    for row, color, marker in zip(networks, cycle(_COLORS), cycle("sDo^vP*X"), strict=False):
        measured = row.test_all or row.test
        if measured is None:
            continue
        percent, low, high = (100 * share for share in (measured.value, *measured.interval()))
        beside = ScaledTranslation(sizes.count(row.total_bytes) / 6, 0, figure.dpi_scale_trans)
        axes.errorbar(
            row.total_bytes, percent, [[percent - low], [high - percent]], fmt=marker, color=color,
            capsize=3, label=plain(row.name), transform=axes.transData + beside,
        )  # fmt: skip
        axes.set_ylabel(f"% of {measured.total:,} test images")
        sizes.append(row.total_bytes)
        ends += [low, high]
    # Matplotlib does not take shifted points into account for its limits.
    margin = 0.1 * (max(ends) - min(ends))
    axes.set_ylim(min(ends) - margin, max(ends) + margin)
    axes.set_xlim(min(sizes) / 2, 2 * max(sizes))
    is_wide = max(sizes) > 5 * min(sizes)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if is_wide else (1, 1.5, 2, 3, 4, 5, 7)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(EngFormatter("B"))
    axes.set_xlabel("bytes")
    axes.set_title(plain(title))
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    save(figure, path)


def reliability(reliabilities: Mapping[str, Reliability], path: Path, title: str = "") -> None:
    """Draw the reliability diagram: how often answers are right that were said to be so likely.

    Parameters
    ----------
    reliabilities : mapping of str to Reliability
        One or two, by their names.
    path : Path
        The PNG file to write.
    title : str
    """
    figure = Figure(figsize=(7, 7), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 100], [0, 100], color=_GRAY, linewidth=1.0, linestyle="--")
    width = 8 / len(reliabilities)
    for number, (name, each) in enumerate(reliabilities.items()):
        color, marker = (_BLUE, _ORANGE)[number], "oD"[number]
        accuracies = [found.accuracy for found in each.bins]
        percents = np.array([100 * accuracy.value for accuracy in accuracies])
        ends = 100 * np.array([accuracy.interval() for accuracy in accuracies]).T
        axes.errorbar(
            [100 * found.mean for found in each.bins], percents, np.abs(ends - percents),
            fmt=f"{marker}-", color=color, capsize=3, linewidth=1.0, label=name,
        )  # fmt: skip
        lefts = [100 * found.low + 1 + width * number for found in each.bins]
        totals = [accuracy.total for accuracy in accuracies]
        below.bar(lefts, totals, width, color=color, align="edge")
    axes.set_ylabel("% of the answers that are right")
    axes.legend(loc="upper left", frameon=False)
    axes.set_title(plain(title), fontsize="medium", wrap=True)
    below.set_xlabel("% by the confidence, or by the votes")
    below.set_ylabel("test images")
    for each_axes in (axes, below):
        each_axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def places(found: Places, path: Path) -> None:
    """Draw how well places to cut networks tell the training images, against their time.

    Parameters
    ----------
    found : Places
    path : Path
        The PNG file to write.
    """
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    styles = {
        "a cut, by discriminants": ("o-", False, "discriminants"),
        "a cut, by the k-NN": (".:", False, "neighbors"),
        "cuts side by side, by discriminants": ("D", True, "discriminants"),
    }
    for label, (style, _, _) in styles.items():
        axes.plot([], [], style, color=_GRAY, markersize=4, fillstyle="none", label=label)
    for (name, each), color in zip(found.networks.items(), cycle(_COLORS[1:]), strict=False):
        axes.plot([], [], "s", color=color, label=plain(name, 40))
        for style, is_set, what in styles.values():
            chosen = [place for place in each if (len(place.score.cuts) > 1) == is_set]
            times = [place.milliseconds for place in chosen]
            shares = [100 * getattr(place.score, what) for place in chosen]
            axes.plot(
                times, shares, style, color=color, markersize=4, linewidth=1.0, fillstyle="none"
            )
    best = found.ranked[0]
    axes.plot(
        best.milliseconds, 100 * best.score.discriminants, "*", color=_ORANGE, markersize=14,
        label=f"the best: {plain(best.name, 40)}",
    )  # fmt: skip
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("ms an image, one thread")
    axes.set_ylabel(f"% of {found.n_images:,} training images right, left out")
    axes.set_title(plain(found.title), wrap=True)
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    save(figure, path)


def _line_by_block(
    axes: Axes, generations: Sequence[Generation], what: str, label: str, color: str
) -> None:
    """Draw one attribute of the generations, the line broken between blocks."""
    x: list[float] = []
    y: list[float] = []
    for previous, event in zip([None, *generations], generations, strict=False):
        if previous is not None and previous.block_number != event.block_number:
            x.append(np.nan)
            y.append(np.nan)
        x.append(event.evaluations)
        y.append(getattr(event, what))
    axes.plot(x, y, color=color, linewidth=1.0, label=label)


def _grid(conv: Conv, columns: int) -> NDArray[np.float32]:
    """Lay the kernels of a convolution out in rows, with gaps of NaN between them."""
    tiles = np.moveaxis(conv.weights.mean(axis=2), 2, 0)
    n, height, width = tiles.shape
    rows = -(-n // columns)
    grid = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan, np.float32)
    for index, tile in enumerate(tiles):
        row, col = divmod(index, columns)
        top, left = row * (height + 1), col * (width + 1)
        grid[top : top + height, left : left + width] = tile
    return grid


def plain(text: str, longest: int = 90) -> str:
    """Write a text of the user's so that matplotlib draws it as it is.

    A dollar sign begins no formula, what is not Unicode becomes a question mark, and each line is
    cut at a length.
    """
    lines = text.encode(errors="replace").decode().splitlines()
    cut = (line if len(line) <= longest else f"{line[: longest - 1]}…" for line in lines)
    # Not by parse_math=False, of which wrapping knows nothing.
    return "\n".join(cut).replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    with replacing(path) as file, warnings.catch_warnings():
        # Names hold letters that the font does not have; boxes stand for them.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        FigureCanvasAgg(figure).print_png(file)
