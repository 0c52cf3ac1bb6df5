"""Who tries the trials of a study, in processes of their own, with the options that all share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evolve.executors.supervised import Fallen, Supervised
from evolve.trials import Task, Tried
from experiments.environment import cores
from experiments.making import Options
from experiments.study.ending import Remaking, Testing
from experiments.study.plan import Plan
from experiments.study.trial import Trial
from slicing.memory import available

LOG = "workers.log"
"""File in the folder of a study: what the libraries of its workers print."""

# Of the command line of a study, what a run takes, too.
_OF_RUNS = ("data", "seed", "max_gigabytes")


def n_workers(options: Options) -> int:
    """Say how many trials run at once."""
    executor = options["executor"]
    return int(executor.get("workers") or cores()) if "workers" in executor else 1


def of_runs(options: Options, overrides: Sequence[str]) -> list[str]:
    """Give the words of a study's command line that a run takes, too."""
    threads = options["threads"] or max(1, cores() // n_workers(options))
    words = [word for word in overrides if group_of(word) in _OF_RUNS]
    if not any(word.startswith("data=") for word in words):
        words.insert(0, "data=folder")
    return [*words, f"threads={threads}"]


def group_of(word: str) -> str:
    """Give the group of an option on a command line."""
    return word.lstrip("+").partition("=")[0].partition(".")[0]


def work_of(
    options: Options, overrides: Sequence[str], plan: Plan, folder: Path
) -> Supervised[Any, Tried]:
    """Make what tries trials, and what the end of a study wants, in processes of their own."""
    judged = {name: each.judged for name, each in plan.space.families.items()}
    words = [*of_runs(options, overrides), "data.calibration_fraction=0", "tracking.model=false"]
    free, _ = available()
    gigabytes = options["limits"]["trial_gigabytes"] or 0.9e-9 * free / n_workers(options)
    trial = Trial(words, folder, plan.roles, judged, plan.objectives.limits, gigabytes)
    return Supervised(trial, _fallen, _time_of, int(1e9 * gigabytes), log=folder / LOG)


def _time_of(task: Task | Testing | Remaking) -> float | None:
    return task.seconds


def _fallen(fallen: Fallen) -> Tried:
    return Tried(fallen.kind, fallen.reason)
