"""A study, from the look at its images to its report."""

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig, OmegaConf

from evolve.executors.supervised import Fallen, Supervised
from evolve.trials import Budget, Finished, Search, Task, Tried, finished, proposer, pruner
from evolve.trials.results import TRIED
from evolve.trials.storage import open_study
from experiments.components import Components
from experiments.dead_runs import has_ended, this_process
from experiments.environment import cores
from experiments.folders import made_for_output
from experiments.monitor import Monitor
from experiments.schema.run import plain
from experiments.secrets import masked_values
from experiments.statistics import Accuracy
from experiments.study.ending import WINNER, Ending
from experiments.study.objectives import Limits, Objectives, described
from experiments.study.roles import Roles
from experiments.study.spaces import can_be_tried, families
from experiments.study.summary import SUMMARY, StudySummary
from experiments.study.trial import ENGINE_OF_TRIAL, Trial, folder_of, words_of
from experiments.tables import percent
from slicing.errors import InputError
from slicing.memory import available

log = logging.getLogger(__name__)

JOURNAL, ENGINE, CONFIG = "journal.jsonl", "engine.safetensors", "config.yaml"
"""Files in the folder of a study: its trials, the best engine so far, its options."""

# Of the command line of a study, what a run takes, too.
_OF_RUNS = ("data", "seed", "max_gigabytes")
# Seconds for the report, and of a run for what a trial does not do: figures, report, copies.
_REPORT, _OF_RUN = 4.0, 15.0


@dataclass
class Clock:
    """The time that a study has: what has passed, and what is left.

    Attributes
    ----------
    seconds : float or None
        The whole; None: any.
    begun : float
        When it began, as :func:`time.monotonic` has it.
    """

    seconds: float | None
    begun: float = field(default_factory=time.monotonic)

    @property
    def passed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.begun

    @property
    def left(self) -> float | None:
        """Seconds that are left; None: any."""
        return None if self.seconds is None else self.seconds - self.passed


def study(
    config: DictConfig, overrides: Sequence[str], monitor: Monitor, begun: float
) -> StudySummary:
    """Search for the best classifier of some images.

    Parameters
    ----------
    config : DictConfig
        Of the schema :class:`experiments.schema.study.Study`.
    overrides : sequence of str
        The command line.
    monitor : Monitor
    begun : float
        When the program began, as :func:`time.monotonic` has it.

    Returns
    -------
    StudySummary

    Raises
    ------
    InputError
    """
    options = plain(config)
    clock = Clock(_seconds(options["budget"]), begun)
    objectives = Objectives(tuple(options["objectives"]), _limits(options["limits"]))
    roles = Roles(options["choice_fraction"], options["folds"], options["seed"])
    # What is there to be tried is known without its images.
    context = {"files": "image_size" in options["data"]}
    space, left_out = can_be_tried(families(options["space"]), context)
    propose = proposer(options["sampler"], space, options["seed"], options["population"])
    prune = pruner(options["pruner"], max(each.n_rungs for each in space.families.values()))
    components = Components({**options, "data": {**options["data"]}}, {})
    dataset = components.dataset()
    n_folds = roles.n_folds(dataset)
    folder = Path(options["resume"] or made_for_output(options["output"])).absolute()
    OmegaConf.save(OmegaConf.create(masked_values(options)), folder / CONFIG)
    for note in (_described(dataset, n_folds, roles), *dataset.notes, *left_out):
        monitor.say(note)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kept = open_study(
        options["storage"] or folder / JOURNAL, options["name"] or "study", len(objectives.names)
    )
    executor = components._executor()
    workers = getattr(executor, "_wanted", 1)
    words = _of_runs(overrides, options, max(1, (options["threads"] or cores()) // workers))
    trial = Trial(words, folder, roles, {name: f.judged for name, f in space.families.items()})
    work = Supervised[Any, Tried](trial, _fallen, _time_of, _bytes_of(options["limits"], workers))
    search = Search(
        kept, space, propose, executor, work, objectives,
        Budget(_minus(clock.seconds, clock.passed), options["budget"]["trials"],
               _target(options["budget"])),
        pruner=prune, starts=_starts(space), workers=workers, process=this_process(),
        # Nobody else writes to the file in its folder.
        has_ended=has_ended if options["storage"] else lambda name: True,
        reserve=lambda: _reserve(clock, objectives.best(finished(kept))),
    )  # fmt: skip
    best: Finished | None = objectives.best(finished(kept))
    with monitor.task("study"):
        for each in search:
            found = objectives.best(finished(kept))
            if found is not None and found != best:
                best = found
                _keep(folder_of(folder, best.number) / ENGINE_OF_TRIAL, folder / ENGINE)
            _tidy(folder, objectives, finished(kept))
            monitor.show(_done(clock, each, options["budget"]), _line(each, best))
    summary = _ended(
        search, kept, objectives, clock, folder, words, work, dataset, n_folds, left_out, monitor
    )
    summary.write(folder / SUMMARY)
    work.close()
    return summary


def _ended(
    search: Search,
    kept: optuna.Study,
    objectives: Objectives,
    clock: Clock,
    folder: Path,
    words: Sequence[str],
    work: Supervised[Any, Tried],
    dataset: Any,
    n_folds: int,
    left_out: Sequence[str],
    monitor: Monitor,
) -> StudySummary:
    """Test the winner, and make it again where there is time."""
    trials = finished(kept)
    winner = objectives.best(trials)
    if winner is None:
        reasons = [each.reason for each in trials if each.reason]
        raise InputError(
            "No trial has given an engine that keeps the limits: "
            + (f"{reasons[-1]} " if reasons else "")
            + f"Give more time (resume={folder} budget.minutes=...), or wider limits."
        )
    run_words = (*words, *words_of(winner.options))
    engine = folder / ENGINE
    monitor.say("Testing the winner on the test images")
    tested = work(Ending(run_words, folder / WINNER, engine, refit=False))
    if tested.status != TRIED:
        raise InputError(f"The winner could not be tested: {tested.reason}")
    total = int(tested.details["total"])
    as_tried = Accuracy(int(tested.details["right"]), total)
    refit, why_not = None, ""
    left, needed = clock.left, _refit_seconds(winner)
    if search.ended == "interrupted" or (left is not None and left < needed + _REPORT):
        why_not = "there was no time to make it again from all training images"
    else:
        monitor.say("Making the winner again from all training images")
        shutil.rmtree(folder / WINNER, ignore_errors=True)
        seconds = None if left is None else max(left - _REPORT, needed)
        again = work(Ending(run_words, folder / WINNER, engine, refit=True, seconds=seconds))
        if again.status == TRIED:
            refit = Accuracy(int(again.details["right"]), total)
            _keep(folder / WINNER / ENGINE, engine)
        else:
            why_not = f"making it again failed: {again.reason}"
    return StudySummary(
        dataset=dataset.name,
        classes=tuple(dataset.classes),
        n_train=len(dataset.train),
        folds=n_folds,
        objectives=objectives.names,
        ended=search.ended,
        seconds=clock.passed,
        overhead=search.overhead,
        trials=tuple(trials),
        winner=winner.number,
        front=tuple(each.number for each in objectives.front(trials)),
        as_tried=as_tried,
        refit=refit,
        why_not_refit=why_not,
        left_out=tuple(left_out),
        command=run_words,
        folder=str(folder),
    )


def _seconds(budget: Mapping[str, Any]) -> float | None:
    """Give the seconds that minutes and money allow."""
    money, price, minutes = (budget[name] for name in ("money", "price_per_hour", "minutes"))
    for name in ("minutes", "money", "price_per_hour"):
        if budget[name] is not None and not budget[name] > 0:
            raise InputError(f"budget.{name}={budget[name]} is out of range: choose more than 0.")
    if (money is None) != (price is None):
        raise InputError(
            "budget.money and budget.price_per_hour belong together: give both, or neither."
        )
    limits = [60 * minutes] if minutes is not None else []
    if money is not None:
        limits.append(3600 * money / price)
    return min(limits, default=None)


def _target(budget: Mapping[str, Any]) -> float | None:
    target = budget["target_accuracy"]
    if target is None:
        return None
    if not 0 < target <= 1:
        raise InputError(f"budget.target_accuracy={target} is no share: choose 0.98 for 98 %.")
    return 1.0 - float(target)


def _limits(limits: Mapping[str, Any]) -> Limits:
    return Limits(limits["bytes"], limits["parameters"], limits["milliseconds"])


def _bytes_of(limits: Mapping[str, Any], workers: int) -> int:
    if limits["trial_gigabytes"] is not None:
        return int(1e9 * limits["trial_gigabytes"])
    free, _ = available()
    return int(0.9 * free / workers)


def _minus(whole: float | None, part: float) -> float | None:
    return None if whole is None else max(whole - part, 0.1)


def _of_runs(overrides: Sequence[str], options: Mapping[str, Any], threads: int) -> list[str]:
    words = [word for word in overrides if word.lstrip("+").split("=")[0].split(".")[0] in _OF_RUNS]
    if not any(word.startswith("data=") for word in words):
        words.insert(0, "data=folder")
    return [*words, f"threads={threads}", "tracking.model=false"]


def _starts(space: Any) -> list[tuple[str, dict[str, Any]]]:
    """Give what is tried first: of each family the first of its starts, then the others."""
    by_family = [[(f.name, s) for s in f.starts(space.context)] for f in space.families.values()]
    longest = max(map(len, by_family))
    return [each[place] for place in range(longest) for each in by_family if place < len(each)]


def _time_of(task: Task | Ending) -> float | None:
    return task.seconds


def _fallen(fallen: Fallen) -> Tried:
    return Tried(fallen.kind, fallen.reason)


def _refit_seconds(winner: Finished) -> float:
    """Estimate the time of a run with all training images, from that of the trial."""
    folds = max(len(winner.details["folds"]), 1)
    return 1.4 * winner.metrics["seconds"] / folds + _OF_RUN


def _reserve(clock: Clock, best: Finished | None) -> float:
    """Give the seconds that the end takes; in a short budget there is no time to make it again."""
    assert clock.seconds is not None
    again = 0.0 if best is None else _refit_seconds(best)
    return _REPORT + (again if again < clock.seconds / 3 else 0.0)


def _keep(source: Path, target: Path) -> None:
    """Put a copy of a file in the place of another, whole at any time."""
    part = target.with_suffix(".part")
    shutil.copyfile(source, part)
    part.replace(target)


def _tidy(folder: Path, objectives: Objectives, trials: Sequence[Finished]) -> None:
    """Delete the engines of trials that nobody will want."""
    wanted = {each.number for each in objectives.front(trials)}
    for each in trials:
        if each.number not in wanted:
            (folder_of(folder, each.number) / ENGINE_OF_TRIAL).unlink(missing_ok=True)


def _described(dataset: Any, folds: int, roles: Roles) -> str:
    judged = f"{roles.fraction:.0%} of them judge the trials"
    if folds > 1:
        judged = f"each trial is tried {folds} times, and each time other ones judge it"
    return (
        f"{dataset.name}: {len(dataset.classes)} classes, {len(dataset.train):,} training images; "
        f"{judged}"
    )


def _done(clock: Clock, each: Finished, budget: Mapping[str, Any]) -> float:
    shares = [0.0]
    if clock.seconds is not None:
        shares.append(clock.passed / clock.seconds)
    if budget["trials"] is not None:
        shares.append((each.number + 1) / budget["trials"])
    return min(max(shares), 1.0)


def _line(each: Finished, best: Finished | None) -> str:
    what = f"trial {each.number}, {each.family} ({described(each.options)})"
    came = (
        percent(_accuracy(each)) + " %" if each.status == TRIED else f"{each.status}: {each.reason}"
    )
    so_far = "" if best is None else f"; best {percent(_accuracy(best))} % by {best.family}"
    return f"{what}: {came}{so_far}"


def _accuracy(each: Finished) -> Accuracy:
    return Accuracy(int(each.details["correct"]), int(each.details["total"]))
