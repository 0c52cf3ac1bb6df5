"""The figures of a study: what ECharts is told."""

from collections.abc import Sequence
from typing import Any

from experiments.app.pages.progress import Progress, Trial

# Readable on light and on dark, and told apart by those who see few colors: Okabe and Ito, 2008.
_COLORS = ["#009e73", "#e69f00", "#56b4e9", "#cc79a7", "#d55e00", "#0072b2", "#8a8a00"]
_SOFT = "#7f8a90"
_AXIS = {
    "nameTextStyle": {"color": _SOFT},
    "axisLabel": {"color": _SOFT},
    "splitLine": {"lineStyle": {"color": "#7f8a9033"}},
    "nameLocation": "middle",
    "nameGap": 30,
}
# The fields of an epoch, as they are recorded.
_CURVES = ("loss", "% right", "loss, choice images", "% right, choice images")
_GRID = {"left": 55, "right": 20, "top": 30, "bottom": 45}


def best_over_time(progress: Progress) -> dict[str, Any]:
    """Draw the best accuracy over time, with its interval."""
    bests = progress.bests()
    last = progress.trials[-1].minutes if progress.trials else 0.0
    times = [each.minutes for each in bests]
    lines: dict[str, list[float]] = {"best": [], "low": [], "band": []}
    for each in bests:
        low, high = each.accuracy.interval()
        lines["best"].append(100 * each.accuracy.value)
        lines["low"].append(100 * low)
        lines["band"].append(100 * (high - low))
    if bests:
        times.append(last)
        for values in lines.values():
            values.append(values[-1])

    def line(name: str, values: list[float], **more: Any) -> dict[str, Any]:
        points = [[round(x, 3), round(y, 2)] for x, y in zip(times, values, strict=True)]
        look = {"type": "line", "step": "end", "color": _COLORS[0]}
        return {"name": name, "data": points, **look, **more}

    hidden = {"symbol": "none", "lineStyle": {"opacity": 0}, "stack": "interval", "silent": True}
    return {
        "animation": False,
        "color": _COLORS,
        "grid": _GRID,
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "value", "name": "minutes", **_AXIS},
        "yAxis": {"type": "value", "name": "% right", "scale": True, "max": 100, **_AXIS},
        "series": [
            line("at least", lines["low"], **hidden),
            line("to", lines["band"], **hidden, areaStyle={"opacity": 0.18}),
            line("best so far", lines["best"], lineStyle={"width": 2.5}),
        ],
    }


def parallel(trials: Sequence[Trial]) -> dict[str, Any]:
    """Draw each trial as a line across its figures."""
    families = sorted({each.family for each in trials})
    names = ["family", "% right", "kB", "ms an image", "s to try"]
    axes: list[dict[str, Any]] = [{"dim": n, "name": name} for n, name in enumerate(names)]
    axes[0] |= {"type": "category", "data": families}
    axes[1] |= {"scale": True}
    axes[2] |= {"type": "log"}
    series = [
        {
            "name": family,
            "type": "parallel",
            "lineStyle": {"width": 2, "opacity": 0.7},
            "data": [
                [
                    each.family,
                    round(100 * each.accuracy.value, 2),
                    round(each.bytes / 1000, 1),
                    round(each.milliseconds, 3),
                    round(each.seconds, 1),
                ]
                for each in trials
                if each.family == family
            ],
        }
        for family in families
    ]
    soft = {"color": _SOFT}
    return {
        "animation": False,
        "color": _COLORS,
        "parallel": {
            "left": 70,
            "right": 45,
            "top": 35,
            "bottom": 20,
            "parallelAxisDefault": {"nameTextStyle": soft, "axisLabel": soft},
        },
        "parallelAxis": axes,
        "series": series,
    }


def training(trial: Trial) -> dict[str, Any]:
    """Draw losses and accuracies of a network over its epochs, with choice images where known."""
    series = []
    for name, values in zip(_CURVES, zip(*trial.training, strict=True), strict=False):
        if all(each is None for each in values):
            continue
        is_loss = "loss" in name
        points = [each if is_loss or each is None else 100 * each for each in values]
        series.append({"name": name, "type": "line", "data": points, "yAxisIndex": 1 - is_loss})
    right = {"type": "value", "scale": True, **_AXIS}
    return {
        "animation": False,
        "color": _COLORS,
        "grid": {**_GRID, "right": 55, "top": 55},
        "tooltip": {"trigger": "axis"},
        "legend": {"textStyle": {"color": _SOFT}, "top": 0},
        "xAxis": {
            "type": "category",
            "data": [*range(1, len(trial.training) + 1)],
            "name": "epoch",
            **_AXIS,
        },
        "yAxis": [{**right, "name": "loss"}, {**right, "name": "% right"}],
        "series": series,
    }
