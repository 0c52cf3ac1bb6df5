"""One experiment, from its images to its summary.

The order is the guarantee: the test images are read after evolution has ended and its kernels are
on disk (except under the protocol ``test``, which is about nothing else).
"""

import csv
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numba
import numpy as np
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from threadpoolctl import threadpool_limits

from evolve.block import make_blocks
from evolve.fitness import Fitness
from evolve.protocols import Split, split
from evolve.schedule import BlockEnd, Generation, Schedule
from experiments import plots
from experiments.config import plain
from experiments.progress import Progress, training_callback
from experiments.statistics import Accuracy
from experiments.summary import LEAKS, Row, Summary
from experiments.tracking import Tracker, environment, leaves
from slicing.backend import configure_threads
from slicing.baselines import Baseline
from slicing.cut import cut
from slicing.data.dataset import Dataset, Images
from slicing.engine import Engine
from slicing.errors import InputError
from slicing.stack import ConvStack

log = logging.getLogger(__name__)

Options = dict[str, Any]

# What a run leaves in its folder, and MLflow gets.
_FILES = (
    "config.yaml",
    "kernels.npz",
    "history.csv",
    "summary.md",
    "convergence.png",
    "kernels.png",
    "confusion.png",
    "run.log",
)


def run(config: DictConfig, choices: Mapping[str, str], folder: Path) -> Summary:
    """Run one experiment.

    Parameters
    ----------
    config : DictConfig
        A configuration of the schema :class:`experiments.config.Config`.
    choices : mapping of str to str
        The chosen option of every group.
    folder : Path
        An existing folder for what the experiment leaves behind: the resolved configuration, the
        evolved kernels, the history, the figures and the summary. MLflow gets all of it, too.

    Returns
    -------
    Summary
        Its ``interrupted`` says whether Ctrl-C ended the evolution early.

    Raises
    ------
    InputError
        For what the user can mend. The MLflow run, if it has begun, is marked as failed.
    """
    options: Options = plain(config)
    OmegaConf.save(OmegaConf.create(options), folder / "config.yaml")
    progress = Progress()
    dataset: Dataset = _call(options["data"])()
    tracker = Tracker(**options["tracking"])
    try:
        threads = set_threads(options["threads"])
        name = options["name"] or _name(options, choices, dataset)
        protocol = options["fitness"]["protocol"]
        tags = {
            "dataset": dataset.name,
            "dataset.train_digest": dataset.train.digest,
            "protocol": protocol,
            "threads": threads,
            "status": "running",
            **environment(),
        }
        if protocol == "test":
            log.warning("Protocol test %s.", LEAKS)
            tags["leaks"] = LEAKS
        tracker.begin(name, {**choices, **leaves(options)}, tags)
        progress.say(f"{name}: {len(dataset.train):,} training images of {dataset.name}, {folder}")
        summary = _experiment(options, choices, name, dataset, folder, progress, tracker)
        tracker.finish(folder, _FILES, summary.text(), summary.interrupted)
    except KeyboardInterrupt:
        tracker.abandon("KILLED")
        raise
    except BaseException:
        tracker.abandon("FAILED")
        raise
    return summary


def set_threads(threads: int | None) -> int:
    """Set the number of threads of numba, BLAS and TensorFlow.

    Parameters
    ----------
    threads : int or None
        None is one a core.

    Returns
    -------
    int
        The number that TensorFlow has in force: it takes one only before its first computation.

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
    return configure_threads(threads)


def _experiment(
    options: Options,
    choices: Mapping[str, str],
    name: str,
    dataset: Dataset,
    folder: Path,
    progress: Progress,
    tracker: Tracker,
) -> Summary:
    fitness_options = dict(options["fitness"])
    protocol = fitness_options.pop("protocol")
    fraction = fitness_options.pop("validation_fraction")
    images = split(protocol, dataset, fraction, options["seed"])
    baseline = _baseline(options, dataset, images, progress)
    before = cut(baseline.model)
    progress.say("Measuring the loss before evolution")
    fitness: Fitness = _call(fitness_options)(before, images, **options["slicing"])
    loss_before = fitness.loss
    schedule = _schedule(options, fitness)
    history, seconds, interrupted = _evolve(schedule, options["strategy"], progress, tracker)
    _save_kernels(fitness.stack, folder / "kernels.npz")
    _save_history(history, folder / "history.csv")

    tests = [dataset.read_test()]
    if dataset.read_test_all is not None:
        tests.append(dataset.read_test_all())
    progress.say(f"Classifying {max(map(len, tests)):,} test images")
    evolved_name = f"evolved by {choices['optimizer']}"
    sliced, _ = _sliced("sliced, not evolved", before, dataset, tests, options)
    evolved, predicted = _sliced(evolved_name, fitness.stack, dataset, tests, options)
    ends = [event for event in history if isinstance(event, BlockEnd)]
    summary = Summary(
        title=name,
        protocol=protocol,
        objective=fitness_options["objective"],
        baseline=_full(f"CNN {_label(options, choices)}", baseline, tests),
        sliced=sliced,
        evolved=evolved,
        loss_before=loss_before,
        loss_after=fitness.loss,
        blocks_done=len(ends),
        blocks_accepted=sum(end.accepted for end in ends),
        n_blocks=history[-1].n_blocks,
        evaluations=schedule.evaluations,
        train_seconds=baseline.train_seconds,
        evolve_seconds=seconds,
        from_cache=baseline.from_cache,
        interrupted=interrupted,
    )
    tracker.log(summary.metrics())
    (folder / "summary.md").write_text(summary.text() + "\n", encoding="utf-8")
    log.info("%s", summary.text())
    plots.convergence(history, folder / "convergence.png", name)
    plots.kernels(before, fitness.stack, folder / "kernels.png")
    title = f"{name}\n{evolved_name}, {len(tests[0]):,} test images"
    plots.confusion(tests[0].labels, predicted, dataset.classes, folder / "confusion.png", title)
    return summary


def _call(options: Options) -> Any:
    """Make a function or class with its options, to be called with the rest."""
    return instantiate(options, _partial_=True)


def _label(options: Options, choices: Mapping[str, str]) -> str:
    """Name the baseline: ``lenet64``."""
    return f"{choices['baseline']}{options['baseline'].get('units', '')}"


def _name(options: Options, choices: Mapping[str, str], dataset: Dataset) -> str:
    """Name the run: ``cmaes-serial-lenet64-mnist5k-s0``."""
    parts = (choices["optimizer"], choices["strategy"], _label(options, choices), dataset.name)
    return "-".join((*parts, f"s{options['seed']}"))


def _baseline(options: Options, dataset: Dataset, images: Split, progress: Progress) -> Baseline:
    make = _call(options["baseline"])
    references, n_classes = images.references, len(dataset.classes)
    if "epochs" not in options["baseline"]:
        return make(references, n_classes)  # type: ignore[no-any-return]
    with progress.task("training"):
        return make(  # type: ignore[no-any-return]
            references, n_classes, callbacks=[training_callback(progress)]
        )


def _schedule(options: Options, fitness: Fitness) -> Schedule:
    strategy = dict(options["strategy"])
    blocks = make_blocks(
        fitness.stack, strategy.pop("block"), strategy.pop("layers"), strategy.pop("group_size")
    )
    optimizer = _call(options["optimizer"])
    schedule: Schedule = _call(strategy)(fitness, blocks, optimizer, seed=options["seed"])
    return schedule


def _evolve(
    schedule: Schedule, limits: Options, progress: Progress, tracker: Tracker
) -> tuple[list[Generation | BlockEnd], float, bool]:
    """Run the schedule; give its history, its seconds and whether Ctrl-C ended it."""
    history: list[Generation | BlockEnd] = []
    generations = 0
    with progress.task("evolving"), _stopped_by_interrupt(schedule) as interrupted:
        progress.show(0.0, "computing the distances")
        for event in schedule:
            history.append(event)
            if isinstance(event, BlockEnd):
                tracker.log(
                    {
                        "block/validation_loss": event.loss_after,
                        "block/accepted": float(event.accepted),
                    },
                    event.block_number,
                )
                continue
            generations += 1
            tracker.log(
                {
                    "evolve/best_loss": event.best_loss,
                    "evolve/mean_loss": event.mean_loss,
                    "evolve/sigma": event.sigma,
                    "evolve/evaluations": event.evaluations,
                    "evolve/full_scans": schedule.fitness.full_scans,
                },
                generations,
            )
            done = max(
                (event.block_number + event.generation / event.n_generations) / event.n_blocks,
                event.evaluations / (limits["max_evaluations"] or float("inf")),
                progress.seconds / (limits["max_seconds"] or float("inf")),
            )
            progress.show(
                min(done, 1.0),
                f"{event.block.name} ({event.block_number + 1}/{event.n_blocks}), "
                f"generation {event.generation}/{event.n_generations}, "
                f"best loss {event.best_loss:.4f}, "
                f"{event.evaluations / progress.seconds:.3g} evaluations/s",
            )
        seconds = progress.seconds
    return history, seconds, interrupted.is_set()


@contextmanager
def _stopped_by_interrupt(schedule: Schedule) -> Iterator[threading.Event]:
    """Let the first Ctrl-C end the schedule after its generation, and the second at once."""
    interrupted = threading.Event()
    # Python gives signals to the main thread alone.
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def stop(signum: int, frame: object) -> None:
        signal.signal(signal.SIGINT, previous)
        interrupted.set()
        schedule.stop("interrupted")
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nStopping after this generation; Ctrl-C again ends at once.\n")

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)


def _save_kernels(stack: ConvStack, path: Path) -> None:
    """Write the weights and biases, never half of them."""
    arrays: dict[str, Any] = {}
    for number, conv in enumerate(stack.convs, 1):
        arrays |= {f"conv{number}_weights": conv.weights, f"conv{number}_bias": conv.bias}
    part = path.with_suffix(".part.npz")
    try:
        np.savez(part, **arrays)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _save_history(history: list[Generation | BlockEnd], path: Path) -> None:
    """Write one line a generation, for those who want to draw it themselves."""
    rows = [
        asdict(event) | {"block": event.block.name}
        for event in history
        if isinstance(event, Generation)
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0] if rows else ())
        writer.writeheader()
        writer.writerows(rows)


def _full(name: str, baseline: Baseline, tests: list[Images]) -> Row:
    """Measure the network with its dense layers."""
    accuracies: list[Accuracy | None] = [None, None]
    if baseline.trained:
        for place, test in enumerate(tests):
            accuracies[place] = Accuracy.of(baseline.predict(test.images), test.labels)
    n_parameters = baseline.n_parameters
    return Row(name, n_parameters, None, 4 * n_parameters, *accuracies)


def _sliced(
    name: str,
    stack: ConvStack,
    dataset: Dataset,
    tests: list[Images],
    options: Options,
) -> tuple[Row, np.ndarray[Any, np.dtype[np.int64]]]:
    """Measure a conv stack with its k-NN; give the predictions on the first test images, too."""
    engine = Engine.fit(stack, dataset.train, dataset.classes, **options["slicing"])
    predictions = [engine.predict(test.images) for test in tests]
    accuracies: list[Accuracy | None] = [None, None]
    for place, (predicted, test) in enumerate(zip(predictions, tests, strict=True)):
        accuracies[place] = Accuracy.of(predicted, test.labels)
    row = Row(name, stack.n_parameters, engine.conv_bytes, engine.total_bytes, *accuracies)
    return row, predictions[0]
