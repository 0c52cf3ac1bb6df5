"""Run one experiment, or resume one: check its options, set it up, and record how it ended."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from evolve.checkpoint import Checkpoint
from experiments import new_classes, resume
from experiments.components import Components
from experiments.environment import commit, machine, set_threads, versions
from experiments.history import BLOCKS, GENERATIONS
from experiments.mlflow_run import MLflowRun, leaves
from experiments.mlflow_store import OVERRIDES, given_address, hide_password, require_given
from experiments.monitor import Monitor, Monitors
from experiments.progress import Terminal
from experiments.reading import Read
from experiments.recorder import EVENTS, Recorder
from experiments.resume import RunOrigin, checkpoint_of
from experiments.schema.run import plain
from experiments.secrets import masked, masked_values
from experiments.signals import deferred
from experiments.stages import Experiment
from experiments.summary import LEAKS, SUMMARY, Summary
from slicing.files import clear_parts
from slicing.memory import set_bound
from slicing.names import class_name, shown

log = logging.getLogger(__name__)

# Files of a run's folder that MLflow gets.
_FILES = (
    "config.yaml",
    "kernels.npz",
    "predictions.npz",
    GENERATIONS,
    BLOCKS,
    EVENTS,
    SUMMARY,
    "summary.md",
    "convergence.png",
    "kernels.png",
    "confusion.png",
    "accuracy.png",
    "training.png",
    "reliability.png",
    "report.html",
    "run.log",
)


def run(
    config: DictConfig,
    choices: Mapping[str, str],
    folder: Path,
    overrides: Sequence[str] = (),
    monitor: Monitor | None = None,
) -> Summary:
    """Run one experiment, or resume one.

    Parameters
    ----------
    config : DictConfig
        A configuration of the schema :class:`experiments.schema.run.Config`.
    choices : mapping of str to str
        The chosen option of every group.
    folder : Path
        An existing folder for what the experiment leaves behind: the resolved configuration, the
        evolved kernels, the engine, the history, ``events.jsonl``
        (:mod:`experiments.recorder`), the figures, the report and ``summary.json``
        (:mod:`experiments.summary`). MLflow gets all of it, too. Until the experiment has ended, it
        also holds the folder ``checkpoint``; where that is there at the start, the run is resumed.
        ``config.resume`` demands it.
    overrides : sequence of str
        The command line; a resumed run starts from it.
    monitor : Monitor, optional
        Is told what happens, and may stop the evolution; by default the terminal.

    Returns
    -------
    Summary
        Its ``interrupted`` says whether Ctrl-C or the monitor ended the evolution early.

    Raises
    ------
    InputError
        For a mistake that the user can correct. An MLflow run that has begun is marked as failed;
        where none has, the folder is left as it was.
    """
    if monitor is None:
        with Terminal() as terminal:
            return run(config, choices, folder, overrides, terminal)
    checkpoint = checkpoint_of(folder)
    # A job that a cluster restarts finds its own origin in its folder.
    had_begun = resume.has_begun(folder)
    with checkpoint.locked():
        clear_parts(folder)
        try:
            options = plain(config)
            set_bound(options["max_gigabytes"])
            options["tracking"]["uri"] = hide_password(options["tracking"]["uri"])
            is_resumed = options.pop("resume") is not None or had_begun
            origin = resume.load(folder) if is_resumed else None
            components = Components(options, choices)
            summary = _run(components, folder, tuple(overrides), origin, checkpoint, monitor)
        except BaseException:
            if not had_begun and not resume.has_evolved(folder):
                if not resume.has_begun(folder) and not (folder / GENERATIONS).exists():
                    # Nothing is evolved, and MLflow knows nothing of it: it was refused.
                    for name in ("config.yaml", EVENTS):
                        (folder / name).unlink(missing_ok=True)
                checkpoint.clear(resume.NAME)
            raise
        if not summary.interrupted:
            checkpoint.clear(resume.NAME)
    return summary


def _run(
    components: Components,
    folder: Path,
    overrides: tuple[str, ...],
    origin: RunOrigin | None,
    checkpoint: Checkpoint,
    monitor: Monitor,
) -> Summary:
    options, builder = components.options, components.baseline()
    uri = options["tracking"]["uri"]
    require_given(options["tracking"])
    threads = set_threads(options["threads"])
    # A network of the user's own is read to check it; the others are checked without TensorFlow.
    is_read = builder.uses_tensorflow and not builder.is_trained
    if is_read:
        threads = _start_tensorflow(monitor, threads)
    components.settle()
    # As the dataset writes them: letters may come composed or in parts.
    options["new"]["classes"] = [class_name(name) for name in options["new"]["classes"]]
    if origin is not None:
        origin.check_options(options)
    if builder.is_frozen:
        components.load(monitor)
    monitor.say("Reading the images")
    source = components.dataset(monitor)
    OmegaConf.save(OmegaConf.create(masked_values(options)), folder / "config.yaml")
    dataset = whole = source
    names = options["new"]["classes"]
    if names:
        new_classes.check_options(source, names, options["new"]["images"])
        old = [name for name in source.classes if name not in names]
        whole, dataset = source.of_classes([*old, *names]), source.of_classes(old)
    digest = dataset.train.digest
    read = replace(components.read(dataset, whole, monitor), digest=digest)
    dataset = read.dataset
    images = components.split(dataset)
    all_images = resume.digest_of(dataset, images)
    if origin is not None:
        origin.check_images(all_images)
    needs = components.check(images, dataset.classes)
    # Whatever bytes the command line had: MLflow, the figures and the report take it.
    name = shown(options["name"] or components.name(dataset))
    tracker = MLflowRun(**options["tracking"])
    recorder = Recorder(folder, origin is not None)
    monitor = Monitors(monitor, recorder)
    try:
        monitor.say(f"{name}: {_described(read)}, {folder}")
        for note in dataset.notes:
            monitor.say(note)
        monitor.say(needs)
        if builder.uses_tensorflow and not is_read:
            threads = _start_tensorflow(monitor, threads)
        # Those of a process, not of the experiment, tell nothing.
        own = ("resume=", "tracking.parent=")
        asked = tuple(shown(masked(each)) for each in overrides if not each.startswith(own))
        tags = {
            "folder": folder,
            OVERRIDES: " ".join(asked),
            "dataset": dataset.name,
            "dataset.train_digest": digest,
            "protocol": images.protocol,
            "threads": threads,
            "status": "running",
            **{f"version.{library}": text for library, text in versions().items()},
            **{f"machine.{name}": text for name, text in machine().items()},
            **({"git_commit": found} if (found := commit()) else {}),
        }
        if images.leaks and components.evolves:
            log.warning("Protocol %s %s.", images.protocol, LEAKS)
            tags["leaks"] = LEAKS
        tracker.begin(
            name,
            {**components.choices, **leaves(masked_values(options))},
            tags,
            lambda run: RunOrigin(tuple(map(masked, overrides)), options, run, all_images).save(
                checkpoint
            ),
            None if origin is None else origin.mlflow_run,
            folder / "config.yaml",
        )
        if address := given_address(uri):
            monitor.say(f"Recording in MLflow at {masked(address)}")
            # A mistake shows before anything is computed.
            tracker.ready()
        experiment = Experiment(
            components, asked, name, threads, read, images, folder, monitor, recorder, tracker,
            checkpoint,
        )  # fmt: skip
        summary = experiment.run()
        monitor.say("Sending the results to MLflow")
        recorder.end("interrupted" if summary.interrupted else "finished")
        tracker.finish(folder, _FILES, summary.text(), summary.interrupted)
    except BaseException as error:
        status = "killed" if isinstance(error, KeyboardInterrupt) else "failed"
        try:
            recorder.end(status)
        finally:
            # On a full disk, too.
            tracker.abandon(status.upper())
        raise
    return summary


def _described(read: Read) -> str:
    """Say how many images there are, and of which form."""
    dataset, (height, width, channels) = read.dataset, read.input_shape
    colors = {1: "gray", 3: "RGB"}.get(channels, f"{channels} channels")
    text = (
        f"{len(dataset.classes)} classes, {len(dataset.train):,} training images of "
        f"{dataset.name}, each {height} x {width} pixels, {colors}"
    )
    if read.backbone is None:
        return text
    rows, columns, maps = read.backbone.map_shape
    return f"{text}, as {maps:,} maps of {rows} x {columns} by {read.backbone.name}"


def _start_tensorflow(monitor: Monitor, threads: int) -> int:
    """Start TensorFlow; return the threads in force: it takes a number only at first."""
    monitor.say("Starting TensorFlow")
    with deferred():
        from slicing.backend import configure_threads

        return configure_threads(threads)
