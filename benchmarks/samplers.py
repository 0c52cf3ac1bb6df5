"""The samplers of a study at equal numbers of trials: ``python -m benchmarks.samplers``.

Each proposes trials of a space of which all were tried before, by `benchmarks.trial_tables`: a
trial is looked up, so that many runs with other seeds take minutes. The accuracy on the choice
images decides what is best so far, and that on the test images is reported beside it. No trial is
given first, and none is pruned. Drawing by chance is the control. Runs that the file of results has
are not repeated.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import optuna
from scipy.stats import bootstrap, mannwhitneyu

from benchmarks.machine import command_line, origin
from benchmarks.output import Output
from benchmarks.trial_tables import SPACES, Table, key, read
from evolve.executors import SerialExecutor
from evolve.trials import PROPOSERS, Budget, Search, Space, Task, Tried, proposer, pruner
from evolve.trials.storage import open_study
from experiments.console import exit_on_mistake, say
from experiments.study.objectives import Objectives
from experiments.tables import table
from slicing.errors import InputError

TABLES = Path(__file__).parent / "results/trial_tables.json"
CONTROL, _FIXED = "random", "grid"
# A difference with a smaller p-value is more than chance; the smallest that is written as it is.
_CHANCE, _LEAST = 0.05, 0.0001


@dataclass(frozen=True)
class Run:
    """A search.

    Attributes
    ----------
    space, sampler : str
    seed : int
    trials : int
        That it had: fewer than it might where nothing was left.
    overhead : float
        Seconds that the sampler and the keeping of trials took.
    found : sequence of (int, int, int)
        Where the best so far became better: the trial, from 1, and how many choice and test images
        it classifies correctly.
    """

    space: str
    sampler: str
    seed: int
    trials: int
    overhead: float
    found: Sequence[Sequence[int]]

    def best(self, trials: int) -> Sequence[int]:
        """Give the right choice and test images of the best of the first trials."""
        return [each for each in self.found if each[0] <= trials][-1][1:]


def search(space: str, sampler: str, seed: int, trials: int, tried: Table) -> Run:
    """Search in a space all of which was tried."""
    family = SPACES[space]

    def work(task: Task) -> Tried:
        name = key(space, task.options)
        accuracy = tried.choice[name] / tried.n_choice
        return Tried(metrics={"accuracy": accuracy}, details={"name": name})

    whole, found, number = Space({space: family}), list[Sequence[int]](), 0
    with tempfile.TemporaryDirectory() as folder:
        going = Search(
            open_study(Path(folder) / "journal.jsonl", "study", 1), whole,
            proposer(sampler, whole, seed), SerialExecutor(), work, Objectives(),
            Budget(trials=trials), pruner=pruner("none", 1),
        )  # fmt: skip
        for number, each in enumerate(going, 1):
            trial = each.details["name"]
            if not found or tried.choice[trial] > found[-1][1]:
                found.append((number, tried.choice[trial], tried.test[trial]))
    return Run(space, sampler, seed, number, going.overhead, found)


@dataclass(frozen=True)
class Results:
    """The runs in a space.

    Attributes
    ----------
    space : str
    tried : Table
    budgets : sequence of int
        Numbers of trials, ascending.
    runs : sequence of Run
    """

    space: str
    tried: Table
    budgets: Sequence[int]
    runs: Sequence[Run]

    def text(self) -> str:
        """Write the table, and in sentences what beats chance."""
        last = self.budgets[-1]
        names = [name for name in PROPOSERS if self._of(name)]
        names.sort(key=lambda name: -mean(self._percents(name, last)))
        header = ["sampler", "runs", *(f"after {n} trials" for n in self.budgets)]
        header += [f"p, after {last}", "% of the test images", "ms a trial"]
        body, p = [], self.p_values(last)
        for name in names:
            runs = self._of(name)
            tests = [100 * run.best(last)[1] / self.tried.n_test for run in runs]
            body.append(
                [
                    name,
                    str(len(runs)),
                    *(_interval(self._percents(name, n)) for n in self.budgets),
                    _written(p.get(name)),
                    f"{mean(tests):.2f}",
                    f"{mean(1000 * run.overhead / run.trials for run in runs):.1f}",
                ]
            )
        most = max(self.tried.choice.values())
        n_best = sum(right == most for right in self.tried.choice.values())
        lines = [
            f"{len(self.tried.choice):,} trials; the best {n_best} of them have "
            f"{100 * most / self.tried.n_choice:.2f} % of the {self.tried.n_choice} choice images.",
            *(self._verdict(n) for n in self.budgets),
        ]
        return "\n".join([*table(header, body), "", *(f"- {line}" for line in lines)])

    def p_values(self, trials: int) -> dict[str, float]:
        """Compare each sampler that draws with the control, after so many trials.

        Returns
        -------
        dict of str to float
            Mann and Whitney's p, two-sided, with Holm's correction for as many comparisons.
        """
        control, raw = self._percents(CONTROL, trials), dict[str, float]()
        for name in PROPOSERS:
            percents = self._percents(name, trials)
            if name not in (CONTROL, _FIXED) and len(percents) > 1 and len(control) > 1:
                raw[name] = float(mannwhitneyu(percents, control).pvalue)
        corrected, largest = dict[str, float](), 0.0
        for place, (name, p) in enumerate(sorted(raw.items(), key=lambda each: each[1])):
            largest = max(largest, min(1.0, (len(raw) - place) * p))
            corrected[name] = largest
        return corrected

    def _verdict(self, trials: int) -> str:
        apart = [name for name, p in self.p_values(trials).items() if p < _CHANCE]
        control = mean(self._percents(CONTROL, trials)) if self._of(CONTROL) else 0.0
        better = [name for name in apart if mean(self._percents(name, trials)) > control]
        worse = [name for name in apart if name not in better]
        return (
            f"After {trials} trials better than chance: {', '.join(better) or 'none'}; "
            f"worse: {', '.join(worse) or 'none'}."
        )

    def _of(self, sampler: str) -> list[Run]:
        return [each for each in self.runs if (each.space, each.sampler) == (self.space, sampler)]

    def _percents(self, sampler: str, trials: int) -> list[float]:
        """Give the shares of the choice images, in percent, of the best of so many trials."""
        return [100 * run.best(trials)[0] / self.tried.n_choice for run in self._of(sampler)]


def _written(p: float | None) -> str:
    """Write a p-value."""
    if p is None:
        return "-"
    return f"{p:.4f}" if p >= _LEAST else f"< {_LEAST}"


def _interval(percents: Sequence[float]) -> str:
    """Write the mean and the 95 % interval of it that resampling the runs gives."""
    middle = mean(percents)
    if len({*percents}) < 2:
        return f"{middle:.2f}"
    found = bootstrap(
        (percents,), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    return f"{middle:.2f} ({found.low:.2f} to {found.high:.2f})"


def report(
    runs: Sequence[Run], tables: Mapping[str, Table], space: str, budgets: Sequence[int]
) -> str:
    """Write the results of a space."""
    return Results(space, tables[space], budgets, runs).text()


def main(words: Sequence[str] | None = None) -> None:
    """Search as often as is missing, and print the tables."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.samplers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--tables", type=Path, default=TABLES, help="what benchmarks.trial_tables has written")
    add("--spaces", nargs="+", choices=[*SPACES], default=[*SPACES])
    add("--samplers", nargs="+", choices=[*PROPOSERS], default=[*PROPOSERS])
    add("--trials", nargs="+", type=int, default=[10, 20, 40, 80], metavar="N",
        help="after how many trials the samplers are compared; default: 10 20 40 80")  # fmt: skip
    add("--seeds", type=int, default=30, help="default: %(default)s; the grid has no chance")
    add("--json", type=Path, help="the file of results, which is added to")
    options = parser.parse_args(words)
    with exit_on_mistake():
        _run(options, command_line("benchmarks.samplers", words))


def _run(options: argparse.Namespace, command: str) -> None:
    if options.seeds < 1 or min(options.trials) < 1:
        raise InputError("--seeds and --trials are 1 or more.")
    if not options.tables.is_file():
        raise InputError(
            f"{options.tables} is no file: make it, python -m benchmarks.trial_tables --json "
            f"{options.tables}."
        )
    output = None if options.json is None else Output("--json", options.json)
    tables, budgets, runs = read(options.tables), sorted(options.trials), list[Run]()
    if output is not None and output.path.exists():
        content = json.loads(output.path.read_text())
        if content["budgets"] != budgets:
            raise InputError(
                f"{output.path} has --trials {' '.join(map(str, content['budgets']))}: give the "
                "same, or another file."
            )
        runs = [Run(**each) for each in content["runs"]]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = {(each.space, each.sampler, each.seed) for each in runs}
    for space in options.spaces:
        for seed in range(options.seeds):
            for sampler in options.samplers:
                if (space, sampler, seed) in known or (sampler == _FIXED and seed):
                    continue
                runs.append(search(space, sampler, seed, budgets[-1], tables[space]))
            if output is not None:
                output.write_json({**origin(command), "budgets": budgets,
                                   "runs": [asdict(each) for each in runs]})  # fmt: skip
            say(f"{space}: {seed + 1} of {options.seeds} seeds")
    for space in options.spaces:
        print(f"**{space}**\n\n{report(runs, tables, space, budgets)}\n")


if __name__ == "__main__":
    main()
