"""One experiment, from its images to its summary.

The order is the guarantee: the test images are read after evolution has ended and its kernels are
on disk (except under the protocol ``test``, which is about nothing else).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from threadpoolctl import threadpool_limits

from evolve.checkpoint import Checkpoint
from evolve.protocols import Split
from evolve.schedule import BlockEnd, Schedule
from experiments import new_classes, plots, report, resume
from experiments.config import plain
from experiments.engines import describe, recipe_of, tune_of
from experiments.evolution import run_schedule
from experiments.history import BLOCKS, GENERATIONS, Event, History
from experiments.new_classes import Addition
from experiments.parts import Options, Parts
from experiments.progress import Progress
from experiments.report import Answers
from experiments.resume import Begun, checkpoint_of
from experiments.statistics import Accuracy
from experiments.summary import LEAKS, Row, Summary, addition_metrics
from experiments.tracking import Tracker, environment, leaves
from slicing.backend import configure_threads
from slicing.baselines import Baseline
from slicing.classifier import Classifier
from slicing.data.dataset import Dataset, Images
from slicing.engine.classifier import Engine
from slicing.errors import InputError
from slicing.stack import ConvStack

log = logging.getLogger(__name__)

ENGINE = "engine.safetensors"

# What a run leaves in its folder, and MLflow gets.
_FILES = (
    "config.yaml",
    "kernels.npz",
    "predictions.npz",
    GENERATIONS,
    BLOCKS,
    "summary.md",
    "convergence.png",
    "kernels.png",
    "confusion.png",
    "accuracy.png",
    "report.html",
    "run.log",
)


def run(
    config: DictConfig, choices: Mapping[str, str], folder: Path, overrides: Sequence[str] = ()
) -> Summary:
    """Run one experiment, or go on with one.

    Parameters
    ----------
    config : DictConfig
        A configuration of the schema :class:`experiments.config.Config`.
    choices : mapping of str to str
        The chosen option of every group.
    folder : Path
        An existing folder for what the experiment leaves behind: the resolved configuration, the
        evolved kernels, the history, the figures and the summary. MLflow gets all of it, too.
        Until the experiment has ended, it holds the folder ``checkpoint``, too; where that is
        there at the beginning, the run is gone on with. ``config.resume`` makes sure of it.
    overrides : sequence of str
        The command line, which resuming begins with.

    Returns
    -------
    Summary
        Its ``interrupted`` says whether Ctrl-C ended the evolution early.

    Raises
    ------
    InputError
        For what the user can mend. The MLflow run, if it has begun, is marked as failed.
    """
    checkpoint = checkpoint_of(folder)
    # A job that a cluster starts again finds its own beginning in its folder.
    had_begun = resume.has_begun(folder)
    with checkpoint.locked():
        try:
            options = plain(config)
            is_resumed = options.pop("resume") is not None or had_begun
            begun = resume.load(folder) if is_resumed else None
            parts = Parts(options, choices)
            summary = _run(parts, folder, tuple(overrides), begun, checkpoint)
        except BaseException:
            if not had_begun and not resume.has_evolved(folder):
                checkpoint.clear(resume.NAME)
            raise
        if not summary.interrupted:
            checkpoint.clear(resume.NAME)
    return summary


def _run(
    parts: Parts,
    folder: Path,
    overrides: tuple[str, ...],
    begun: Begun | None,
    checkpoint: Checkpoint,
) -> Summary:
    options, dataset = parts.options, parts.dataset()
    digest = dataset.train.digest
    if begun is not None:
        begun.check(options, digest)
    OmegaConf.save(OmegaConf.create(options), folder / "config.yaml")
    progress = Progress()
    threads = set_threads(options["threads"])
    if parts.baseline().uses_tensorflow:
        # What TensorFlow has in force: it takes a number only before its first computation.
        threads = configure_threads(threads)
    whole = dataset
    names = options["new"]["classes"]
    if names:
        new_classes.check_options(dataset, names, options["new"]["images"])
        old = [name for name in dataset.classes if name not in names]
        whole, dataset = dataset.of_classes([*old, *names]), dataset.of_classes(old)
    images = parts.split(dataset)
    parts.check(images, len(dataset.classes))
    tracker = Tracker(**options["tracking"])
    try:
        name = options["name"] or parts.name(dataset)
        tags = {
            "dataset": dataset.name,
            "dataset.train_digest": digest,
            "protocol": parts.protocol,
            "threads": threads,
            "status": "running",
            **environment(),
        }
        if parts.protocol == "test":
            log.warning("Protocol test %s.", LEAKS)
            tags["leaks"] = LEAKS
        if begun is None:
            tracker.begin(name, {**parts.choices, **leaves(options)}, tags)
            Begun(overrides, options, tracker.run_id, digest).save(checkpoint)
        else:
            tracker.resume(begun.mlflow_run, tags)
        progress.say(f"{name}: {len(dataset.train):,} training images of {dataset.name}, {folder}")
        summary = _Experiment(
            parts, name, tags, dataset, whole, images, folder, progress, tracker, checkpoint
        ).run()
        tracker.finish(folder, _FILES, summary.text(), summary.interrupted)
    except BaseException as error:
        tracker.abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    return summary


def set_threads(threads: int | None) -> int:
    """Set the number of threads of numba and BLAS; the baseline sets that of TensorFlow.

    Parameters
    ----------
    threads : int or None
        None is one a core.

    Returns
    -------
    int

    Raises
    ------
    InputError
        Where the machine has fewer cores.
    """
    cores = int(numba.config.NUMBA_NUM_THREADS)
    threads = cores if threads is None else threads
    if not 1 <= threads <= cores:
        raise InputError(f"threads={threads} is out of range: choose 1 to {cores} on this machine.")
    numba.set_num_threads(threads)
    threadpool_limits(limits=threads, user_api="blas")
    return threads


@dataclass(frozen=True)
class _Evolution:
    """What evolution came to."""

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
    """Those before and after evolution, with all references, and the one that is saved."""

    sliced: Engine
    evolved: Engine
    saved: Engine


@dataclass(frozen=True)
class _Experiment:
    """What the stages of an experiment share."""

    parts: Parts
    name: str
    tags: Mapping[str, object]
    dataset: Dataset
    whole: Dataset
    images: Split
    folder: Path
    progress: Progress
    tracker: Tracker
    checkpoint: Checkpoint

    @property
    def options(self) -> Options:
        return self.parts.options

    def run(self) -> Summary:
        baseline = self.baseline()
        evolution = self.evolve(baseline.stack)
        engines = self.engines(baseline.stack, evolution.stack)
        tests = [self.dataset.read_test()]
        if self.dataset.read_test_all is not None:
            tests.append(self.dataset.read_test_all())
        rows, predicted = self.classify(baseline, engines, tests)
        # Whoever has interrupted the run does not wait for more training.
        additions = [] if evolution.interrupted else self.add_classes(baseline, engines.saved)
        summary = self.summary(baseline, evolution, rows, additions)
        self.write(summary)
        self.draw_and_report(summary, baseline.stack, evolution, engines.saved, tests[0], predicted)
        # Last: all that is in the folder is there, whether MLflow answers or not.
        if not evolution.interrupted:
            self.tracker.log_engine(self.folder / ENGINE, engines.saved.stack.input_shape)
        return summary

    def baseline(self) -> Baseline:
        builder, given = self.parts.baseline(), (self.images.references, self.dataset.classes)
        with self.parts.naming("baseline"):
            if not builder.is_trained:
                return builder.build(*given)
            with self.progress.task("training"):
                return builder.build(*given, self.progress.show)

    def evolve(self, before: ConvStack) -> _Evolution:
        """Evolve the kernels, and put them on disk."""
        self.progress.say("Measuring the loss before evolution")
        fitness = self.parts.fitness(before, self.images)
        selection = self.parts.selection(before, self.images)
        loss_before = fitness.loss
        schedule = self.parts.schedule(fitness, selection, self.checkpoint)
        history = History(self.folder, schedule.blocks, schedule.blocks_done)
        try:
            interrupted = run_schedule(schedule, history, self.progress, self.tracker)
        finally:
            history.close()
        after, loss_after = fitness.stack, fitness.loss
        _save_kernels(after, self.folder / "kernels.npz")
        if not fitness.same_images and not after.equals(before):
            self.progress.say("Measuring the loss after evolution")
            # On the images of the first network, which are the same whatever evolves from it.
            loss_after = self.parts.fitness(before, self.images).loss_of(after)
        return _Evolution(after, loss_before, loss_after, schedule, history.events, interrupted)

    def engines(self, before: ConvStack, after: ConvStack) -> _Engines:
        """Make the engines, and save one."""
        train, classes, slicing = self.dataset.train, self.dataset.classes, self.options["slicing"]
        recipe, seed = recipe_of(slicing), self.options["seed"]

        def make(stack: ConvStack, what: str) -> Engine:
            self.progress.say(f"Making {what}")
            with self.progress.task("engine"):
                whole = recipe.with_all_references()
                return whole.build(stack, train, classes, show=self.progress.show)

        evolved = sliced = saved = make(after, "the engine of all references")
        if not after.equals(before):
            sliced = make(before, "the engine as it was before evolution")
        if describe(slicing):
            # Whatever becomes of the smaller one.
            evolved.save(self.folder / ENGINE)
            self.progress.say("Making the smaller engine")
            with self.progress.task("engine"):
                tune = tune_of(slicing, self.parts.optimizer(), seed)
                saved = recipe.build(
                    after, train, classes, seed=seed, tune=tune, show=self.progress.show
                )
        saved.save(self.folder / ENGINE)
        return _Engines(sliced, evolved, saved)

    def classify(
        self, baseline: Baseline, engines: _Engines, tests: list[Images]
    ) -> tuple[dict[str, Row], NDArray[np.int64]]:
        """Measure all networks; give what the saved engine says of the first test images, too."""
        self.progress.say(f"Classifying {max(map(len, tests)):,} test images")
        slicing = self.options["slicing"]
        what = "" if slicing["projection"] == "none" else f", {slicing['projection']}"
        what += f", averaged over {slicing['average']} px" if slicing["average"] else ""
        by = self.parts.choices["optimizer"]
        measured = {
            "baseline": _measured(f"CNN {self.parts.baseline_name}", baseline, tests),
            "evolved": _measured(f"evolved by {by}{what}", engines.evolved, tests),
            "sliced": _measured(f"sliced{what}, not evolved", engines.sliced, tests),
        }
        smaller = describe(slicing)
        if smaller:
            measured["engine"] = _measured(f"its engine: {smaller}", engines.saved, tests)
        arrays = {name: answers[-1] for name, (_, answers) in measured.items() if answers}
        _save({"labels": tests[-1].labels, **arrays}, self.folder / "predictions.npz")
        _, predicted = measured.setdefault("engine", measured["evolved"])
        return {name: row for name, (row, _) in measured.items()}, predicted[0]

    def add_classes(self, baseline: Baseline, engine: Engine) -> list[Addition]:
        """Teach the engine the new classes, if there are any."""
        new = self.options["new"]
        if not new["classes"]:
            return []
        train = None
        builder = self.parts.baseline()
        if new["retrain"] and builder.is_trained and baseline.model:
            self.progress.say(f"Training the CNN again {len(new['images'])} times")
            train = builder.build
        return new_classes.add(
            engine, self.whole, new["classes"], new["images"], train, self.options["seed"]
        )

    def summary(
        self,
        baseline: Baseline,
        evolution: _Evolution,
        rows: Mapping[str, Row],
        additions: Sequence[Addition],
    ) -> Summary:
        return Summary(
            title=self.name,
            protocol=self.parts.protocol,
            objective=self.parts.choices["fitness"],
            **rows,
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
            interrupted=evolution.interrupted,
            additions=tuple(additions),
        )

    def write(self, summary: Summary) -> None:
        """Log the figures, and write them down."""
        self.tracker.log(summary.metrics())
        for addition in summary.additions:
            self.tracker.log(addition_metrics(addition), addition.images)
        (self.folder / "summary.md").write_text(summary.text() + "\n", encoding="utf-8")
        log.info("%s", summary.text())

    def draw_and_report(
        self,
        summary: Summary,
        before: ConvStack,
        evolution: _Evolution,
        engine: Engine,
        test: Images,
        predicted: NDArray[np.int64],
    ) -> None:
        """Draw the figures, and put them and all else into the report."""
        plots.convergence(evolution.events, self.folder / "convergence.png", self.name)
        plots.kernels(before, evolution.stack, self.folder / "kernels.png")
        title = f"{self.name}\n{summary.engine.name}, {len(test):,} test images"
        confusion = self.folder / "confusion.png"
        plots.confusion(test.labels, predicted, self.dataset.classes, confusion, title)
        plots.accuracy(summary.networks, self.folder / "accuracy.png", self.name)
        answers = Answers(engine, self.dataset.train, test, predicted)
        path = self.folder / "report.html"
        report.write(path, summary, answers, self.options, self.parts.choices, self.tags)


def _save_kernels(stack: ConvStack, path: Path) -> None:
    """Write the weights and biases."""
    arrays: dict[str, Any] = {}
    for number, conv in enumerate(stack.convs, 1):
        arrays |= {f"conv{number}_weights": conv.weights, f"conv{number}_bias": conv.bias}
    _save(arrays, path)


def _save(arrays: dict[str, Any], path: Path) -> None:
    """Write arrays, never half of them."""
    part = path.with_suffix(".part.npz")
    try:
        np.savez(part, **arrays)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _measured(
    name: str, network: Baseline | Engine, tests: list[Images]
) -> tuple[Row, list[NDArray[np.int64]]]:
    """Measure a network, if it can classify; give its predictions, too."""
    accuracies: list[Accuracy | None] = [None, None]
    predictions = []
    if isinstance(network, Engine) or network.model is not None:
        classifier: Classifier = network
        predictions = [classifier.predict_labels(test.images) for test in tests]
        accuracies = _accuracies(predictions, tests)
    engine = network if isinstance(network, Engine) else None
    row = Row(
        name,
        network.n_parameters,
        engine.conv_bytes if engine else None,
        engine.reference_bytes if engine else None,
        network.total_bytes,
        *accuracies,
    )
    return row, predictions


def _accuracies(predictions: list[NDArray[np.int64]], tests: list[Images]) -> list[Accuracy | None]:
    """Compare predictions with the labels; none for images that there are not."""
    found: list[Accuracy | None] = [
        Accuracy.of(predicted, test.labels)
        for predicted, test in zip(predictions, tests, strict=True)
    ]
    return found + [None] * (2 - len(found))
