"""A study, from the look at its images to its report."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig, OmegaConf

from evolve.checkpoint import Checkpoint
from evolve.executors.supervised import Fallen, Supervised
from evolve.trials import Budget, Finished, Search, Space, Task, Tried, finished
from evolve.trials import proposer as proposer_of
from evolve.trials import pruner as pruner_of
from evolve.trials.proposers import Proposer
from evolve.trials.pruning import Pruner
from evolve.trials.results import TRIED
from evolve.trials.storage import open_study
from experiments.components import Components
from experiments.dead_runs import has_ended, this_process
from experiments.environment import cores, machine, versions
from experiments.folders import made_for_output, remove_if_only
from experiments.making import Options
from experiments.monitor import Monitor
from experiments.schema.run import plain
from experiments.secrets import masked, masked_values
from experiments.statistics import Accuracy
from experiments.study import lines
from experiments.study.budget import REPORT, Clock, refit_seconds, seconds_of, target_of
from experiments.study.ending import WINNER, Ending
from experiments.study.engines import ENGINE, keep, tidy
from experiments.study.handed import Handed
from experiments.study.importance import importance
from experiments.study.objectives import Limits, Objectives
from experiments.study.origin import ORIGIN, StudyOrigin
from experiments.study.recording import StudyRecord
from experiments.study.roles import Roles
from experiments.study.spaces import can_be_tried, families, starts
from experiments.study.summary import SUMMARY, StudySummary
from experiments.study.trial import ENGINE_OF_TRIAL, Trial, folder_of, words_of
from slicing.data.dataset import Dataset
from slicing.errors import InputError
from slicing.memory import available, set_bound

JOURNAL, CONFIG, LOG = "journal.jsonl", "config.yaml", "workers.log"
"""Files in the folder of a study: its trials, its options, and what the libraries of its workers
print."""

# Of the command line of a study, what a run takes, too; and where that is recorded.
_OF_RUNS, _TRACKING = ("data", "seed", "max_gigabytes"), "tracking"


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
    set_bound(options["max_gigabytes"])
    plan = _plan(options)
    # Trials hold none out for calibration: the engine that is handed over does.
    every = {**options, "data": {**options["data"], "calibration_fraction": 0.0}}
    dataset = Components(every, {}).dataset()
    is_new = options["resume"] is None
    folder = Path(options["resume"] or made_for_output(options["output"])).expanduser().absolute()
    try:
        with Checkpoint(folder / "checkpoint").locked():
            return _Study(options, tuple(overrides), plan, dataset, folder, monitor, begun).run()
    except BaseException:
        if is_new and not (folder / ORIGIN).exists():
            remove_if_only(folder, (CONFIG, JOURNAL, "checkpoint"))
        raise


@dataclass(frozen=True)
class _Plan:
    """What the options of a study say, checked: nothing of it needs the images."""

    seconds: float | None
    target: float | None
    objectives: Objectives
    roles: Roles
    space: Space
    left_out: tuple[str, ...]
    proposer: Proposer
    pruner: Pruner


def _plan(options: Options) -> _Plan:
    limits = options["limits"]
    objectives = Objectives(
        tuple(options["objectives"]),
        Limits(limits["bytes"], limits["parameters"], limits["milliseconds"]),
    )
    context = {"files": "image_size" in options["data"]}
    space, left_out = can_be_tried(families(options["space"]), context)
    return _Plan(
        seconds_of(options["budget"]),
        target_of(options["budget"]),
        objectives,
        Roles(options["choice_fraction"], options["folds"], options["seed"]),
        space,
        tuple(left_out),
        proposer_of(options["sampler"], space, options["seed"], options["population"]),
        pruner_of(options["pruner"], max(each.n_rungs for each in space.families.values())),
    )


@dataclass
class _Study:
    options: Options
    overrides: tuple[str, ...]
    plan: _Plan
    dataset: Dataset[Any]
    folder: Path
    monitor: Monitor
    begun: float

    def run(self) -> StudySummary:
        """Search, and hand over what was found."""
        origin = self._origin()
        clock = Clock(self._seconds(origin), self.begun)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        kept = open_study(
            self.options["storage"] or self.folder / JOURNAL,
            self.options["name"] or "study",
            len(self.plan.objectives.names),
        )
        record = StudyRecord(self.options["tracking"], self.folder)

        def begun(run_id: str) -> None:
            replace(origin, mlflow_run=run_id).write(self.folder)

        self.n_folds = self.plan.roles.n_folds(self.dataset)
        for note in (
            lines.begins(self.dataset, self.plan.roles, self.n_folds),
            *self.dataset.notes,
            *self.plan.left_out,
        ):
            self.monitor.say(note)
        tags = {"folder": self.folder, "dataset": self.dataset.name, "overrides": " ".join(
            origin.overrides), "dataset.train_digest": origin.images}  # fmt: skip
        record.begin(self._name, self.options, tags, begun, origin.mlflow_run or None)
        work = self._work()
        try:
            search = self._search(kept, work, clock)
            self._follow(search, kept, clock, record)
            origin = replace(StudyOrigin.read(self.folder), seconds=origin.seconds + clock.passed)
            origin.write(self.folder)
            summary = self._end(search, kept, clock, record, work)
        except BaseException as error:
            record.abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        finally:
            work.close()
        return summary

    @property
    def _name(self) -> str:
        return self.options["name"] or f"study-{self.dataset.name}-s{self.options['seed']}"

    def _origin(self) -> StudyOrigin:
        """Write down how the study began, or find out."""
        images = self.dataset.train.digest
        if self.options["resume"] is not None:
            origin = StudyOrigin.read(self.folder)
            origin.check(masked_values(self.options), images)
        else:
            if (self.folder / ORIGIN).exists():
                raise InputError(
                    f"{self.folder} holds a study: go on with it (resume={self.folder}), or give "
                    "another output.",
                    "output",
                )
            origin = StudyOrigin((), masked_values(self.options), images)
        origin = replace(origin, overrides=tuple(map(masked, self.overrides)))
        OmegaConf.save(OmegaConf.create(masked_values(self.options)), self.folder / CONFIG)
        origin.write(self.folder)
        return origin

    def _seconds(self, origin: StudyOrigin) -> float | None:
        """Give the seconds of this session: what is left of the budget, or a new one."""
        whole = self.plan.seconds
        is_more = self.options["budget"] != origin.options["budget"]
        if whole is None or is_more or not origin.seconds:
            return whole
        if whole <= origin.seconds:
            raise InputError(
                f"The study has used its budget ({origin.seconds:.0f} s): give it more, "
                f"resume={self.folder} budget.minutes=..."
            )
        return whole - origin.seconds

    def _workers(self) -> int:
        executor = self.options["executor"]
        return int(executor.get("workers") or cores()) if "workers" in executor else 1

    def _of_runs(self) -> list[str]:
        """Give the words of the command line that a run takes, too."""
        threads = self.options["threads"] or max(1, cores() // self._workers())
        words = [word for word in self.overrides if _group(word) in _OF_RUNS]
        if not any(word.startswith("data=") for word in words):
            words.insert(0, "data=folder")
        return [*words, f"threads={threads}"]

    def _work(self) -> Supervised[Any, Tried]:
        judged = {name: each.judged for name, each in self.plan.space.families.items()}
        words = [*self._of_runs(), "data.calibration_fraction=0", "tracking.model=false"]
        limits = self.plan.objectives.limits
        trial = Trial(words, self.folder, self.plan.roles, judged, limits)
        gigabytes = self.options["limits"]["trial_gigabytes"]
        free, _ = available()
        n_bytes = 0.9 * free / self._workers() if gigabytes is None else 1e9 * gigabytes
        return Supervised(trial, _fallen, _time_of, int(n_bytes), log=self.folder / LOG)

    def _search(self, kept: optuna.Study, work: Supervised[Any, Tried], clock: Clock) -> Search:
        budget, plan = self.options["budget"], self.plan
        left, minutes = clock.left, self.options["limits"]["trial_minutes"]
        return Search(
            kept, plan.space, plan.proposer, Components(self.options, {}).executor(), work,
            plan.objectives,
            Budget(
                None if left is None else max(left, 0.1), budget["trials"], plan.target,
                None if minutes is None else 60 * minutes,
            ),
            pruner=plan.pruner, process=this_process(),
            # Nobody else writes to the file in its folder.
            has_ended=has_ended if self.options["storage"] else lambda name: True,
            starts=starts(plan.space), workers=self._workers(),
            reserve=lambda: clock.reserve(
                plan.objectives.best(finished(kept)), len(self.dataset.train)
            ),
        )  # fmt: skip

    def _follow(
        self, search: Search, kept: optuna.Study, clock: Clock, record: StudyRecord
    ) -> None:
        """Go through the search: keep the best engine, show what comes, and record it."""
        best = self.plan.objectives.best(finished(kept))
        with self.monitor.task("study"):
            try:
                for each in search:
                    best = self._came(each, best, finished(kept), clock)
                    record.trial(each, None if best is None else best.metrics["accuracy"])
            except KeyboardInterrupt:
                # It came between two trials.
                search.ended = "interrupted"

    def _came(
        self, each: Finished, best: Finished | None, trials: list[Finished], clock: Clock
    ) -> Finished | None:
        """Keep the engine of a trial if it is the best; give the best."""
        found = self.plan.objectives.best(trials)
        if found is not None and (best is None or found.number != best.number):
            keep(folder_of(self.folder, found.number) / ENGINE_OF_TRIAL, self.folder)
        tidy(self.folder, self.plan.objectives, trials)
        self.monitor.say(lines.ended(each, self.plan.space.families[each.family].fixed))
        self.monitor.show(self._done(clock, len(trials)), lines.so_far(trials, found))
        return found

    def _done(self, clock: Clock, n_trials: int) -> float:
        shares = [0.0]
        if clock.seconds is not None:
            shares.append(clock.passed / clock.seconds)
        if self.options["budget"]["trials"] is not None:
            shares.append(n_trials / self.options["budget"]["trials"])
        return min(max(shares), 1.0)

    def _end(
        self,
        search: Search,
        kept: optuna.Study,
        clock: Clock,
        record: StudyRecord,
        work: Supervised[Any, Tried],
    ) -> StudySummary:
        """Test the winner, make it again where there is time, and report."""
        trials = finished(kept)
        winner = self.plan.objectives.best(trials)
        if winner is None:
            reason = next((each.reason for each in reversed(trials) if each.reason), "")
            raise InputError(
                f"No trial has given an engine that keeps the limits. {reason} Give more time "
                f"(resume={self.folder} budget.minutes=...), or wider limits."
            )
        command = (*self._of_runs(), *words_of(winner.options))
        as_tried, refit, why_not = self._hand_over(winner, command, clock, search, record, work)
        handed = Handed.read(self.folder, refit is not None)
        engine = self.folder / ENGINE
        summary = StudySummary(
            dataset=self.dataset.name,
            classes=tuple(self.dataset.classes),
            n_train=len(self.dataset.train),
            folds=self.n_folds,
            objectives=self.plan.objectives.names,
            ended=search.ended,
            seconds=StudyOrigin.read(self.folder).seconds,
            overhead=search.overhead,
            trials=tuple(trials),
            winner=winner.number,
            front=tuple(each.number for each in self.plan.objectives.front(trials)),
            as_tried=as_tried,
            refit=refit,
            why_not_refit=why_not,
            left_out=self.plan.left_out,
            sources={name: each.source for name, each in self.plan.space.families.items()},
            command=command,
            folder=str(self.folder),
            seed=self.options["seed"],
            versions=versions(),
            machine=machine(),
            engine_bytes=engine.stat().st_size,
            by_class=handed.by_class(self.dataset.classes),
            importance=importance(kept, winner),
        )
        summary.write(self.folder / SUMMARY)
        self.monitor.say("Writing the report")
        # Here, not above: nothing else needs a library for figures.
        from experiments.study import report

        report.write(summary, handed, engine)
        self.monitor.say("Sending the results to MLflow")
        record.finish(
            summary.metrics(),
            (CONFIG, SUMMARY, report.REPORT),
            summary.text(),
            search.ended == "interrupted",
        )
        return summary

    def _hand_over(
        self,
        winner: Finished,
        command: tuple[str, ...],
        clock: Clock,
        search: Search,
        record: StudyRecord,
        work: Supervised[Any, Tried],
    ) -> tuple[Accuracy, Accuracy | None, str]:
        """Test the engine as it was tried, and as a run with all training images makes it."""
        self.monitor.say("Testing the winner on the test images")
        engine = self.folder / ENGINE
        tested = work(Ending(command, self.folder / WINNER, engine, refit=False))
        if tested.status != TRIED:
            raise InputError(f"The winner could not be tested: {tested.reason}")
        total = int(tested.details["total"])
        as_tried = Accuracy(int(tested.details["right"]), total)
        left, needed = clock.left, refit_seconds(winner)
        if search.ended == "interrupted":
            return as_tried, None, "it was not made again from all training images: interrupted"
        if left is not None and left < needed:
            return as_tried, None, "there was no time to make it again from all training images"
        self.monitor.say("Making the winner again from all training images")
        shutil.rmtree(self.folder / WINNER, ignore_errors=True)
        record.ready()
        words = [word for word in self.overrides if _group(word) == _TRACKING]
        words += [*command, f"tracking.parent={record.run_id}"]
        seconds = None if left is None else left - REPORT
        again = work(Ending(tuple(words), self.folder / WINNER, engine, True, seconds))
        if again.status != TRIED:
            return as_tried, None, f"making it again from all training images: {again.reason}"
        keep(self.folder / WINNER / ENGINE_OF_TRIAL, self.folder)
        return as_tried, Accuracy(int(again.details["right"]), total), ""


def _time_of(task: Task | Ending) -> float | None:
    return task.seconds


def _group(word: str) -> str:
    return word.lstrip("+").partition("=")[0].partition(".")[0]


def _fallen(fallen: Fallen) -> Tried:
    return Tried(fallen.kind, fallen.reason)
