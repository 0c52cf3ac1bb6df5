"""The results of the comparison of optimizers: as JSON, as tables, and as a figure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy.stats import t

from benchmarks.output import Output
from experiments.tables import table
from slicing.errors import InputError

CONTROL = "random"
"""The optimizer that the others are compared with."""

_GOAL = "at most 30 %"
_CONFIDENCE = 0.95
_DPI = 120
# Colors of Okabe and Ito, whom the color-blind can tell apart, without their yellow, which is
# faint on white; the families differ in their dashes, too.
_LINES = {
    "cmaes": ("#0072b2", "-"),
    "sep_cmaes": ("#56b4e9", "-"),
    "vkd_cmaes": ("#009e73", "-"),
    "deap_cmaes": ("#cc79a7", "-"),
    "deap_ga": ("#e69f00", "-."),
    "pso": ("#d55e00", "--"),
    "pso_local": ("#882255", "--"),
    "random": ("#000000", ":"),
}


@dataclass(frozen=True)
class Case:
    """What all optimizers are given.

    Attributes
    ----------
    name : str
    blocks : list of str
        Names of the blocks, in the order in which they are optimized.
    dim : int
        Coordinates a block.
    generations, evaluations : int
        Of a block, at most.
    seeds : int
        They are 0, 1, ...
    refused : dict of str to int
        Optimizers that take fewer dimensions, and their limits.
    """

    name: str
    blocks: list[str]
    dim: int
    generations: int
    evaluations: int
    seeds: int
    refused: dict[str, int]


@dataclass(frozen=True)
class Run:
    """One optimizer's evolution of a case's blocks.

    Attributes
    ----------
    case, optimizer : str
    seed : int
    loss : float
        Of the network that it ends with.
    evaluations, plugged_in : int
        Evaluations, and blocks that improved the network.
    seconds, optimizer_seconds : float
        Wall clock, and what of it was spent inside the optimizer.
    correct : dict of str to int
        Correct answers, by the number of the first test images.
    curve_evaluations : list of int
        Evaluations, from 0, at some generations and at the end of each block.
    curve_losses : list of float
        The least loss found by then in the block under way; at a block's end, that of the network.
    """

    case: str
    optimizer: str
    seed: int
    loss: float
    evaluations: int
    plugged_in: int
    seconds: float
    optimizer_seconds: float
    correct: dict[str, int]
    curve_evaluations: list[int]
    curve_losses: list[float]


@dataclass(frozen=True)
class Overhead:
    """What some blocks took, each, under the paper's objective.

    Attributes
    ----------
    optimizer : str
    seconds, optimizer_seconds : list of float
        As in `Run`.
    """

    optimizer: str
    seconds: list[float]
    optimizer_seconds: list[float]


@dataclass(frozen=True)
class Network:
    """A network to compare with; ``loss`` is None where it has none, ``correct`` as in `Run`."""

    name: str
    loss: float | None
    correct: dict[str, int]


@dataclass
class Results:
    """All results so far, with those that the file already holds.

    Attributes
    ----------
    command : str
        The command line that gives them.
    origin : dict
        All that the results depend on beside the seeds: settings, machine, versions.
    cases : list of Case
    output : Output or None
        The JSON file that `save` writes.

    Raises
    ------
    InputError
        Where the file holds something else, or results of another origin or other cases.
    """

    command: str
    origin: dict[str, Any]
    cases: list[Case]
    output: Output | None
    networks: list[Network] = field(default_factory=list, init=False)
    runs: list[Run] = field(default_factory=list, init=False)
    overheads: list[Overhead] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.output is None or not self.output.path.exists():
            return
        name = f"{self.output.option} {self.output.path}"
        try:
            content = json.loads(self.output.path.read_text())
            there = content["origin"] | {"cases": content["cases"]}
            self.networks = [Network(**each) for each in content["networks"]]
            self.runs = [Run(**each) for each in content["runs"]]
            self.overheads = [Overhead(**each) for each in content["overheads"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{name} holds something else: name another file.") from error
        for what, here in (self.origin | {"cases": self._cases()}).items():
            if there.get(what) != here:
                raise InputError(
                    f"{name} holds the results of another run, in which {what} differs: name "
                    "another file."
                )

    def save(self) -> None:
        """Write the JSON file, whole or not at all.

        Raises
        ------
        InputError
            Where it cannot be written.
        """
        if self.output is None:
            return
        content = {
            "command": self.command,
            "origin": self.origin,
            "cases": self._cases(),
            "networks": self.networks,
            "overheads": self.overheads,
            "runs": self.runs,
        }
        self.output.write_json(content, indent=2)

    def of(self, case: Case, optimizer: str) -> list[Run]:
        """Return an optimizer's runs of a case, by seed."""
        runs = [run for run in self.runs if (run.case, run.optimizer) == (case.name, optimizer)]
        return sorted(runs, key=lambda run: run.seed)

    def text(self) -> str:
        """Return the results as Markdown."""
        machine = self.origin["machine"]
        parts = [machine["cpu"], f"{self.origin['threads']} threads"]
        parts += [f"{name} {version}" for name, version in self.origin["versions"].items()]
        tables = [self._case_text(case) for case in self.cases if self._has_runs(case)]
        return "\n\n".join([*tables, ", ".join(parts)])

    def figure(self) -> bytes:
        """Draw the losses over the evaluations, a panel a case; return the PNG file."""
        cases = [case for case in self.cases if self._has_runs(case)]
        figure = Figure(figsize=(9, 5 * len(cases)), layout="constrained")
        for axes, case in zip(figure.subplots(len(cases), squeeze=False)[:, 0], cases, strict=True):
            self._draw(axes, case)
        content = BytesIO()
        FigureCanvasAgg(figure).print_png(content)
        return content.getvalue()

    def _cases(self) -> list[dict[str, Any]]:
        return [asdict(case) for case in self.cases]

    def _has_runs(self, case: Case) -> bool:
        return any(run.case == case.name for run in self.runs)

    def _case_text(self, case: Case) -> str:
        first = next(run for run in self.runs if run.case == case.name)
        tests = list(first.correct)
        has_overheads = case.name == "kernel"
        images = f"{self.origin['references']:,}/{self.origin['queries']:,}"
        head = [
            "network",
            *(f"% of {int(n):,} test images" for n in reversed(tests)),
            "loss",
            "loss less random's",
            "evaluations",
            "seconds",
            "% inside",
        ] + [f"% inside, accuracy {images}"] * has_overheads
        rows = []
        for network in self.networks:
            loss = "-" if network.loss is None else f"{network.loss:.4f}"
            shares = [f"{_percent(network.correct, n):.2f}" for n in reversed(tests)]
            rows.append([network.name, *shares, loss])
        for optimizer in _LINES:
            runs = self.of(case, optimizer)
            if optimizer in case.refused:
                rows.append([optimizer, "refused"])
            if runs:
                rows.append(self._row(case, optimizer, runs, tests, has_overheads))
        blocks = "block" if len(case.blocks) == 1 else "blocks"
        lines = [
            f"**{case.name}**: {len(case.blocks)} {blocks} of {case.dim:,} dimensions, "
            f"{case.generations} generations and {case.evaluations:,} evaluations a block at most, "
            f"{case.seeds} seeds; loss ({self.origin['objective']}, {self.origin['protocol']}) on "
            f"{self.origin['references']:,} images, {first.curve_losses[0]:.4f} before evolution",
            "",
            *table(head, [row + ["-"] * (len(head) - len(row)) for row in rows]),
            "",
            "Means over seeds, in brackets their 95 % t intervals; the losses less random search's "
            "are differences at the same seed. Medians of the seconds, and of the part of them "
            f"inside the optimizer: the goal is {_GOAL}.",
        ]
        if case.refused:
            limits = ", ".join(f"{name} more than {most:,}" for name, most in case.refused.items())
            lines.append(f"Refused: {limits} dimensions; the block has {case.dim:,}.")
        return "\n".join(lines)

    def _row(
        self, case: Case, optimizer: str, runs: list[Run], tests: list[str], has_overheads: bool
    ) -> list[str]:
        name = optimizer
        if len(runs) < case.seeds:
            name += f" ({len(runs)} of {case.seeds} seeds)"
        control = {run.seed: run.loss for run in self.of(case, CONTROL)}
        less = [run.loss - control[run.seed] for run in runs if run.seed in control]
        evaluations = [run.evaluations for run in runs]
        shares = [run.optimizer_seconds / run.seconds for run in runs]
        cells = [
            name,
            *(_interval([_percent(run.correct, n) for run in runs], 2) for n in reversed(tests)),
            _interval([run.loss for run in runs], 4),
            "-" if optimizer == CONTROL or not less else _interval(less, 4),
            " to ".join(f"{count:,}" for count in sorted({min(evaluations), max(evaluations)})),
            f"{np.median([run.seconds for run in runs]):,.1f}",
            f"{100 * np.median(shares):.1f}",
        ]
        if has_overheads:
            cells += [
                f"{100 * np.median(np.divide(each.optimizer_seconds, each.seconds)):.1f}"
                for each in self.overheads
                if each.optimizer == optimizer
            ]
        return cells

    def _draw(self, axes: Axes, case: Case) -> None:
        drawn: list[tuple[float, Line2D]] = []
        for optimizer, (color, dashes) in _LINES.items():
            runs = self.of(case, optimizer)
            if not runs:
                continue
            evaluations = sorted({count for run in runs for count in run.curve_evaluations})
            losses = np.array([_losses_at(run, evaluations) for run in runs])
            mean, band = losses.mean(axis=0), (losses.min(axis=0), losses.max(axis=0))
            label = f"{optimizer} {mean[-1]:.4f}"
            (line,) = axes.plot(evaluations, mean, dashes, color=color, linewidth=1.6, label=label)
            axes.fill_between(evaluations, *band, color=color, alpha=0.13, linewidth=0)
            drawn.append((mean[-1], line))
        # In the order in which the lines end.
        drawn.sort(key=lambda each: -each[0])
        axes.legend(
            handles=[line for _, line in drawn], title="final mean loss", loc="center left",
            bbox_to_anchor=(1.0, 0.5), frameon=False,
        )  # fmt: skip
        blocks = f"{len(case.blocks)} kernels" if case.name == "kernel" else case.blocks[0]
        axes.set_title(
            f"{blocks}: least loss so far in a block, then that of what it hands over\n"
            f"(mean over {case.seeds} seeds, bands from the least to the greatest)",
            fontsize="medium",
        )
        axes.set_xlabel("evaluations")
        axes.set_ylabel(f"loss ({self.origin['objective']}, {self.origin['protocol']})")
        axes.set_xlim(left=0)
        axes.spines[["top", "right"]].set_visible(False)


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean, and Student's 95 % interval of it; NaN for one value alone.

    Parameters
    ----------
    values : sequence of float
        Independent ones.

    Returns
    -------
    mean, low, high : float
    """
    mean, n = float(np.mean(values)), len(values)
    if n == 1:
        return mean, float("nan"), float("nan")
    error = float(np.std(values, ddof=1)) / np.sqrt(n)
    half = float(t.ppf((1 + _CONFIDENCE) / 2, n - 1)) * error
    return mean, mean - half, mean + half


def _interval(values: Sequence[float], digits: int) -> str:
    mean, low, high = mean_interval(values)
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _percent(correct: dict[str, int], test: str) -> float:
    return 100 * correct[test] / int(test)


def _losses_at(run: Run, evaluations: Sequence[int]) -> NDArray[np.float64]:
    """Return a run's losses at other evaluations than those of its curve: the last ones by then."""
    index = np.searchsorted(run.curve_evaluations, evaluations, side="right") - 1
    return np.array(run.curve_losses)[index]
