"""What a study says while it is at work."""

from collections.abc import Container, Sequence
from typing import Any

from evolve.trials import Finished
from evolve.trials.results import SKIPPED, TRIED, Task
from experiments.study.objectives import accuracy_of, described
from experiments.study.roles import Roles
from experiments.tables import percent
from slicing.data.dataset import Dataset
from slicing.names import counted


def begins(dataset: Dataset[Any], roles: Roles, n_folds: int) -> str:
    """Say which images there are, and which of them judge the trials."""
    judged = f"{100 * roles.fraction:.0f} % of them judge the trials"
    if n_folds > 1:
        judged = f"each trial is tried {n_folds} times, and each time others judge it"
    return (
        f"{dataset.name}: {len(dataset.classes)} classes, {len(dataset.train):,} training images; "
        f"{judged}"
    )


def ended(each: Finished, known: Container[str]) -> str:
    """Say what came of a trial, without the options that are known."""
    came = f"{percent(accuracy_of(each))} % right" if each.status == TRIED else each.reason
    return f"Trial {each.number}, {each.family} {described(each.options, known)}: {came}"


def so_far(trials: Sequence[Finished], best: Finished | None, task: Task | None) -> str:
    """Say how many trials there are, which is the best, and what began last."""
    said = []
    n_tried = counted(sum(each.status != SKIPPED for each in trials), "trial")
    if best is not None:
        said.append(f"the best of {n_tried}: {percent(accuracy_of(best))} % by {best.family}")
    elif trials:
        said.append(f"{n_tried}, none has given an engine")
    if task is not None:
        again = ", more of it" if task.rung else ""
        said.append(f"trial {task.number}, {task.family}{again}")
    return "; ".join(said)
