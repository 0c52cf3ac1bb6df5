"""The stages of one experiment, from its baseline to its report.

The order is the guarantee: the test images are read after evolution has ended and its kernels are
on disk (except under a protocol that leaks, which is about nothing else).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evolve.checkpoint import Checkpoint
from evolve.events import BlockEnd, Event
from evolve.protocols import Split
from evolve.schedule import Schedule
from experiments import new_classes
from experiments.components import Components, Options
from experiments.environment import commit, machine, versions
from experiments.evolution import run_schedule
from experiments.measuring import Measured, measured
from experiments.monitor import Monitor, Monitors
from experiments.new_classes import ClassAddition
from experiments.recorder import Recorder
from experiments.reliability import Reliability
from experiments.secrets import masked_values
from experiments.summary import SUMMARY, Summary, addition_metrics
from experiments.tracking import MLflowRun
from slicing.baselines import Baseline
from slicing.data.dataset import Dataset, Images
from slicing.data.duplicates import Duplicates
from slicing.engine.engine import Engine
from slicing.files import replacing
from slicing.stack import ConvStack

log = logging.getLogger(__name__)

ENGINE = "engine.safetensors"
"""The file of the saved engine, in the folder of the run."""


@dataclass(frozen=True)
class _Evolution:
    """The result of evolution."""

    stack: ConvStack
    loss_before: float
    loss_after: float
    schedule: Schedule
    events: Sequence[Event]
    interrupted: bool

    @property
    def ends(self) -> list[BlockEnd]:
        return [event for event in self.events if isinstance(event, BlockEnd)]


@dataclass(frozen=True)
class _Engines:
    """The engines before and after evolution (all references), and the saved one."""

    sliced: Engine
    evolved: Engine
    saved: Engine


@dataclass(frozen=True)
class Experiment:
    """The stages of an experiment, and what they share.

    Attributes
    ----------
    components : Components
    overrides : tuple of str
        The command line, without passwords.
    name : str
        Name of the run.
    threads : int
        With which it computes.
    dataset, whole : Dataset
        Without, and with the classes that only the finished engine learns.
    images : Split
    folder : Path
    monitor : Monitor
        Is told what happens; ``recorder`` is part of it.
    recorder : Recorder
    tracker : MLflowRun
    checkpoint : Checkpoint
    """

    components: Components
    overrides: tuple[str, ...]
    name: str
    threads: int
    dataset: Dataset
    whole: Dataset
    images: Split
    folder: Path
    monitor: Monitor
    recorder: Recorder
    tracker: MLflowRun
    checkpoint: Checkpoint

    @property
    def options(self) -> Options:
        """The resolved configuration."""
        return self.components.options

    def run(self) -> Summary:
        """Go through the stages."""
        baseline = self.baseline()
        # The MLflow run has begun by now, or its error is raised before the evolution.
        self.monitor.say("Waiting for MLflow")
        self.tracker.ready()
        self.tracker.log_images(self.dataset.name, self.dataset.train, "training", "Try again.")
        for number, epoch in enumerate(baseline.training, 1):
            self.tracker.log(
                {"baseline/loss": epoch.loss, "baseline/accuracy": epoch.accuracy}, number
            )
        evolution = self.evolve(baseline.stack)
        engines = self.engines(baseline.stack, evolution.stack)
        tests = [self.dataset.read_test()]
        if self.dataset.read_test_all is not None:
            tests.append(self.dataset.read_test_all())
        duplicates = Duplicates.of(self.dataset.train, tests[-1])
        for warning in duplicates.warnings:
            log.warning("%s.", warning)
        found = self.classify(baseline, engines, tests)
        # A user who interrupts does not want more training.
        additions = [] if evolution.interrupted else self.add_classes(baseline, engines.saved)
        test, predicted = tests[0], found.predicted
        reliability = self.reliability(engines.saved, test)
        summary = self.summary(baseline, evolution, found, additions, duplicates, reliability)
        self.draw_and_report(summary, baseline.stack, evolution, engines.saved, test, predicted)
        # Last, so that the folder is complete even if MLflow fails.
        way_out = f"All results are in {self.folder}."
        dataset = self.tracker.log_images(self.dataset.name, test, "testing", way_out)
        if evolution.interrupted:
            return summary
        self.monitor.say("Logging the engine as an MLflow model")
        metrics = {"test_accuracy": summary.metrics()["engine/test_accuracy"]}
        model = self.tracker.log_engine(
            self.folder / ENGINE, engines.saved.stack.input_shape, metrics, dataset
        )
        # Written again: the model has a name only now.
        summary = replace(summary, mlflow_model=model)
        summary.write(self.folder / SUMMARY)
        return summary

    def baseline(self) -> Baseline:
        """Make the network that is cut."""
        given = self.images.references, self.dataset.classes
        if not self.components.baseline().is_trained:
            return self.components.make_baseline(*given)
        with self.monitor.task("training"):
            self.monitor.show(0.0, "making the network, or reading it from the cache")
            return self.components.make_baseline(*given, self.monitor.show)

    def evolve(self, before: ConvStack) -> _Evolution:
        """Evolve the kernels, and put them on disk."""
        self.monitor.say("Measuring the loss before evolution")
        fitness = self.components.fitness(before, self.images)
        loss_before = fitness.loss
        schedule = self.components.schedule(fitness, self.checkpoint)
        self.recorder.begin(schedule.events)
        # Events that an earlier process had not sent to MLflow when it ended.
        for event in self.recorder.events:
            self.tracker.event(event)
        monitor = Monitors(self.monitor, self.tracker)
        naming = self.components.naming
        with naming("strategy"), naming("executor"):
            stopped = run_schedule(schedule, monitor, after_stop=self.recorder.event)
        after, loss_after = fitness.stack, fitness.loss
        _save_kernels(after, self.folder / "kernels.npz")
        if not fitness.same_images and not after.equals(before):
            self.monitor.say("Measuring the loss after evolution")
            # On the images drawn for the initial network, so that runs compare.
            loss_after = self.components.fitness(before, self.images).loss_of(after)
        events = self.recorder.events
        return _Evolution(after, loss_before, loss_after, schedule, events, stopped is not None)

    def engines(self, before: ConvStack, after: ConvStack) -> _Engines:
        """Make the engines, and save one."""
        train, classes = self.dataset.train, self.dataset.classes
        recipe, tune = self.components.recipe(), self.components.tune()

        def make(stack: ConvStack, what: str) -> Engine:
            self.monitor.say(f"Making {what}")
            with self.monitor.task("engine"):
                whole = recipe.with_all_references()
                return whole.build(stack, train, classes, show=self.monitor.show)

        evolved = sliced = saved = make(after, "the engine of all references")
        if not after.equals(before):
            sliced = make(before, "the engine as it was before evolution")
        if recipe.describe():
            # Kept in case the smaller one fails.
            evolved.save(self.folder / ENGINE)
            self.monitor.say("Making the smaller engine")
            with self.monitor.task("engine"):
                saved = recipe.build(
                    after, train, classes, seed=self.options["seed"], tune=tune,
                    show=self.monitor.show,
                )  # fmt: skip
        is_evolved = saved is evolved
        if self.dataset.calibration is not None:
            self.monitor.say("Learning the confidence")
            saved = saved.calibrated(self.dataset.calibration)
        saved.save(self.folder / ENGINE)
        return _Engines(sliced, saved if is_evolved else evolved, saved)

    def classify(self, baseline: Baseline, engines: _Engines, tests: list[Images]) -> Measured:
        """Measure all networks on the test images."""
        slicing = self.options["slicing"]
        what = "" if slicing["projection"] == "none" else f", {slicing['projection']}"
        what += f", averaged over {slicing['average']} px" if slicing["average"] else ""
        by = self.components.choices["optimizer"]
        networks: dict[str, tuple[str, Baseline | Engine]] = {
            "baseline": (f"CNN {self.components.baseline_name}", baseline),
            "sliced": (f"sliced{what}, not evolved", engines.sliced),
            "evolved": (f"evolved by {by}{what}", engines.evolved),
        }
        is_tuned = self.components.tune() is not None
        smaller = self.components.recipe().describe(is_tuned)
        if smaller:
            networks["engine"] = (f"its engine: {smaller}", engines.saved)
        results, answers = {}, {}
        for key, (name, network) in networks.items():
            self.monitor.say(f"Classifying {max(map(len, tests)):,} test images: {name}")
            results[key], answers[key] = measured(name, network, tests)
        arrays = {key: predicted[-1] for key, predicted in answers.items() if predicted}
        named = {} if tests[-1].names is None else {"names": tests[-1].names}
        _save({"labels": tests[-1].labels, **named, **arrays}, self.folder / "predictions.npz")
        return Measured(results, answers, tests[-1].labels)

    def reliability(self, engine: Engine, test: Images) -> dict[str, Reliability]:
        """Measure how true the engine's confidence is, and the share of the votes beside it."""
        if engine.confidence is None:
            return {}
        self.monitor.say("Measuring how true the confidence is")
        found = engine.evidence(test.images)
        is_right = found.labels == test.labels
        scores = {"confidence": found.confidences, "votes": found.shares.max(axis=1)}
        return {name: Reliability.of(each, is_right) for name, each in scores.items()}

    def add_classes(self, baseline: Baseline, engine: Engine) -> list[ClassAddition]:
        """Teach the engine the new classes, if there are any."""
        new, builder = self.options["new"], self.components.baseline()
        if not new["classes"]:
            return []
        train = None
        if new["retrain"] and builder.is_trained and baseline.model:
            self.monitor.say(f"Training the CNN again {len(new['images'])} times")
            train = builder.build
        return new_classes.add(
            engine, self.whole, new["classes"], new["images"], train, self.options["seed"]
        )

    def summary(
        self,
        baseline: Baseline,
        evolution: _Evolution,
        found: Measured,
        additions: Sequence[ClassAddition],
        duplicates: Duplicates,
        reliability: Mapping[str, Reliability],
    ) -> Summary:
        """Put the figures together, write them down, and log them."""
        path = self.folder / SUMMARY
        Summary(
            title=self.name,
            dataset=self.dataset.name,
            protocol=self.images.protocol,
            objective=self.components.choices["fitness"],
            networks=found.networks,
            comparisons=found.comparisons,
            loss_before=evolution.loss_before,
            loss_after=evolution.loss_after,
            blocks_done=len(evolution.ends),
            blocks_accepted=sum(end.accepted for end in evolution.ends),
            n_blocks=evolution.schedule.n_blocks,
            evaluations=evolution.schedule.evaluations,
            ended=evolution.schedule.ended or "",
            train_seconds=baseline.train_seconds,
            evolve_seconds=evolution.schedule.seconds,
            from_cache=baseline.from_cache,
            training=baseline.training,
            interrupted=evolution.interrupted,
            additions=tuple(additions),
            calibration_images=len(self.dataset.calibration or ()),
            reliability=reliability,
            leaks=self.images.leaks,
            baseline_warning=baseline.warning,
            duplicates=duplicates,
            seed=self.options["seed"],
            threads=self.threads,
            versions=versions(),
            machine=machine(),
            commit=commit(),
            overrides=self.overrides,
            mlflow_run=self.tracker.run_id,
        ).write(path)
        # From the file, so that it is known to hold all that the table and the report need.
        summary = Summary.read(path)
        self.tracker.log(summary.metrics())
        for addition in summary.additions:
            self.tracker.log(addition_metrics(addition), addition.images)
        with replacing(self.folder / "summary.md") as file:
            file.write((summary.text() + "\n").encode())
        log.info("%s", summary.text())
        return summary

    def draw_and_report(
        self,
        summary: Summary,
        before: ConvStack,
        evolution: _Evolution,
        engine: Engine,
        test: Images,
        predicted: NDArray[np.int64],
    ) -> None:
        """Draw the figures, and write the report."""
        self.monitor.say("Drawing the figures")
        # Here, not above: nothing else needs a library for figures.
        from experiments import plots, report

        plots.convergence(evolution.events, self.folder / "convergence.png", self.name)
        plots.kernels(before, evolution.stack, self.folder / "kernels.png")
        title = f"{self.name}\n{summary.saved.name}, {len(test):,} test images"
        confusion = self.folder / "confusion.png"
        plots.confusion(test.labels, predicted, self.dataset.classes, confusion, title)
        plots.accuracy(summary.rows, self.folder / "accuracy.png", self.name)
        if summary.training:
            plots.training(summary.training, self.folder / "training.png", self.name)
        if summary.reliability:
            plots.reliability(summary.reliability, self.folder / "reliability.png", title)
        self.monitor.say("Writing the report")
        answers = report.Answers(engine, self.dataset.train, test, predicted)
        path = self.folder / "report.html"
        report.write(path, summary, answers, masked_values(self.options), self.components.choices)


def _save_kernels(stack: ConvStack, path: Path) -> None:
    """Write the weights and biases."""
    arrays: dict[str, Any] = {}
    for number, conv in enumerate(stack.convs, 1):
        arrays |= {f"conv{number}_weights": conv.weights, f"conv{number}_bias": conv.bias}
    _save(arrays, path)


def _save(arrays: dict[str, Any], path: Path) -> None:
    """Write arrays, whole or not at all."""
    with replacing(path) as file:
        np.savez(file, **arrays)
