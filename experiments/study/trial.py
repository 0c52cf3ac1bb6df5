"""A trial: a run with other options, whose test images are the choice images.

It goes through the stages of a run, but for its figures and its report. It runs in a process of its
own, :mod:`evolve.executors.supervised`, which keeps the images from one trial to the next.
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evolve.trials.results import SKIPPED, TRIED, Task, Tried
from experiments.study.ending import Remaking, Testing
from experiments.study.engines import ENGINE_OF_RUN, engine_name, folder_of
from experiments.study.objectives import Limits
from experiments.study.pace import OutOfTimeError, Pace
from experiments.study.roles import Roles
from slicing.errors import InputError
from slicing.memory import TooLargeError

if TYPE_CHECKING:
    from experiments.components import Components
    from experiments.reading import Read
    from slicing.baselines import Baseline
    from slicing.data.dataset import Dataset, Images
    from slicing.engine.engine import Engine

# Images that are classified one at a time to find out how long one takes.
_TIMED, _WARM_UP = 15, 3


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Write options as the command line of a run; groups come first, since they bring others."""
    words = [f"{name}={_value(each)}" for name, each in options.items()]
    return sorted(words, key=lambda word: "." in word.partition("=")[0])


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_value, value))}]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


class Trial:
    """Tries options: the work of a study's executor.

    Parameters
    ----------
    overrides : sequence of str
        What all trials have in common, of the command line of a run.
    root : Path
        Folder of the study.
    roles : Roles
    judged : mapping of str to str
        Of each family, ``engine`` or ``baseline``.
    limits : Limits
        What is known to break them before it is trained is refused.
    gigabytes : float
        Memory that a trial may take: one that would take more, by an estimate, is not tried.
    """

    def __init__(
        self,
        overrides: Sequence[str],
        root: Path,
        roles: Roles,
        judged: Mapping[str, str],
        limits: Limits,
        gigabytes: float,
    ) -> None:
        self._overrides, self._root, self._roles = tuple(overrides), root, roles
        self._judged, self._limits, self._gigabytes = dict(judged), limits, gigabytes
        self._datasets: dict[str, Dataset[Any]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_datasets": {}}

    def __call__(self, task: Task | Testing | Remaking) -> Tried:
        """Try the options of a task, or do what the end of the study wants."""
        try:
            return self._try(task) if isinstance(task, Task) else task.do()
        except TooLargeError:
            most = f"{self._gigabytes:.2g} GB (limits.trial_gigabytes)"
            return Tried("memory", f"It needs more memory than a trial may take, {most}.")
        except InputError as error:
            return Tried("refused", str(error))
        except OutOfTimeError as error:
            reason = f"Its training would take {error} at least, and less time was left."
            return Tried(SKIPPED, reason, {"seconds": error.seconds})
        except MemoryError:
            return Tried("memory", "There was not enough memory.")
        except Exception as error:  # one trial must not end the others
            return Tried("failed", f"{type(error).__name__}: {error}")

    def _try(self, task: Task) -> Tried:
        begun = time.monotonic()
        # Here, not above: the process of the study needs none of it.
        from experiments.components import Components
        from experiments.environment import set_threads
        from experiments.overrides import check, chosen
        from experiments.schema.run import plain
        from slicing.memory import set_bound

        words = [*self._overrides, *words_of(task.options)]
        [config] = check(words)
        options, choices = plain(config), chosen(words)
        set_bound(min(options["max_gigabytes"] or self._gigabytes, self._gigabytes))
        threads = set_threads(options["threads"])
        folder = folder_of(self._root, task.number)
        # What another fold or rung left is not resumed: it has seen these choice images.
        work = folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        start, folds = time.perf_counter(), list[_Fold]()
        source = self._dataset(Components(options, choices))
        n_folds = self._roles.n_folds(source)
        # The first trial may take more time than there is: it is then judged by one fold.
        rushed = task.left if (task.seconds or 0.0) > (task.left or 0.0) else None
        for number in range(n_folds):
            passed = time.monotonic() - begun
            if folds and rushed is not None and passed * (1 + 1 / len(folds)) > rushed:
                break
            components = Components(options, choices)
            components.settle()
            dataset = self._roles.of(source, number)
            where, judged = work / f"fold-{number}", self._judged[task.family]
            where.mkdir(parents=True)
            pace = Pace(begun + _end(task), n_folds - number if rushed is None else 1)
            folds.append(
                _fold(components, dataset, where, judged, self._limits, threads, words, pace)
            )
        seconds = time.perf_counter() - start
        _keep(work, folder, task.rung)
        return _judge(folds, seconds)

    def _dataset(self, components: "Components") -> "Dataset[Any]":
        """Find the images, once for all trials that want the same."""
        from experiments.reading import OF_FILES

        options = {k: v for k, v in components.options["data"].items() if k not in OF_FILES}
        key = json.dumps(options, sort_keys=True, default=str)
        if key not in self._datasets:
            self._datasets[key] = components.dataset()
        return self._datasets[key]


def _end(task: Task) -> float:
    """Give the seconds after which a trial is of no use: a limit of its own is another matter."""
    return math.inf if task.left is None else max(task.left, task.seconds or 0.0)


def _keep(work: Path, folder: Path, rung: int) -> None:
    """Keep the files of the first fold, and its engine under the name of its rung."""
    for path in (work / "fold-0").iterdir():
        if path.is_file():
            path.replace(folder / (engine_name(rung) if path.name == ENGINE_OF_RUN else path.name))
    shutil.rmtree(work, ignore_errors=True)


@dataclass(frozen=True, eq=False)
class _Fold:
    """What one fold has given."""

    correct: int
    total: int
    metrics: dict[str, float]
    details: dict[str, Any]


def _fold(
    components: "Components",
    dataset: "Dataset[Any]",
    folder: Path,
    judged: str,
    limits: Limits,
    threads: int,
    words: Sequence[str],
    pace: Pace,
) -> _Fold:
    """Go through the stages of a run, up to its engine, and judge it by the choice images."""
    from evolve.checkpoint import Checkpoint
    from experiments.measuring import measured
    from experiments.mlflow_run import MLflowRun
    from experiments.monitor import Monitors
    from experiments.recorder import Recorder
    from experiments.stages import Experiment

    recorder = Recorder(folder)
    monitor = Monitors(recorder, pace)
    read = components.read(dataset, dataset, monitor)
    images = components.split(read.dataset)
    components.check(images, read.dataset.classes)
    components.watch(read.dataset.read_test())
    _check_size(components, images.references, read.dataset.classes, limits)
    experiment = Experiment(
        components, tuple(words), "trial", threads, read, images, folder,
        monitor, recorder, MLflowRun(**components.options["tracking"]),
        Checkpoint(folder / "checkpoint"),
    )  # fmt: skip
    baseline = experiment.baseline()
    choice = read.dataset.read_test()
    details: dict[str, Any] = {
        "engine": judged == "engine",
        "training": [astuple(each) for each in baseline.training],
    }
    recorder.training(baseline.training)
    network: Baseline | Engine = baseline
    if judged == "engine":
        evolution = experiment.evolve(baseline.stack)
        network = experiment.engines(baseline.stack, evolution.stack).saved
        if baseline.stack.convs and evolution.events:
            details["losses"] = [evolution.loss_before, evolution.loss_after]
        own, _ = measured("", baseline, [choice])
        if own.test is not None:
            details["network_accuracy"] = own.test.value
    if read.backbone is not None:
        details["cuts"] = [*read.backbone.cuts]
    result, _ = measured("", network, [choice])
    assert result.test is not None
    metrics = {
        "bytes": float(result.total_bytes),
        "parameters": float(result.parameters),
        "milliseconds": _milliseconds(network, choice, read, folder),
    }
    recorder.end("finished")
    return _Fold(result.test.correct, result.test.total, metrics, details)


def _check_size(
    components: "Components", train: "Images", classes: tuple[str, ...], limits: Limits
) -> None:
    """Refuse a network that is trained here and whose convolutions alone break the limits.

    They take as long with random kernels as with trained ones.
    """
    builder = components.baseline()
    if not builder.is_trained:
        return
    stack = builder.shape(train.images.shape[1:], len(classes))
    known = {
        "bytes": 4.0 * stack.n_parameters,
        "parameters": float(stack.n_parameters),
        "milliseconds": _median_milliseconds(stack.forward, train.images[: _TIMED + _WARM_UP]),
    }
    if limits.excess(known):
        raise InputError(
            f"Its convolutions alone have {stack.n_parameters:,} parameters, {known['bytes']:,.0f} "
            f"bytes, and take {known['milliseconds']:.2g} ms an image: more than the limits allow."
        )


def _judge(folds: Sequence[_Fold], seconds: float) -> Tried:
    correct, total = (sum(getattr(each, name) for each in folds) for name in ("correct", "total"))
    metrics = {**folds[0].metrics, "accuracy": correct / total, "seconds": seconds}
    details = {
        **folds[0].details,
        "correct": correct,
        "total": total,
        "folds": [[each.correct, each.total] for each in folds],
    }
    return Tried(TRIED, "", metrics, details)


def _milliseconds(
    network: "Baseline | Engine", choice: "Images", read: "Read", folder: Path
) -> float:
    """Measure what an image takes, alone, from its pixels to its label: the median of some."""
    from slicing.backbones.maps import Maps
    from slicing.engine.engine import Engine

    chosen = choice[: _TIMED + _WARM_UP]
    pixels: Any = chosen.images
    # As it is used: with its backbone.
    if isinstance(network, Engine):
        network = Engine.load(folder / ENGINE_OF_RUN)
    elif network.head is not None and read.backbone is not None:
        network = replace(network, backbone=read.backbone)
    if isinstance(chosen, Maps) and read.preparation is not None:
        pixels = chosen.source.prepared(read.preparation)
    return _median_milliseconds(network.predict_labels, pixels)


def _median_milliseconds(work: Callable[[Any], Any], pixels: Any) -> float:
    """Measure what one image takes, alone and on one thread: the median of some."""
    from slicing.threads import one_thread

    took = []
    # Of several threads, each would wait for a core that another trial has.
    with one_thread():
        for row in range(len(pixels)):
            begun = time.perf_counter()
            work(pixels[row : row + 1])
            took.append(time.perf_counter() - begun)
    return float(1000 * np.median(took[_WARM_UP:] or took))
