"""A study, from the look at its images to its report."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig, OmegaConf

from evolve.checkpoint import Checkpoint
from evolve.executors.supervised import Supervised
from evolve.trials import Budget, Finished, Search, Task, Tried, finished
from evolve.trials.results import TRIED
from evolve.trials.storage import open_study
from experiments.components import Components
from experiments.dead_runs import has_ended, this_process
from experiments.environment import machine, versions
from experiments.folders import made_for_output, remove_if_only
from experiments.making import Options
from experiments.mlflow_store import given_address, require_given
from experiments.monitor import Monitor, Monitors
from experiments.recorder import Recorder
from experiments.schema.run import plain
from experiments.secrets import masked, masked_values
from experiments.statistics import Accuracy
from experiments.study import lines
from experiments.study.budget import REPORT, Clock, fold_seconds, run_seconds
from experiments.study.ending import WINNER, Remaking, Testing
from experiments.study.engines import ENGINE, ENGINE_OF_RUN, at_hand, engine_of, keep, tidy
from experiments.study.families import starts
from experiments.study.handed import Handed
from experiments.study.importance import importance
from experiments.study.objectives import accuracy_of
from experiments.study.origin import ORIGIN, Notes, StudyOrigin
from experiments.study.plan import Plan
from experiments.study.recording import StudyRecord
from experiments.study.summary import SUMMARY, StudySummary
from experiments.study.trial import words_of
from experiments.study.work import group_of, n_workers, of_runs, work_of
from experiments.tables import percent
from slicing.data.dataset import Dataset
from slicing.errors import InputError
from slicing.memory import set_bound

JOURNAL, CONFIG = "journal.jsonl", "config.yaml"
"""Files in the folder of a study: its trials, and its options."""

# Group of options that says where a run is recorded.
_TRACKING = "tracking"


def study(
    config: DictConfig,
    overrides: Sequence[str],
    monitor: Monitor,
    begun: float,
    more: bool = False,
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
    more : bool
        Whether a study that goes on is given another budget, and not what is left of the earlier.

    Returns
    -------
    StudySummary

    Raises
    ------
    InputError
    """
    options = plain(config)
    set_bound(options["max_gigabytes"])
    plan = Plan.of(options)
    require_given(options["tracking"])
    is_new = options["resume"] is None
    folder = Path(options["resume"] or made_for_output(options["output"])).expanduser().absolute()
    try:
        with Checkpoint(folder / "checkpoint").locked():
            # Trials hold none out for calibration: the engine that is handed over does.
            every = {**options, "data": {**options["data"], "calibration_fraction": 0.0}}
            dataset = Components(every, {}).dataset()
            study = _Study(options, tuple(overrides), plan, dataset, folder, monitor)
            study.begin(begun, more)
            return study.run()
    except BaseException:
        if is_new and not (folder / ORIGIN).exists():
            remove_if_only(folder, (CONFIG, JOURNAL, "checkpoint"))
        raise


class _Study:
    """A study in its folder, from its first line to its last."""

    def __init__(
        self,
        options: Options,
        overrides: tuple[str, ...],
        plan: Plan,
        dataset: Dataset[Any],
        folder: Path,
        monitor: Monitor,
    ) -> None:
        self.options, self.overrides, self.plan, self.dataset = options, overrides, plan, dataset
        self.folder, self.monitor = folder, monitor
        self.record = StudyRecord(options["tracking"], folder)
        self.n_folds = plan.roles.n_folds(dataset)

    def begin(self, begun: float, more: bool) -> None:
        """Write down how the study began, or find out, and open what keeps its trials."""
        now = StudyOrigin(
            tuple(map(masked, self.overrides)),
            masked_values(self.options),
            {name: asdict(each) for name, each in self.plan.space.families.items()},
            self.dataset.train.digest,
            self.plan.seconds,
        )
        if self.options["resume"] is not None:
            now = StudyOrigin.read(self.folder).going_on(now, more)
        elif (self.folder / ORIGIN).exists():
            raise InputError(
                f"{self.folder} holds a study: go on with it (resume={self.folder}), or give "
                "another output.",
                "output",
            )
        left = None if now.granted is None else now.granted - now.seconds
        if left is not None and left <= 0:
            raise InputError(
                f"The study has used its budget ({now.seconds:.0f} s): give it more, "
                f"resume={self.folder} budget.minutes=..."
            )
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.kept = open_study(
            self.options["storage"] or self.folder / JOURNAL,
            self.options["name"] or "study",
            len(self.plan.objectives.names),
        )
        now.join(self.kept)
        self.clock = Clock(left, begun)
        self.notes = Notes(now, self.folder, self.clock)
        OmegaConf.save(OmegaConf.create(masked_values(self.options)), self.folder / CONFIG)
        self.notes.write()
        self.events = Recorder(self.folder, self.options["resume"] is not None)
        # One that was killed may have kept a trial and not written it down.
        self.events.trial(*finished(self.kept))
        self.monitor = Monitors(self.monitor, self.events)

    def run(self) -> StudySummary:
        """Search, and hand over what was found."""
        for note in (
            lines.begins(self.dataset, self.plan.roles, self.n_folds),
            *self.dataset.notes,
            *self.plan.left_out,
        ):
            self.monitor.say(note)
        tags = {
            "folder": self.folder,
            "dataset": self.dataset.name,
            "overrides": " ".join(self.notes.origin.overrides),
            "dataset.train_digest": self.notes.origin.images,
        }
        self.record.begin(
            self._name, self.options, tags, lambda run: self.notes.write(mlflow_run=run),
            self.notes.origin.mlflow_run or None,
        )  # fmt: skip
        if address := given_address(self.options["tracking"]["uri"]):
            self.monitor.say(f"Recording in MLflow at {masked(address)}")
        work = work_of(self.options, self.overrides, self.plan, self.folder)
        try:
            search = self._search(work)
            self._follow(search)
            self.notes.write()
            summary = self._end(search, work)
            self.notes.write()
        except BaseException as error:
            how = "killed" if isinstance(error, KeyboardInterrupt) else "failed"
            self.record.abandon(how.upper())
            with suppress(OSError):  # a full disk is what may have ended it
                self.events.end(how)
            raise
        finally:
            work.close()
        self.events.end("interrupted" if search.ended == "interrupted" else "finished")
        return summary

    @property
    def _name(self) -> str:
        return self.options["name"] or f"study-{self.dataset.name}-s{self.options['seed']}"

    def _search(self, work: Supervised[Any, Tried]) -> Search:
        budget, plan = self.options["budget"], self.plan
        left, minutes = self.clock.left, self.options["limits"]["trial_minutes"]
        return Search(
            self.kept, plan.space, plan.proposer, Components(self.options, {}).executor(), work,
            plan.objectives,
            Budget(
                None if left is None else max(left, 0.1), budget["trials"], plan.target,
                None if minutes is None else 60 * minutes,
            ),
            pruner=plan.pruner, process=this_process(),
            # Nobody else writes to the file in its folder.
            has_ended=has_ended if self.options["storage"] else lambda name: True,
            starts=starts(plan.space), workers=n_workers(self.options),
            reserve=lambda: self.clock.reserve(
                self._best(), len(self.dataset.train), run_seconds(finished(self.kept))
            ),
            begins=self._show,
        )  # fmt: skip

    def _best(self) -> Finished | None:
        """Give the best trial whose engine is here."""
        return self.plan.objectives.best(at_hand(self.folder, finished(self.kept)))

    def _follow(self, search: Search) -> None:
        """Go through the search: keep the best engine, show what comes, and record it."""
        best = self._best()
        if best is not None:
            # What ended the study before may have come between the trial and its copy.
            keep(engine_of(self.folder, best), self.folder)
        with self.monitor.task("study"):
            try:
                for each in search:
                    best = self._came(each, best)
                    # One that is left ends in a later session.
                    if not each.is_left:
                        accuracy = None if best is None else best.metrics["accuracy"]
                        self.record.trial(each, accuracy)
            except KeyboardInterrupt:
                # It came between two trials.
                search.ended = "interrupted"

    def _came(self, each: Finished, best: Finished | None) -> Finished | None:
        """Keep the engine of a trial if it is the best; give the best."""
        found = self._best()
        if found is not None and found != best:
            keep(engine_of(self.folder, found), self.folder)
        tidy(self.folder, self.plan.objectives, finished(self.kept))
        self.notes.write()
        self.events.trial(each)
        self.monitor.say(lines.ended(each, self.plan.space.families[each.family].fixed))
        self._show()
        return found

    def _show(self, task: Task | None = None) -> None:
        """Show how far the search is, and the task that begins."""
        trials = finished(self.kept)
        best = self.plan.objectives.best(trials)
        n_ended = sum(not each.is_left for each in trials)
        self.monitor.show(self._done(n_ended), lines.so_far(trials, best, task))

    def _done(self, n_trials: int) -> float:
        shares = [0.0]
        if self.clock.seconds is not None:
            shares.append(self.clock.passed / self.clock.seconds)
        if self.options["budget"]["trials"] is not None:
            shares.append(n_trials / self.options["budget"]["trials"])
        return min(max(shares), 1.0)

    def _end(self, search: Search, work: Supervised[Any, Tried]) -> StudySummary:
        """Test the winner, make it again where there is time, and report."""
        trials = finished(self.kept)
        winner = self._best()
        if winner is None:
            reason = next((each.reason for each in reversed(trials) if each.reason), "")
            raise InputError(
                f"No trial has given an engine that keeps the limits. {reason} Give more time "
                f"(resume={self.folder} budget.minutes=...), or wider limits."
            )
        command = (*of_runs(self.options, self.overrides), *words_of(winner.options))
        as_tried, refit, why_not = self._hand_over(winner, command, search, work)
        handed = Handed.read(self.folder, refit is not None)
        engine = self.folder / ENGINE
        summary = StudySummary(
            dataset=self.dataset.name,
            classes=tuple(self.dataset.classes),
            n_train=len(self.dataset.train),
            folds=self.n_folds,
            objectives=self.plan.objectives.names,
            ended=search.ended,
            seconds=self.notes.origin.seconds,
            granted=self.notes.origin.granted,
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
            importance=importance(self.kept, winner),
        )
        summary.write(self.folder / SUMMARY)
        self.monitor.say("Writing the report")
        # Here, not above: nothing else needs a library for figures.
        from experiments.study import report

        report.write(summary, handed, engine)
        self.monitor.say("Sending the results to MLflow")
        self.record.finish(
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
        search: Search,
        work: Supervised[Any, Tried],
    ) -> tuple[Accuracy, Accuracy | None, str]:
        """Test the engine as it was tried, and as a run with the choice images makes it."""
        engine = engine_of(self.folder, winner)
        keep(engine, self.folder)
        self.monitor.say("Testing the winner on the test images")
        tested = work(Testing(command, self.folder, engine))
        if tested.status != TRIED:
            raise InputError(f"The winner could not be tested: {tested.reason}")
        total = int(tested.details["total"])
        as_tried = Accuracy(int(tested.details["right"]), total)
        remade = self.notes.origin.remade
        if remade.get("trial") == winner.number:
            keep(self.folder / WINNER / ENGINE_OF_RUN, self.folder)
            return as_tried, Accuracy(remade["right"], remade["total"]), ""
        if why_not := self._why_not_again(winner, search):
            return as_tried, None, why_not
        self.monitor.say("Making the winner again, with the choice images")
        self.notes.write(remade={})
        shutil.rmtree(self.folder / WINNER, ignore_errors=True)
        words = [word for word in self.overrides if group_of(word) == _TRACKING]
        words += [*command, f"tracking.parent={self.record.run_id}"]
        seconds = None if self.clock.left is None else self.clock.left - REPORT
        try:
            again = work(Remaking(tuple(words), self.folder / WINNER, self.plan.roles, seconds))
        except KeyboardInterrupt:
            search.ended = "interrupted"
            return as_tried, None, self._why_not_again(winner, search)
        if again.status != TRIED:
            return as_tried, None, f"making it again ended early: {again.reason.rstrip('.')}"
        metrics = {**winner.metrics, **again.metrics}
        if self.plan.objectives.limits.excess(metrics):
            size = f"{metrics['bytes']:,.0f} bytes, {metrics['parameters']:,.0f} parameters"
            return as_tried, None, f"made again, it breaks a limit: {size}"
        known = Accuracy(int(again.details["known"]), int(again.details["of"]))
        if known.interval()[1] < accuracy_of(winner).value:
            # These images have taught it: it is worse than what was announced.
            lost = f"made again, it gets only {percent(known)} % of the choice images right"
            return as_tried, None, lost
        keep(self.folder / WINNER / ENGINE_OF_RUN, self.folder)
        right = int(again.details["right"])
        self.notes.write(remade={"trial": winner.number, "right": right, "total": total})
        return as_tried, Accuracy(right, total), ""

    def _why_not_again(self, winner: Finished, search: Search) -> str:
        """Say why the winner is not made again; nothing where it is."""
        if search.ended == "interrupted":
            return "it was not made again with the choice images: interrupted"
        # No more than it takes at least: one that does not end in time loses nothing.
        if self.clock.left is not None and self.clock.left - REPORT < fold_seconds(winner):
            return "there was no time to make it again with the choice images"
        try:
            self.record.ready()
        except InputError as error:
            return f"it was not made again with the choice images: {error}"
        return ""
