"""Policies of the learning rate at equal epochs: ``python -m benchmarks.learning_rates``.

The network is that of LRBench (Wu et al., "Demystifying learning rate policies for high accuracy
training of deep neural networks", 2019) for CIFAR-10, with 122,570 parameters: three convolutions,
two poolings, a dense layer of 64 units; it is trained by Adam. Of the training images, 5,000 do not
teach: they choose the epoch, and of several rates the one of each policy. The test images are
classified once for each training and choose nothing. Trainings that the file of results has are not
repeated.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.machine import command_line, origin
from benchmarks.optimizers_report import mean_interval
from benchmarks.output import Output
from experiments.console import exit_on_mistake, say
from experiments.statistics import Accuracy
from experiments.tables import table
from slicing.backend import configure_threads, load_keras
from slicing.baselines.fitting import Plan, Trainee, fit
from slicing.baselines.head import KerasHead
from slicing.baselines.layers import conv_part, seeded
from slicing.baselines.rates import Policy
from slicing.data import Dataset, Images, cifar10
from slicing.data.sampling import held_out
from slicing.errors import InputError

# Of 50,000 training images those that choose, or as large a part of fewer.
_CHOICE = 0.1
_FILTERS, _POOLING, _UNITS = (32, 64, 64), (True, True, False), 64

POLICIES = {
    "fixed": "the same rate throughout",
    "step": "a tenth after each third",
    "exponential": "down to a hundredth, by equal factors",
    "cosine": "down to 0 along a cosine",
    "warm-up": "up from 0 in a tenth, then the cosine",
    "one_cycle": "up from 1/25 in 30 %, then down to almost 0",
    "triangular": "from a tenth up and down again, twice",
    "plateau": "a tenth where the loss of the choice images has not fallen for a sixth",
}
"""What is compared, and in words what it does in the epochs that there are."""


def policy_of(name: str, epochs: int) -> Policy:
    """Give one of :data:`POLICIES` for so many epochs."""
    match name:
        case "warm-up":
            return Policy("cosine", epochs, warm_up=epochs / 10)
        case "step":
            return Policy(name, epochs, period=epochs / 3)
        case "exponential":
            return Policy(name, epochs, period=epochs / 2)
        case "triangular":
            return Policy(name, epochs, period=epochs / 4)
        case "plateau":
            return Policy(name, epochs, period=max(1.0, epochs / 6))
    return Policy(name, epochs)


@dataclass(frozen=True)
class Training:
    """What is trained.

    Attributes
    ----------
    policy : str
        One of :data:`POLICIES`.
    rate : float
        The largest.
    epochs, images, batch_size : int
        ``images``: those for training, the ones that choose included.
    seed : int
        Of the weights, the order of the images and the choice of those that choose.
    """

    policy: str
    rate: float
    epochs: int
    images: int
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Cell:
    """A training, and what came out.

    Attributes
    ----------
    training : Training
    choice, test : Accuracy
        Of the weights with the smallest loss on the choice images.
    loss : float
        On the training images, in the last epoch.
    seconds : float
        Of the training, with what the machine did beside it.
    """

    training: Training
    choice: Accuracy
    test: Accuracy
    loss: float
    seconds: float

    @classmethod
    def read(cls, content: dict[str, Any]) -> "Cell":
        """Read what a file of results has."""
        parts = {name: Accuracy(**content[name]) for name in ("choice", "test")}
        return cls(**{**content, **parts, "training": Training(**content["training"])})


def measure(training: Training, dataset: Dataset[Images], test: Images) -> Cell:
    """Train a network, and classify the test images."""
    images = dataset.train
    taught, choosing = held_out(images.labels, round(_CHOICE * len(images)), training.seed)
    teach, choice = images[taught], images[choosing]
    keras, n_classes = load_keras(), len(dataset.classes)
    initializer = seeded("GlorotUniform", np.random.default_rng(training.seed))
    layers = keras.layers
    tail = conv_part(images.images.shape[1:], _FILTERS, 3, _POOLING, initializer)
    tail.add(layers.Flatten())
    tail.add(layers.Dense(_UNITS, "relu", kernel_initializer=initializer()))
    tail.add(layers.Reshape((1, 1, _UNITS)))
    head = layers.Conv2D(n_classes, 1, kernel_initializer=initializer())
    whole = keras.Sequential([tail, head, layers.Reshape((n_classes,))])
    whole.build((None, *images.images.shape[1:]))
    plan = Plan(
        policy_of(training.policy, training.epochs), training.rate, "adam", 0.9, 0.0,
        training.batch_size, 0.0, None, training.seed,
    )  # fmt: skip
    trainee = Trainee(tail, head, plan)
    with tempfile.TemporaryDirectory() as folder:
        trained = fit(
            trainee,
            lambda rows, epoch: teach.images[rows],
            teach.labels,
            (choice.images, choice.labels),
            Path(folder) / "state",
        )
    trainee.set_values(trained.weights, trainee.values()[1])
    answers = KerasHead(whole).outputs
    right = [
        Accuracy.of(answers(part.images).argmax(axis=1), part.labels) for part in (choice, test)
    ]
    return Cell(training, right[0], right[1], trained.epochs[-1].loss, trained.seconds)


def report(cells: Sequence[Cell]) -> str:
    """Write the tables: one for each number of epochs, images and images a step.

    The seeds are those that all policies have. Of several rates, each policy has the one with the
    best mean on the choice images.
    """
    settings = dict.fromkeys(_setting(each.training) for each in cells)
    tables = []
    for setting in settings:
        of = _compared([each for each in cells if _setting(each.training) == setting])
        epochs, images, batch_size = setting
        rows = [row for name in POLICIES if (row := _row(name, of))]
        rows.sort(key=lambda row: -float(row[4].split()[0]))
        header = ["policy", "what it does", "largest rate", "seeds", "% of the test images"]
        header += ["% of the choice images", "last training loss"]
        text = f"{epochs} epochs, {images:,} training images, {batch_size} a step:"
        tables.append("\n".join([text, "", *table(header, rows)]))
    return "\n\n".join(tables)


def _compared(cells: Sequence[Cell]) -> list[Cell]:
    """Leave out the seeds that some policies, or some of their rates, lack."""
    seeds = dict[tuple[str, float], set[int]]()
    for each in cells:
        key = each.training.policy, each.training.rate
        seeds.setdefault(key, set()).add(each.training.seed)
    common = set.intersection(*seeds.values())
    return [each for each in cells if each.training.seed in common]


def _setting(training: Training) -> tuple[int, int, int]:
    return training.epochs, training.images, training.batch_size


def _row(policy: str, cells: Sequence[Cell]) -> list[str] | None:
    by_rate = dict[float, list[Cell]]()
    for each in cells:
        if each.training.policy == policy:
            by_rate.setdefault(each.training.rate, []).append(each)
    if not by_rate:
        return None
    best = max(by_rate.values(), key=lambda own: mean(each.choice.value for each in own))
    return [
        policy,
        POLICIES[policy],
        f"{best[0].training.rate:g}",
        str(len(best)),
        _spread([100 * each.test.value for each in best]),
        _spread([100 * each.choice.value for each in best]),
        f"{mean(each.loss for each in best):.3f}",
    ]


def _spread(percents: Sequence[float]) -> str:
    """Write the mean and, of several, its 95 % t interval."""
    middle, low, high = mean_interval(percents)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})" if len(percents) > 1 else f"{middle:.2f}"


def main(words: Sequence[str] | None = None) -> None:
    """Train what is missing, and print the tables."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.learning_rates",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--policies", nargs="+", choices=[*POLICIES], default=[*POLICIES], metavar="POLICY",
        help=f"some of {', '.join(POLICIES)}; default: all")  # fmt: skip
    add("--rates", nargs="+", type=float, default=[1e-3], metavar="RATE", help="default: 0.001")
    add("--epochs", type=int, default=30, help="default: %(default)s")
    add("--seeds", type=int, default=5, help="default: %(default)s")
    add("--images", type=int, default=50000, help="for training; default: %(default)s")
    add("--batch-size", type=int, default=32, help="default: %(default)s")
    add("--threads", type=int, help="default: as many as cores")
    add("--json", type=Path, help="the file of results, which is added to")
    options = parser.parse_args(words)
    with exit_on_mistake():
        if options.seeds < 1 or options.epochs < 1:
            raise InputError("--seeds and --epochs are 1 or more.")
        _run(options, command_line("benchmarks.learning_rates", words))


def _run(options: argparse.Namespace, command: str) -> None:
    output = None if options.json is None else Output("--json", options.json)
    cells = list[Cell]()
    if output is not None and output.path.exists():
        cells = [Cell.read(each) for each in json.loads(output.path.read_text())["cells"]]
    configure_threads(options.threads)
    dataset = cifar10(train_size=options.images, sample="stratified")
    test, known = dataset.read_test(), {each.training for each in cells}
    # Seed by seed: what an interruption leaves compares.
    todo = [
        Training(policy, rate, options.epochs, options.images, options.batch_size, seed)
        for seed in range(options.seeds)
        for rate in options.rates
        for policy in options.policies
    ]
    for training in todo:
        if training in known:
            continue
        cells.append(measure(training, dataset, test))
        last = cells[-1]
        say(f"{training.policy}, rate {training.rate:g}, seed {training.seed}: "
            f"{last.choice.value:.2%} of the choice images, {last.seconds:.0f} s")  # fmt: skip
        if output is not None:
            output.write_json(
                {**origin(command), "dataset": dataset.name, "cells": [asdict(c) for c in cells]}
            )
    print(report(cells))


if __name__ == "__main__":
    main()
