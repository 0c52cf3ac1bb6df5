"""The figure of an adaptive system: accuracy against mean time."""

from itertools import cycle
from pathlib import Path

from matplotlib.figure import Figure

from experiments.adaptive.summary import AdaptiveSummary
from experiments.plots import plain, save

# M. Okabe, K. Ito, Color Universal Design, 2008: told apart by those who are color-blind, too.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
_DASHES = ("-", "--", ":")


def curves(summary: AdaptiveSummary, path: Path) -> None:
    """Draw the curve of each selector, the members, their mixtures, and the oracle.

    Parameters
    ----------
    summary : AdaptiveSummary
    path : Path
        The PNG file to write.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    members = [(each.milliseconds, 100 * each.test.value) for each in summary.members]
    axes.plot(*zip(*members, strict=True), "-", color="0.6", linewidth=1, zorder=1)
    axes.plot(*zip(*members, strict=True), "s", color="0.25", markersize=7,
              label="members, and a coin between them")  # fmt: skip
    for each, color, dash in zip(summary.selectors, cycle(_COLORS), cycle(_DASHES), strict=False):
        points = sorted(each.curve[1:-1]) or list(each.curve)
        axes.plot(
            [ms for ms, _ in points], [100 * accuracy for _, accuracy in points],
            f"{dash}." if len(points) > 1 else "D", color=color, linewidth=1.5, markersize=3,
            label=plain(each.name, 30),
        )  # fmt: skip
        axes.plot([each.milliseconds], [100 * each.test.value], "o", color=color, fillstyle="none",
                  markersize=10, markeredgewidth=1.5)  # fmt: skip
    ms, accuracy = summary.oracle
    axes.plot([ms], [100 * accuracy], "*", color="0.25", markersize=12, label="oracle")
    axes.set_xlabel("mean ms an image, one thread")
    axes.set_ylabel("% of the test images right")
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    save(figure, path)
