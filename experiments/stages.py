"""The stages of one experiment, from its baseline to its report.

The order is the guarantee: the test images are looked at after evolution has ended and its kernels
are on disk (except under a protocol that leaks, which is about nothing else). Where a network is
frozen, its maps of them are made before, as of all images, one by one and without their labels.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evolve.checkpoint import Checkpoint
from evolve.protocols import Split
from experiments import new_classes
from experiments.arrays import save_arrays, save_kernels
from experiments.components import Components
from experiments.environment import commit, machine, versions
from experiments.evolution import Evolution, run_schedule
from experiments.making import Options
from experiments.measuring import Measured, measured
from experiments.mlflow_run import MLflowRun
from experiments.monitor import Monitor, Monitors
from experiments.new_classes import ClassAddition
from experiments.reading import Read, features_of
from experiments.recorder import Recorder
from experiments.reliability import Reliability
from experiments.secrets import masked_values
from experiments.summary import SUMMARY, Summary, addition_metrics
from slicing.backbones.maps import MapsAtHand
from slicing.baselines import Baseline
from slicing.data.dataset import Dataset, Images
from slicing.data.quality import Quality
from slicing.engine.engine import Engine
from slicing.files import replacing
from slicing.stack import ConvStack

log = logging.getLogger(__name__)

ENGINE = "engine.safetensors"
"""The file of the saved engine, in the folder of the run."""


@dataclass(frozen=True)
class _Engines:
    """The engines before and after evolution (all references), and the saved one.

    Where nothing is evolved, there is one before alone.
    """

    sliced: Engine
    evolved: Engine | None
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
    read : Read
        The images, with the classes that only the finished engine learns, and without.
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
    read: Read
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

    @property
    def dataset(self) -> Dataset[Images]:
        """The images without the new classes."""
        return self.read.dataset

    def run(self) -> Summary:
        """Go through the stages."""
        train = self.dataset.train
        known = Quality.of_images(train, train[:0], self.dataset.classes).warnings
        for warning in known:
            log.warning("%s.", warning)
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
        self.monitor.say("Reading the test images")
        tests = [self.dataset.read_test()]
        if self.dataset.read_test_all is not None:
            tests.append(self.dataset.read_test_all())
        quality = self.quality(tests[-1], known)
        found = self.classify(baseline, engines, tests)
        # A user who interrupts does not want more training.
        additions = [] if evolution.interrupted else self.add_classes(baseline, engines.saved)
        test, predicted = tests[0], found.predicted
        reliability = self.reliability(engines.saved, test)
        summary = self.summary(baseline, evolution, found, additions, quality, reliability)
        self.draw_and_report(summary, baseline.stack, evolution, engines.saved, test, predicted)
        # Last, so that the folder is complete even if MLflow fails.
        way_out = f"All results are in {self.folder}."
        dataset = self.tracker.log_images(self.dataset.name, test, "testing", way_out)
        if evolution.interrupted:
            return summary
        if self.options["tracking"]["model"]:
            self.monitor.say("Logging the engine as an MLflow model")
        metrics = {"test_accuracy": summary.metrics()["engine/test_accuracy"]}
        read = self.read
        model = self.tracker.log_engine(
            self.folder / ENGINE,
            read.input_shape,
            read.libraries,
            read.preparation,
            metrics,
            dataset,
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

    def evolve(self, before: ConvStack) -> Evolution:
        """Evolve the kernels, if there are any, and put them on disk."""
        if not before.convs:
            self.recorder.begin()
            save_kernels(before, self.folder / "kernels.npz")
            return Evolution(before)
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
        save_kernels(after, self.folder / "kernels.npz")
        if not fitness.same_images and not after.equals(before):
            self.monitor.say("Measuring the loss after evolution")
            # On the images drawn for the initial network, so that runs compare.
            loss_after = self.components.fitness(before, self.images).loss_of(after)
        return Evolution(
            after, loss_before, loss_after, schedule.n_blocks, schedule.evaluations,
            schedule.seconds, schedule.ended or "", self.recorder.events, stopped is not None,
        )  # fmt: skip

    def engines(self, before: ConvStack, after: ConvStack) -> _Engines:
        """Make the engines, and save one."""
        train, classes = self.dataset.train, self.dataset.classes
        recipe, tune = self.components.recipe(), self.components.tune()

        def make(stack: ConvStack, what: str) -> Engine:
            self.monitor.say(f"Making {what}")
            with self.monitor.task("engine"):
                whole = recipe.with_all_references()
                made = whole.build(stack, train, classes, show=self.monitor.show)
            return self._at_hand(made)

        evolved = sliced = saved = make(after, "the engine of all references")
        if not after.equals(before):
            sliced = make(before, "the engine as it was before evolution")
        if recipe.describe():
            # Kept in case the smaller one fails.
            self._save(evolved)
            self.monitor.say("Making the smaller engine")
            with self.monitor.task("engine"):
                smaller = recipe.build(
                    after, train, classes, seed=self.options["seed"], tune=tune,
                    show=self.monitor.show,
                )  # fmt: skip
            saved = self._at_hand(smaller)
        is_smaller = saved is not evolved
        if self.dataset.calibration is not None:
            self.monitor.say("Learning the confidence")
            saved = saved.calibrated(self.dataset.calibration)
        self._save(saved)
        whole = evolved if is_smaller else saved
        return _Engines(sliced, whole, saved) if after.convs else _Engines(whole, None, saved)

    def _at_hand(self, engine: Engine) -> Engine:
        """Let an engine take the maps of images where they are at hand."""
        backbone = self.read.backbone
        return engine if backbone is None else replace(engine, backbone=MapsAtHand.of(backbone))

    def _save(self, engine: Engine) -> None:
        """Write an engine that takes images, and knows how files become such."""
        backbone, preparation = self.read.backbone, self.read.preparation
        whole = replace(engine, backbone=backbone, preparation=preparation)
        whole.save(self.folder / ENGINE)

    def quality(self, test: Images, known: Sequence[str]) -> Quality:
        """Look at the images, now that those of the test can change nothing anymore."""
        self.monitor.say("Looking for copies and wrong labels")
        survey = self.dataset.survey
        if survey is None:
            found = Quality.of_images(self.dataset.train, test, self.dataset.classes)
        else:
            parts = self.dataset.train, self.dataset.calibration, test
            found = survey.quality(features_of(survey.paths, parts), self.read.knows_labels)
        for warning in found.warnings:
            if warning not in known:
                log.warning("%s.", warning)
        return found

    def classify(self, baseline: Baseline, engines: _Engines, tests: list[Images]) -> Measured:
        """Measure all networks on the test images."""
        recipe = self.components.recipe()
        what = "" if recipe.projection == "none" else f", {recipe.projection}"
        what += f", averaged over {recipe.average} px" if recipe.average else ""
        by = self.components.choices["optimizer"]
        name = self.components.baseline_name
        networks: dict[str, tuple[str, Baseline | Engine]] = {"baseline": (name, baseline)}
        if engines.evolved is None:
            on = "pixels" if self.read.backbone is None else "maps"
            networks["sliced"] = f"k-NN on the {on}{what}", engines.sliced
        else:
            networks |= {
                "baseline": (f"CNN {name}", baseline),
                "sliced": (f"sliced{what}, not evolved", engines.sliced),
                "evolved": (f"evolved by {by}{what}", engines.evolved),
            }
        is_tuned = self.components.tune() is not None
        smaller = recipe.describe(is_tuned)
        if smaller:
            networks["engine"] = (f"its engine: {smaller}", engines.saved)
        results, answers = {}, {}
        for key, (name, network) in networks.items():
            self.monitor.say(f"Classifying {max(map(len, tests)):,} test images: {name}")
            results[key], answers[key] = measured(name, network, tests)
        arrays = {key: predicted[-1] for key, predicted in answers.items() if predicted}
        named = {} if tests[-1].names is None else {"names": tests[-1].names}
        save_arrays(
            {"labels": tests[-1].labels, **named, **arrays}, self.folder / "predictions.npz"
        )
        return Measured(results, answers, tests[-1].labels)

    def reliability(self, engine: Engine, test: Images) -> dict[str, Reliability]:
        """Measure how true the engine's confidence is, and the share of the votes beside it."""
        if engine.confidence is None:
            return {}
        self.monitor.say("Measuring how true the confidence is")
        found = engine.evidence(test.images, test.contrasts)
        if found.confidences is None or found.outliers is None or found.outliers.all():
            return {}
        chosen = ~found.outliers
        is_right = (found.labels == test.labels)[chosen]
        scores = {"confidence": found.confidences, "votes": found.shares.max(axis=1)}
        return {name: Reliability.of(each[chosen], is_right) for name, each in scores.items()}

    def add_classes(self, baseline: Baseline, engine: Engine) -> list[ClassAddition]:
        """Teach the engine the new classes, if there are any."""
        new, builder = self.options["new"], self.components.baseline()
        if not new["classes"]:
            return []
        train = None
        if new["retrain"] and builder.is_trained and baseline.head:
            self.monitor.say(f"Training the baseline again {len(new['images'])} times")
            train = builder.build
        return new_classes.add(
            engine, self.read.whole, new["classes"], new["images"], train, self.options["seed"]
        )

    def summary(
        self,
        baseline: Baseline,
        evolution: Evolution,
        found: Measured,
        additions: Sequence[ClassAddition],
        quality: Quality,
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
            n_blocks=evolution.n_blocks,
            evaluations=evolution.evaluations,
            ended=evolution.ended,
            train_seconds=baseline.train_seconds,
            evolve_seconds=evolution.seconds,
            from_cache=baseline.from_cache,
            training=baseline.training,
            interrupted=evolution.interrupted,
            additions=tuple(additions),
            calibration_images=len(self.dataset.calibration or ()),
            reliability=reliability,
            leaks=self.images.leaks and self.components.evolves,
            baseline_warning=baseline.warning,
            quality=quality,
            train_digest=self.read.digest,
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
        evolution: Evolution,
        engine: Engine,
        test: Images,
        predicted: NDArray[np.int64],
    ) -> None:
        """Draw the figures, and write the report."""
        self.monitor.say("Drawing the figures")
        # Here, not above: nothing else needs a library for figures.
        from experiments import plots, report

        if before.convs:
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
        report.write(
            path,
            summary,
            answers,
            masked_values(self.options),
            self.components.choices,
            self.dataset.survey,
        )
