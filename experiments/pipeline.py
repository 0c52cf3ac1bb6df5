"""One experiment, from its images to its summary.

The order is the guarantee: the test images are read after evolution has ended and its kernels are
on disk (except under the protocol ``test``, which is about nothing else).
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
from hydra.utils import get_object
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from threadpoolctl import threadpool_limits

from evolve.block import Block, make_blocks
from evolve.checkpoint import Checkpoint
from evolve.executors.base import Executor
from evolve.fitness import Fitness
from evolve.optimizers.base import Optimizer
from evolve.protocols import Split, split
from evolve.schedule import BlockEnd, Schedule
from evolve.search import Generation
from experiments import new_classes, plots, report, resume
from experiments.config import GROUPS, plain
from experiments.engines import build_engine, check_options, describe
from experiments.history import BLOCKS, GENERATIONS, Event, History
from experiments.new_classes import Addition
from experiments.progress import Progress, training_callback
from experiments.report import Answers
from experiments.resume import Begun, checkpoint_of
from experiments.statistics import Accuracy
from experiments.summary import LEAKS, Row, Summary, addition_metrics
from experiments.tracking import Tracker, environment, leaves
from slicing.backend import configure_threads
from slicing.baselines import Baseline, random_cnn
from slicing.data.dataset import Dataset, Images
from slicing.engine import Engine
from slicing.errors import InputError
from slicing.reduction import project
from slicing.stack import ConvStack

log = logging.getLogger(__name__)

Options = dict[str, Any]

ENGINE = "engine.safetensors"

# What the classes of a group keep.
_CONTRACTS = {
    "optimizer": Optimizer, "fitness": Fitness, "strategy": Schedule, "executor": Executor
}  # fmt: skip

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
            summary = _run(options, choices, folder, tuple(overrides), begun, checkpoint)
        except BaseException:
            if not had_begun and not resume.has_evolved(folder):
                checkpoint.clear(resume.NAME)
            raise
        if not summary.interrupted:
            checkpoint.clear(resume.NAME)
    return summary


def _run(
    options: Options,
    choices: Mapping[str, str],
    folder: Path,
    overrides: tuple[str, ...],
    begun: Begun | None,
    checkpoint: Checkpoint,
) -> Summary:
    choices = _named(options, choices)
    with _naming(options, "data"):
        dataset: Dataset = _call(options["data"])()
    digest = dataset.train.digest
    if begun is not None:
        begun.check(options, digest)
    OmegaConf.save(OmegaConf.create(options), folder / "config.yaml")
    progress = Progress()
    threads = set_threads(options["threads"])
    if "threads" in options["baseline"]:
        # What TensorFlow has in force: it takes a number only before its first computation.
        threads = configure_threads(threads)
    whole = dataset
    names = options["new"]["classes"]
    if names:
        new_classes.check_options(dataset, names, options["new"]["images"])
        old = [name for name in dataset.classes if name not in names]
        whole, dataset = dataset.of_classes([*old, *names]), dataset.of_classes(old)
    images = _split(options, dataset)
    _check(options, images, len(dataset.classes))
    tracker = Tracker(**options["tracking"])
    try:
        name = options["name"] or _name(options, choices, dataset)
        protocol = options["fitness"]["protocol"]
        tags = {
            "dataset": dataset.name,
            "dataset.train_digest": digest,
            "protocol": protocol,
            "threads": threads,
            "status": "running",
            **environment(),
        }
        if protocol == "test":
            log.warning("Protocol test %s.", LEAKS)
            tags["leaks"] = LEAKS
        if begun is None:
            tracker.begin(name, {**choices, **leaves(options)}, tags)
            Begun(overrides, options, tracker.run_id, digest).save(checkpoint)
        else:
            tracker.resume(begun.mlflow_run, tags)
        progress.say(f"{name}: {len(dataset.train):,} training images of {dataset.name}, {folder}")
        summary = _experiment(
            options, choices, name, tags, dataset, whole, images, folder, progress, tracker,
            checkpoint,
        )  # fmt: skip
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


def _experiment(
    options: Options,
    choices: Mapping[str, str],
    name: str,
    tags: Mapping[str, object],
    dataset: Dataset,
    whole: Dataset,
    images: Split,
    folder: Path,
    progress: Progress,
    tracker: Tracker,
    checkpoint: Checkpoint,
) -> Summary:
    baseline = _baseline(options, dataset, images.references, progress)
    before = baseline.stack
    progress.say("Measuring the loss before evolution")
    fitness, selection = _fitnesses(options, before, images)
    loss_before = fitness.loss
    schedule = _schedule(options, fitness, selection, checkpoint)
    history = History(folder, schedule.blocks, schedule.blocks_done)
    try:
        interrupted = _evolve(schedule, history, progress, tracker)
    finally:
        history.close()
    _save_kernels(fitness.stack, folder / "kernels.npz")
    has_changed = not fitness.stack.equals(before)
    if has_changed and not fitness.same_images:
        loss_before = fitness.loss_of(before)  # on those of the network as it is now
    smaller = describe(options["slicing"])
    kind = options["slicing"]["projection"]
    projection = "" if kind == "none" else f", {kind}"
    progress.say("Making the engines")
    evolved_engine = unevolved_engine = engine = _all_references(fitness.stack, dataset, options)
    if has_changed:
        unevolved_engine = _all_references(before, dataset, options)
    if smaller:
        # Whatever becomes of the smaller one.
        engine.save(folder / ENGINE)
        with progress.task("engine"):
            engine = build_engine(
                fitness.stack,
                dataset.train,
                dataset.classes,
                options["slicing"],
                _call(options["optimizer"]),
                options["seed"],
                progress.show,
            )
    engine.save(folder / ENGINE)

    tests = [dataset.read_test()]
    if dataset.read_test_all is not None:
        tests.append(dataset.read_test_all())
    progress.say(f"Classifying {max(map(len, tests)):,} test images")
    full, predicted_in_full = _full(f"CNN {_label(options, choices)}", baseline, tests)
    evolved, predicted = _measured(
        f"evolved by {choices['optimizer']}{projection}", evolved_engine, tests
    )
    sliced, predicted_before = _measured(
        f"sliced{projection}, not evolved", unevolved_engine, tests
    )
    arrays = {"sliced": predicted_before[-1], "evolved": predicted[-1]}
    saved = evolved
    if smaller:
        saved, predicted = _measured(f"its engine: {smaller}", engine, tests)
        arrays["engine"] = predicted[-1]
    if predicted_in_full:
        arrays["baseline"] = predicted_in_full[-1]
    _save({"labels": tests[-1].labels, **arrays}, folder / "predictions.npz")
    # Whoever has interrupted the run does not wait for more training.
    additions = (
        []
        if interrupted
        else _add_classes(
            options,
            engine,
            whole,
            progress,
            "epochs" in options["baseline"] and bool(baseline.model),
        )
    )
    ends = [event for event in history.events if isinstance(event, BlockEnd)]
    summary = Summary(
        title=name,
        protocol=options["fitness"]["protocol"],
        objective=choices["fitness"],
        baseline=full,
        sliced=sliced,
        evolved=evolved,
        engine=saved,
        loss_before=loss_before,
        loss_after=fitness.loss,
        blocks_done=len(ends),
        blocks_accepted=sum(end.accepted for end in ends),
        n_blocks=schedule.n_blocks,
        evaluations=schedule.evaluations,
        ended=schedule.ended or "",
        train_seconds=baseline.train_seconds,
        evolve_seconds=schedule.seconds,
        from_cache=baseline.from_cache,
        interrupted=interrupted,
        additions=tuple(additions),
    )
    tracker.log(summary.metrics())
    for addition in additions:
        tracker.log(addition_metrics(addition), addition.images)
    (folder / "summary.md").write_text(summary.text() + "\n", encoding="utf-8")
    log.info("%s", summary.text())
    plots.convergence(history.events, folder / "convergence.png", name)
    plots.kernels(before, fitness.stack, folder / "kernels.png")
    title = f"{name}\n{saved.name}, {len(tests[0]):,} test images"
    plots.confusion(tests[0].labels, predicted[0], dataset.classes, folder / "confusion.png", title)
    plots.accuracy(summary.networks, folder / "accuracy.png", name)
    answers = Answers(engine, dataset.train, tests[0], predicted[0])
    report.write(folder / "report.html", summary, answers, options, choices, tags)
    # Last: all that is in the folder is there, whether MLflow answers or not.
    if not interrupted:
        tracker.log_engine(folder / ENGINE, engine.stack.input_shape)
    return summary


def _call(options: Options) -> Any:
    """Make a function or class with its options, to be called with the rest.

    Not by Hydra's ``instantiate``: it would make lists of its own kind again, in whose code Ctrl-C
    raises other errors.
    """
    arguments = {name: value for name, value in options.items() if name != "_target_"}
    try:
        return partial(get_object(options["_target_"]), **arguments)
    except (ImportError, ValueError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"_target_={options['_target_']} cannot be used: {reason}.") from error


@contextmanager
def _naming(options: Options, group: str) -> Iterator[None]:
    """Name an option as the command line does, where a library names its parameter."""
    try:
        yield
    except InputError as error:
        name = str(error).partition("=")[0]
        raise InputError(f"{group}.{error}" if name in options[group] else str(error)) from error


def _named(options: Options, choices: Mapping[str, str]) -> dict[str, str]:
    """Name what is chosen: by its class, where the command line has put that into an option."""
    names = dict(choices)
    for group, choice in choices.items():
        schema = GROUPS.get(group, {}).get(choice)
        target = options[group].get("_target_") if schema else None
        if target and target != getattr(schema, "_target_", target):
            names[group] = target.rpartition(".")[2]
    return names


def _label(options: Options, choices: Mapping[str, str]) -> str:
    """Name the baseline: ``lenet64``."""
    return f"{choices['baseline']}{options['baseline'].get('units', '')}"


def _name(options: Options, choices: Mapping[str, str], dataset: Dataset) -> str:
    """Name the run: ``cmaes-serial-lenet64-mnist5k-s0``."""
    parts = (choices["optimizer"], choices["strategy"], _label(options, choices), dataset.name)
    return "-".join((*parts, f"s{options['seed']}"))


def _split(options: Options, dataset: Dataset) -> Split:
    fitness = options["fitness"]
    selects = options["strategy"]["hand_over"] == "selection"
    return split(
        fitness["protocol"],
        dataset,
        fitness["validation_fraction"],
        options["seed"],
        fitness["selection_fraction"] if selects else None,
    )


def _check(options: Options, images: Split, n_classes: int) -> None:
    """Refuse, before anything is trained, what cannot go together."""
    for group, contract in _CONTRACTS.items():
        target = _call(options[group]).func
        if not (isinstance(target, type) and issubclass(target, contract)):
            raise InputError(
                f"{group}._target_={options[group]['_target_']} is of another kind: name a class "
                f"derived from {contract.__module__}.{contract.__name__}."
            )
    _call(options["strategy"]).func.check_executor(_call(options["executor"])())
    baseline = options["baseline"]
    if "epochs" in baseline:
        # Of the same shape, at once.
        shape = {name: baseline[name] for name in ("filters", "kernel_size", "pooling", "seed")}
        make: Any = partial(random_cnn, **shape)
    else:
        make = _call(baseline)
    with _naming(options, "baseline"):
        stack = make(images.references, n_classes).stack
    with _naming(options, "slicing"):
        check_options(options["slicing"], stack, images.references, _call(options["optimizer"]))
    fitness = _fitness(options)
    with _naming(options, "fitness"):
        try:
            fitness.func.check(stack, images, **fitness.keywords)
        except TypeError as error:
            raise InputError(
                f"fitness._target_={options['fitness']['_target_']} does not check these options "
                f"({error}): give it a check that takes what its constructor takes."
            ) from error
    with _naming(options, "strategy"):
        blocks = _blocks(options, stack)
    with _naming(options, "optimizer"):
        for block in blocks:
            _call(options["optimizer"])(block.read(stack), 1.0, np.random.default_rng(0))


def _baseline(
    options: Options, dataset: Dataset, references: Images, progress: Progress
) -> Baseline:
    make, n_classes = _call(options["baseline"]), len(dataset.classes)
    if "epochs" not in options["baseline"]:
        return make(references, n_classes)  # type: ignore[no-any-return]
    with progress.task("training"), _naming(options, "baseline"):
        return make(  # type: ignore[no-any-return]
            references, n_classes, callbacks=[training_callback(progress)]
        )


def _add_classes(
    options: Options, engine: Engine, whole: Dataset, progress: Progress, has_head: bool
) -> list[Addition]:
    """Teach the engine the new classes, if there are any."""
    new = options["new"]
    if not new["classes"]:
        return []
    train = None
    if new["retrain"] and has_head:
        progress.say(f"Training the CNN anew {len(new['images'])} times")
        train = _call(options["baseline"])
    return new_classes.add(engine, whole, new["classes"], new["images"], train, options["seed"])


def _fitness(options: Options) -> Any:
    """Make the fitness with its options, to be called with a network and its images."""
    splits = ("protocol", "validation_fraction", "selection_fraction")
    return _call({key: value for key, value in options["fitness"].items() if key not in splits})


def _fitnesses(options: Options, stack: ConvStack, images: Split) -> tuple[Fitness, Fitness | None]:
    """Make the loss that is minimised, and that on the selection queries if there are any."""
    make = _fitness(options)
    with _naming(options, "fitness"):
        fitness = make(stack, images)
    if images.selection is None:
        return fitness, None
    return fitness, make(stack, Split(images.references, images.selection))


def _blocks(options: Options, stack: ConvStack) -> list[Block]:
    strategy = options["strategy"]
    return make_blocks(stack, strategy["block"], strategy["layers"], strategy["group_size"])


def _schedule(
    options: Options, fitness: Fitness, selection: Fitness | None, checkpoint: Checkpoint
) -> Schedule:
    division = ("block", "layers", "group_size")
    strategy = {key: value for key, value in options["strategy"].items() if key not in division}
    with _naming(options, "strategy"):
        schedule: Schedule = _call(strategy)(
            fitness,
            _blocks(options, fitness.stack),
            _call(options["optimizer"]),
            seed=options["seed"],
            executor=_call(options["executor"])(),
            selection=selection,
            checkpoint=checkpoint,
        )
    return schedule


def _evolve(schedule: Schedule, history: History, progress: Progress, tracker: Tracker) -> bool:
    """Run the schedule; tell whether Ctrl-C ended it."""
    generations = 0
    # What an earlier process had not handed to MLflow any more when it ended.
    for event in history.events:
        generations += isinstance(event, Generation)
        tracker.log(*_metrics(event, generations))
    at_first, done = None, schedule.blocks_done / max(schedule.n_blocks, 1)
    with progress.task("evolving", done), _stopped_by_interrupt(schedule) as interrupted:
        progress.show(done, "computing what stands still")
        for event in schedule:
            at_first = schedule.evaluations if at_first is None else at_first
            history.append(event)
            generations += isinstance(event, Generation)
            # What comes of blocks that are cut short is not logged: resumed, they end otherwise.
            if not interrupted.is_set():
                tracker.log(*_metrics(event, generations))
            if isinstance(event, BlockEnd):
                continue
            done = max(
                (event.block_number + event.generation / event.n_generations) / event.n_blocks,
                event.evaluations / (schedule.max_evaluations or float("inf")),
                schedule.seconds / (schedule.max_seconds or float("inf")),
            )
            speed = (schedule.evaluations - at_first) / progress.seconds
            progress.show(
                min(done, 1.0),
                f"{event.block.name} ({event.block_number + 1}/{event.n_blocks}), "
                f"generation {event.generation}/{event.n_generations}, "
                f"best loss {event.best_loss:.4f}, {speed:.3g} evaluations/s",
            )
    return interrupted.is_set()


def _metrics(event: Event, generations: int) -> tuple[dict[str, float], int]:
    """Give what MLflow shows of an event, and at which step."""
    if isinstance(event, BlockEnd):
        accepted = float(event.accepted)
        metrics = {"block/validation_loss": event.loss_after, "block/accepted": accepted}
        return metrics, event.block_number
    return {
        "evolve/best_loss": event.best_loss,
        "evolve/mean_loss": event.mean_loss,
        "evolve/sigma": event.sigma,
        "evolve/evaluations": event.evaluations,
        "evolve/full_scans": event.full_scans,
    }, generations


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


def _full(
    name: str, baseline: Baseline, tests: list[Images]
) -> tuple[Row, list[NDArray[np.int64]]]:
    """Measure the network with its dense layers, if it has any; give its predictions, too."""
    accuracies: list[Accuracy | None] = [None, None]
    predictions = []
    if baseline.model is not None:
        predictions = [baseline.predict(test.images) for test in tests]
        accuracies = _accuracies(predictions, tests)
    n_parameters = baseline.n_parameters
    return Row(name, n_parameters, None, None, 4 * n_parameters, *accuracies), predictions


def _all_references(stack: ConvStack, dataset: Dataset, options: Options) -> Engine:
    """Make the engine whose references are all training images."""
    slicing = options["slicing"]
    if slicing["projection"] != "none":
        stack = project(
            stack, dataset.train, slicing["projection"], slicing["components"], slicing["shift"]
        )
    return Engine.fit(stack, dataset.train, dataset.classes, slicing["k"], slicing["metric"])


def _measured(
    name: str, engine: Engine, tests: list[Images]
) -> tuple[Row, list[NDArray[np.int64]]]:
    """Measure an engine; give its predictions, too."""
    predictions = [engine.predict_labels(test.images) for test in tests]
    row = Row(
        name,
        engine.stack.n_parameters,
        engine.conv_bytes,
        engine.reference_bytes,
        engine.total_bytes,
        *_accuracies(predictions, tests),
    )
    return row, predictions


def _accuracies(predictions: list[NDArray[np.int64]], tests: list[Images]) -> list[Accuracy | None]:
    """Compare predictions with the labels; none for images that there are not."""
    found: list[Accuracy | None] = [
        Accuracy.of(predicted, test.labels)
        for predicted, test in zip(predictions, tests, strict=True)
    ]
    return found + [None] * (2 - len(found))
