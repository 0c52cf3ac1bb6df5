"""Figures of a study."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullLocator

from evolve.trials.results import Finished
from experiments.plots import plain, save
from experiments.study.cells import fallen, ranked
from experiments.study.objectives import accuracy_of
from slicing.baselines import Epoch

# M. Okabe, K. Ito, Color Universal Design, 2008: told apart by those who are color-blind, too.
# There are more markers than colors, so that families beyond the palette still look different.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "0.3")
_MARKERS = "osD^vP*X"
_FRONT, _WINNER = "0.35", "#D55E00"


def timeline(trials: Sequence[Finished], families: Sequence[str], winner: int, path: Path) -> None:
    """Draw the accuracy of the trials over the time of the search, and the best so far.

    Parameters
    ----------
    trials : sequence of Finished
        One at least that was judged.
    families : sequence of str
        In the order of their colors.
    winner : int
        Number of a trial.
    path : Path
        The PNG file to write.
    """
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    minutes = _minutes(trials)
    for name, color, marker in _styles(families):
        own = [each for each in ranked(trials) if each.family == name]
        x, y = [minutes[each.number] for each in own], [100 * _accuracy(each) for each in own]
        if own:
            axes.plot(x, y, marker, color=color, markersize=7, label=plain(name, 30), linestyle="")
    in_time = sorted(ranked(trials), key=lambda each: minutes[each.number])
    engines = [each for each in in_time if each.is_engine]
    best = np.maximum.accumulate([100 * _accuracy(each) for each in engines])
    ends = [minutes[each.number] for each in engines]
    last = max(minutes.values())
    axes.step(
        [*ends, last], [*best, best[-1]], where="post", color=_FRONT, label="the best engine so far"
    )
    failed = [minutes[each.number] for each in fallen(trials)]
    if failed:
        axes.plot(
            failed, [0.02] * len(failed), "|", color="0.3", markersize=10, label="failed",
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    _mark(axes, [(minutes[each.number], each) for each in engines if each.number == winner])
    axes.set_xlim(left=0)
    axes.set_xlabel("minutes of the search")
    _finish(figure, [axes], path)


def front(
    trials: Sequence[Finished],
    families: Sequence[str],
    best: Sequence[int],
    winner: int,
    path: Path,
) -> None:
    """Draw the accuracy of the trials against their bytes and their milliseconds.

    Parameters
    ----------
    trials : sequence of Finished
    families : sequence of str
        In the order of their colors.
    best : sequence of int
        Numbers of those that none beats.
    winner : int
    path : Path
        The PNG file to write.
    """
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    judged = ranked(trials)
    for axes, what, unit in zip(panels, ("bytes", "milliseconds"), ("B", ""), strict=True):
        axes.set_xscale("log")
        for name, color, marker in _styles(families):
            for is_best in (False, True):
                own = [e for e in judged if e.family == name and (e.number in best) == is_best]
                axes.plot(
                    [e.metrics[what] for e in own], [100 * _accuracy(e) for e in own], marker,
                    color=color, linestyle="", fillstyle="full" if is_best else "none",
                    markersize=8 if is_best else 6,
                )  # fmt: skip
            if axes is panels[0] and any(each.family == name for each in judged):
                axes.plot([], [], marker, color=color, linestyle="", label=plain(name, 30))
        _mark(axes, [(each.metrics[what], each) for each in judged if each.number == winner])
        values = [each.metrics[what] for each in judged]
        axes.set_xlim(min(values) / 1.5, 1.5 * max(values))
        is_wide = max(values) > 5 * min(values)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3) if is_wide else (1, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(EngFormatter(unit) if unit else "{x:g}")
        axes.set_xlabel(what if unit else "ms an image")
    _finish(figure, panels, path)


def training(epochs: Sequence[Epoch], choice: Mapping[str, float], path: Path) -> None:
    """Draw a training over its epochs, with what came of it on the choice images.

    Parameters
    ----------
    epochs : sequence of Epoch
        One at least, in their order.
    choice : mapping of str to float
        Accuracies on the choice images after the last epoch, 0 to 1, by what has them.
    path : Path
        The PNG file to write.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    numbers = range(1, len(epochs) + 1)
    left.plot(numbers, [each.loss for each in epochs], "o-", color=_COLORS[0])
    losses = [_number(each.choice_loss) for each in epochs]
    if not np.isnan(losses).all():
        left.plot(numbers, losses, "s--", color=_COLORS[1])
        shares = [100 * _number(each.choice_accuracy) for each in epochs]
        right.plot(
            numbers, shares, "s--", color=_COLORS[1], label="network, images it did not learn from"
        )
    left.set_ylabel("loss")
    right.plot(
        numbers, [100 * each.accuracy for each in epochs], "o-", color=_COLORS[0],
        label="network, training images",
    )  # fmt: skip
    for (name, share), color, marker in zip(
        choice.items(), _COLORS[2:], _MARKERS[2:], strict=False
    ):
        right.plot([len(epochs)], [100 * share], marker, color=color, label=name, markersize=8)
    right.set_ylabel("% right")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epochs")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    save(figure, path)


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _minutes(trials: Sequence[Finished]) -> dict[int, float]:
    """Give the minutes of the search at which trials ended, without the time between sessions."""
    found, passed, last = dict[int, float](), 0.0, -np.inf
    for each in sorted(trials, key=lambda each: each.ended):
        passed += each.ended - max(each.ended - each.seconds, last)
        last = each.ended
        found[each.number] = passed / 60
    return found


def _accuracy(each: Finished) -> float:
    return accuracy_of(each).value


def _styles(families: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    return zip(families, islice(cycle(_COLORS), len(families)), cycle(_MARKERS), strict=False)


def _mark(axes: Axes, found: Sequence[tuple[float, Finished]]) -> None:
    """Draw a ring around the winner."""
    for x, each in found:
        axes.plot(
            [x], [100 * _accuracy(each)], "o", markersize=15, markeredgewidth=2, color=_WINNER,
            fillstyle="none", linestyle="", label="the winner" if axes.get_ylabel() == "" else "",
        )  # fmt: skip


def _finish(figure: Figure, panels: Sequence[Axes], path: Path) -> None:
    panels[0].set_ylabel("% of the choice images right")
    for axes in panels:
        axes.grid(axis="y", color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4,
                  frameon=False)  # fmt: skip
    save(figure, path)
