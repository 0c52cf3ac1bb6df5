"""An adaptive system, from its members to its report.

The order is the guarantee: the test images are read when the system and the thresholds of all
selectors are on disk, and nothing that they say changes either.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from experiments.adaptive import report
from experiments.adaptive.beginning import beginning
from experiments.adaptive.candidates import Candidate, Looks, candidates, check_selector, dials
from experiments.adaptive.evaluation import by_class, evaluated
from experiments.adaptive.making import Asked, Named, ask, given_engines, made
from experiments.adaptive.roles import Roles, pixels_of
from experiments.adaptive.summary import SUMMARY, AdaptiveSummary, Assembled, MemberFigures
from experiments.components import Components
from experiments.environment import machine, set_threads, versions
from experiments.folders import folder_for_output
from experiments.json_values import plain_values
from experiments.making import Options
from experiments.mlflow_run import MLflowRun, leaves
from experiments.mlflow_store import hide_password, require_given
from experiments.monitor import Monitor
from experiments.schema.run import plain
from experiments.secrets import masked, masked_values
from experiments.statistics import Accuracy, ratio_interval
from slicing.adaptive import System
from slicing.adaptive.dial import most_flips, upper_bound
from slicing.adaptive.measuring import batch_milliseconds, single_milliseconds
from slicing.adaptive.outcome import oracle
from slicing.checks import at_least, between
from slicing.data.dataset import Images
from slicing.errors import InputError
from slicing.files import replacing
from slicing.memory import set_bound
from slicing.pixels import unit_pixels

SYSTEM, DIALS = "system.safetensors", "dials.json"
"""Files of the folder: the system, and the thresholds of all selectors that were compared."""

# Images at a time, for which the time is measured, too, as far as there are so many.
_BATCHES = (16, 256, 4096)


def adaptive(config: DictConfig, overrides: Sequence[str], monitor: Monitor) -> AdaptiveSummary:
    """Make several engines one classifier, and test it.

    Parameters
    ----------
    config : DictConfig
        Of the schema :class:`experiments.schema.adaptive.Adaptive`.
    overrides : sequence of str
        The command line.
    monitor : Monitor

    Returns
    -------
    AdaptiveSummary

    Raises
    ------
    InputError
    """
    options = plain(config)
    _check(options)
    set_bound(options["max_gigabytes"])
    set_threads(options["threads"])
    options["tracking"]["uri"] = hide_password(options["tracking"]["uri"])
    require_given(options["tracking"])
    given = given_engines(options)
    with folder_for_output(options["output"]) as folder:
        return _made(options, masked(" ".join(overrides)), given, folder, monitor)


def _made(
    options: Options, overrides: str, given: Sequence[Named], folder: Path, monitor: Monitor
) -> AdaptiveSummary:
    """Go through the stages, in the folder of the system."""
    monitor.say("Reading the images")
    dataset = Components(options, {}).dataset(monitor)
    roles = Roles.of(dataset, options["certify_fraction"], options["seed"])
    _require_certifiable(len(roles.certify), options["loss"], options["confidence"])
    tracker = MLflowRun(**options["tracking"])
    try:
        tags = {
            "dataset": dataset.name,
            "dataset.train_digest": dataset.train.digest,
            "overrides": overrides,
            "folder": folder,
        }
        tracker.begin(f"adaptive-{dataset.name}", leaves(masked_values(options)), tags)
        engines = given or made(options, dataset, monitor)
        asked = ask(options, engines, roles, monitor)
        found = candidates(options, asked, roles, monitor)
        chosen = found[options["selector"]["name"]]
        assembled = _assembled(chosen, asked, roles, options["timed"], monitor)
        chosen.system.save(folder / SYSTEM)
        with replacing(folder / DIALS) as file:
            file.write((json.dumps(plain_values(dials(found)), indent=1) + "\n").encode())
        summary = _tested(options, dataset.name, roles, asked, found, assembled, folder, monitor)
        monitor.say("Writing the report")
        summary.write(folder / SUMMARY)
        report.write(summary, folder / SYSTEM)
        monitor.say("Sending the results to MLflow")
        tracker.ready()
        tracker.log(summary.metrics())
        if options["tracking"]["model"]:
            _log_model(tracker, chosen.system, roles, folder, summary)
        files = (SYSTEM, DIALS, SUMMARY, report.REPORT, report.CURVES)
        tracker.finish(folder, files, summary.text())
    except BaseException as error:
        tracker.abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    return summary


def _check(options: Options) -> None:
    """Refuse options out of range, before anything is computed."""
    check_selector(options)
    between("loss", options["loss"], 0.0, 1.0)
    between("confidence", options["confidence"], 0.5, 0.9999)
    at_least("folds", options["folds"], 2)
    at_least("timed", options["timed"], 5)


def _require_certifiable(n: int, loss: float, confidence: float) -> None:
    """Refuse a loss that no system could be certified for, before members are made."""
    if most_flips(n, loss, confidence) is None:
        least = float(upper_bound(0, n, confidence))
        raise InputError(
            f"loss={loss:g} cannot be certified at confidence={confidence:g} with {n:,} images, "
            f"even if no answer is lost: give loss={math.ceil(1000 * least) / 1000:g} or more, or "
            "hold out more images (data.calibration_fraction).",
            "loss",
        )


def _assembled(
    candidate: Candidate, asked: Asked, roles: Roles, n: int, monitor: Monitor
) -> Assembled:
    """Measure the system as a whole, with images that certified it: their labels have no part."""
    monitor.say("Measuring the system as a whole")
    system = candidate.system
    # At random: the first may be of one class.
    rows = np.random.default_rng(0).permutation(len(roles.certify))[:n]
    images = unit_pixels(pixels_of(roles.certify[rows], system.engines[0]))
    took, largest = single_milliseconds([system, system.engines[-1]], images)
    looked = system.selector.look(images, system.engines)
    decisions = candidate.decisions(asked.certify[rows], looked)
    parts = decisions.outcome(float(system.dial.thresholds[system.point])).milliseconds
    every = unit_pixels(pixels_of(roles.certify, system.engines[0]))
    batches = dict[str, tuple[float, float]]()
    for size in _BATCHES:
        if size <= len(every):
            own = batch_milliseconds(system, every[:size])
            batches[str(size)] = own, batch_milliseconds(system.engines[-1], every[:size])
    median, p95, p99 = (float(each) for each in np.percentile(took, [50, 95, 99]))
    means = float(took.mean()), float(parts.mean())
    interval = ratio_interval(largest, took)
    return Assembled(*means, median, p95, p99, float(largest.mean()), interval, batches)


def _log_model(
    tracker: MLflowRun, system: System, roles: Roles, folder: Path, summary: AdaptiveSummary
) -> None:
    """Log the system as an MLflow model, beside the images that certified it."""
    engine = system.engines[0]
    certify = Images(pixels_of(roles.certify, engine), roles.certify.labels)
    way_out = f"All results are in {folder}."
    dataset = tracker.log_images(f"{summary.dataset}-certify", certify, "validation", way_out)
    has_network = any(each.backbone is not None for each in system.engines)
    tracker.log_engine(
        folder / SYSTEM,
        system.input_shape,
        ("onnx", "onnxruntime") if has_network else (),
        engine.preparation,
        {"certified_loss": summary.system.bound},
        dataset,
    )


def _tested(
    options: Options,
    dataset: str,
    roles: Roles,
    asked: Asked,
    found: Mapping[str, Candidate],
    assembled: Assembled,
    folder: Path,
    monitor: Monitor,
) -> AdaptiveSummary:
    """Read the test images, and put the figures together."""
    monitor.say("Reading the test images")
    test = roles.read_test()
    engines = asked.members.engines
    pixels = pixels_of(test, engines[0])
    monitor.say(f"Classifying {len(test):,} test images")
    table = asked.members.table(pixels, test.labels, asked.select.costs)
    looks = Looks(unit_pixels(pixels))
    best = oracle(table)
    chosen = found[options["selector"]["name"]]
    names = zip(asked.names, engines, strict=True)
    members = tuple(
        MemberFigures(
            name,
            engine.total_bytes,
            engine.n_parameters,
            float(table.costs.alone[number]),
            float(table.costs.after[number]),
            Accuracy.of(asked.select.answers[number], asked.select.labels),
            Accuracy.of(table.answers[number], table.labels),
        )
        for number, (name, engine) in enumerate(names)
    )
    return AdaptiveSummary(
        dataset=dataset,
        roles={**roles.sizes, "test": len(test)},
        members=members,
        left_out=asked.left_out,
        selectors=tuple(
            evaluated(each, table, looks, options["loss"]) for each in found.values()
        ),
        chosen=options["selector"]["name"],
        loss=options["loss"],
        confidence=options["confidence"],
        assembled=assembled,
        oracle=(
            float(best.milliseconds.mean()), float((best.answers == table.labels).mean())
        ),
        total_bytes=chosen.system.total_bytes,
        classes=by_class(chosen, table, looks),
        beginning=beginning(folder / SYSTEM),
        folder=str(folder),
        seed=options["seed"],
        versions=versions(),
        machine=machine(),
    )  # fmt: skip
