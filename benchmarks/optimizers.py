"""Compare all optimizers on the same blocks of the same network, at the same budget.

``python -m benchmarks.optimizers --json FILE --figure FILE``

The network is the default one, trained on the first 4000 training images and cut. Every optimizer,
with its defaults, improves the same blocks of its last convolution from the same seeds: the loss is
that of the objective ``neighbors`` under the protocol ``leave_one_out``, one block comes after the
other (`evolve.schedule.Serial`), in the order of the layer, in one pass.

Cases
    ``kernel``: the first 16 kernels, one by one. ``layer``: all kernels as one block, which not
    every optimizer takes.
Budget
    All optimizers have the same budget for a block: the generations of the case at the default
    population, and one evaluation of what is handed over. One that stops by itself uses less.
Test images
    They are classified by the network that a run has ended with, and steer nothing: no run depends
    on another, and what runs is settled before.
Share of time inside the optimizer
    Of the wall time of the evolution, what goes into making the optimizer (twice a block: the
    schedule asks one for its population), its ``ask``, ``tell`` and ``stop`` and its properties.
    It is measured for the runs themselves, and for 3 kernels as the paper evaluates them: the
    objective ``accuracy`` with 9 neighbors, 4000 references, and 1000 training images that are no
    references as queries.

With ``--json`` every run is kept as soon as it has ended, and the same command resumes where it was
interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import DATASETS, dataset_of
from benchmarks.fitness_cases import BLOCKS, FEWEST, Kind, make_fitness
from benchmarks.machine import LIBRARIES, command_line, describe
from benchmarks.optimizers_report import Case, Network, Overhead, Results, Run
from benchmarks.output import Output
from benchmarks.timed_evolution import evolve
from evolve.block import Block
from evolve.fitness.knn import KNNFitness
from evolve.optimizers import BY_NAME, RandomSearch
from evolve.protocols import Split
from evolve.search import HandOver
from experiments.console import exit_on_mistake, say
from experiments.environment import versions
from slicing.backend import configure_threads
from slicing.baselines import Baseline, TrainedCNN
from slicing.data import Dataset, Images
from slicing.engine.engine import Engine
from slicing.errors import InputError
from slicing.stack import ConvStack

# Test images of the slides.
_FEW_TESTS = 1000
_OVERHEAD_KERNELS = 3


class Defaults(NamedTuple):
    """How long a case runs."""

    generations: int
    seeds: int


CASES: dict[Kind, Defaults] = {"kernel": Defaults(14, 5), "layer": Defaults(20, 3)}
# References and queries; mnist5k has no more than 4000 training images.
_IMAGES = {"mnist": (4000, 1000), "mnist5k": (3200, 800)}


@dataclass
class Scene:
    """The network before evolution, and the images.

    Attributes
    ----------
    dataset : Dataset
    references, queries : Images
        The network's training images, and further ones.
    baseline : Baseline
    stack : ConvStack
    """

    dataset: Dataset[Images]
    references: Images
    queries: Images
    baseline: Baseline
    stack: ConvStack

    @classmethod
    def load(cls, data: str, n_references: int, n_queries: int) -> "Scene":
        """Read the images, and train the network, or read it from the cache."""
        try:
            dataset = dataset_of(data, train_size=n_references + n_queries)
        except InputError as error:
            raise InputError(f"The images cannot be had: {error}") from error
        references = dataset.train[:n_references]
        say("training the network, or reading it from the cache")
        baseline = TrainedCNN().build(references, dataset.classes)
        queries = dataset.train[n_references:]
        return cls(dataset, references, queries, baseline, baseline.stack)

    @cached_property
    def tests(self) -> Images:
        """The test images."""
        return self.dataset.read_test()

    def fitness(self) -> KNNFitness:
        """Return a new fitness."""
        return KNNFitness(self.stack, Split(self.references, None))

    def correct(self, stack: ConvStack) -> dict[str, int]:
        """Count how many of the test images, and of the first, a sliced network classifies."""
        engine = Engine.fit(stack, self.references, self.dataset.classes)
        return self.count(engine.predict_labels(self.tests.images))

    def count(self, predicted: NDArray[np.int64]) -> dict[str, int]:
        """Count how many of the test images, and of the first, are classified correctly."""
        right = predicted == self.tests.labels
        sizes = sorted({min(_FEW_TESTS, len(right)), len(right)})
        return {str(size): int(right[:size].sum()) for size in sizes}

    def networks(self) -> list[Network]:
        """Return the networks to compare with."""
        cnn = self.count(self.baseline.predict_labels(self.tests.images))
        sliced = self.correct(self.stack)
        return [
            Network("CNN", None, cnn),
            Network("sliced, not evolved", self.fitness().loss, sliced),
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark that the command line asks for."""
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(words)
    with exit_on_mistake():
        _run(options, command_line("benchmarks.optimizers", words))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.optimizers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE",
        help="keep the results there, and compute only what is missing",
    )  # fmt: skip
    parser.add_argument(
        "--figure", type=Path, metavar="FILE", help="draw the convergence there, as PNG"
    )
    parser.add_argument("--data", choices=DATASETS, default="mnist", help="default: %(default)s")
    parser.add_argument(
        "--references", type=int, metavar="N",
        help=f"training images; default: {_IMAGES['mnist'][0]}, with mnist5k "
        f"{_IMAGES['mnist5k'][0]}",
    )  # fmt: skip
    parser.add_argument(
        "--queries", type=int, metavar="N",
        help="further training images, the queries under which the share of time is measured once "
        f"more; default: {_IMAGES['mnist'][1]}, with mnist5k {_IMAGES['mnist5k'][1]}",
    )  # fmt: skip
    parser.add_argument(
        "--case", default="kernel", metavar="CASE[,CASE]",
        help=f"of {', '.join(CASES)}; default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--kernels", type=int, default=16, metavar="N",
        help="kernels of the case kernel; default: %(default)s",
    )  # fmt: skip
    for place, name in enumerate(Defaults._fields):
        defaults = ", ".join(f"{case} {default[place]}" for case, default in CASES.items())
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"default: {defaults}")
    parser.add_argument(
        "--hand-over", choices=["mean", "best"], default="mean",
        help="what a block hands over: the mean of the distribution, where the optimizer has one, "
        "or the best candidate; default: %(default)s",
    )  # fmt: skip
    return parser


def _run(options: argparse.Namespace, command: str) -> None:
    names = options.case.split(",")
    for name in names:
        if name not in CASES:
            raise InputError(f"--case {name} is unknown: choose from {', '.join(CASES)}.")
    for option in ("kernels", "generations", "seeds"):
        value = getattr(options, option)
        if value is not None and value < 1:
            raise InputError(f"--{option} {value} is not possible: give 1 or more.")
    sizes = []
    for place, option in enumerate(("references", "queries")):
        value = getattr(options, option)
        sizes.append(_IMAGES[options.data][place] if value is None else value)
        if sizes[-1] < FEWEST[place]:
            raise InputError(f"--{option} {value} is too few: give {FEWEST[place]} or more.")
    json_file = Output("--json", options.json) if options.json else None
    figure_file = Output("--figure", options.figure) if options.figure else None
    scene = Scene.load(options.data, sizes[0], sizes[1])
    blocks = {name: _blocks(scene.stack, name, options.kernels) for name in names}
    cases = [_case(options, scene.stack, name, blocks[name]) for name in blocks]
    results = Results(command, _origin(options, scene), cases, json_file)
    try:
        for case in cases:
            _add_runs(results, case, scene, blocks[case.name], options.hand_over)
            if case.name == "kernel":
                _add_overheads(results, case, scene, blocks[case.name], options.hand_over)
        if not results.networks:
            say("classifying the test images by the networks to compare with")
            results.networks += scene.networks()
            results.save()
    finally:
        if results.runs:
            print(results.text())
            if figure_file:
                figure_file.write(results.figure())


def _blocks(stack: ConvStack, case: Kind, n_kernels: int) -> list[Block]:
    blocks = BLOCKS[case](stack, [-1])
    if case == "layer":
        return blocks
    if n_kernels > len(blocks):
        raise InputError(
            f"--kernels {n_kernels} is too many: the last convolution has {len(blocks)}."
        )
    return blocks[:n_kernels]


def _case(options: argparse.Namespace, stack: ConvStack, name: Kind, blocks: list[Block]) -> Case:
    start, default = blocks[0].read(stack), CASES[name]
    generations = options.generations or default.generations
    population = RandomSearch(start, 1.0, np.random.default_rng(0)).population
    return Case(
        name=name,
        blocks=[block.name for block in blocks],
        dim=len(start),
        generations=generations,
        evaluations=generations * population + 1,
        seeds=options.seeds or default.seeds,
        refused={
            each: kind.max_dim
            for each, kind in BY_NAME.items()
            if kind.max_dim is not None and kind.max_dim < len(start)
        },
    )


def _origin(options: argparse.Namespace, scene: Scene) -> dict[str, Any]:
    """Tell what the results depend on, beside the cases."""
    return {
        "data": options.data,
        "references": len(scene.references),
        "queries": len(scene.queries),
        "network": scene.stack.digest,
        "protocol": "leave_one_out",
        "objective": "neighbors",
        "hand_over": options.hand_over,
        "machine": describe(),
        "threads": numba.get_num_threads(),
        "training_threads": configure_threads(),
        "versions": versions([*LIBRARIES, "cma", "deap", "pyswarms", "scipy"]),
    }


def _add_runs(
    results: Results, case: Case, scene: Scene, blocks: list[Block], hand_over: HandOver
) -> None:
    """Run what the results lack of a case."""
    # Seed by seed: what slows the machine for a while slows all of them, and what an interruption
    # leaves compares.
    todo = [
        (seed, name)
        for seed in range(case.seeds)
        for name in BY_NAME
        if name not in case.refused and seed not in {run.seed for run in results.of(case, name)}
    ]
    if todo:
        say(f"{case.name}: warming up")
        evolve(scene.fitness(), blocks[:1], RandomSearch, 1, hand_over)
    for number, (seed, name) in enumerate(todo, 1):
        fitness = scene.fitness()
        evolution = evolve(fitness, blocks, BY_NAME[name], case.generations, hand_over, seed)
        curve_evaluations, curve_losses = evolution.curve()
        run = Run(
            case=case.name,
            optimizer=name,
            seed=seed,
            loss=fitness.loss,
            evaluations=evolution.ends[-1].evaluations,
            plugged_in=sum(end.accepted for end in evolution.ends),
            seconds=sum(evolution.seconds),
            optimizer_seconds=sum(evolution.optimizer_seconds),
            correct=scene.correct(fitness.stack),
            curve_evaluations=curve_evaluations,
            curve_losses=curve_losses,
        )
        results.runs.append(run)
        results.save()
        say(
            f"{case.name}: {number} of {len(todo)}, {name}, seed {seed}: loss {run.loss:.4f}, "
            f"{run.seconds:.1f} s"
        )


def _add_overheads(
    results: Results, case: Case, scene: Scene, blocks: list[Block], hand_over: HandOver
) -> None:
    """Measure what the results lack of the shares of time under the paper's objective."""
    done = {overhead.optimizer for overhead in results.overheads}
    split = Split(scene.references, scene.queries)
    for name, kind in BY_NAME.items():
        if name in done:
            continue
        say(f"accuracy, {len(scene.references)}/{len(scene.queries)}: {name}")
        fitness = make_fitness(scene.stack, split)
        evolution = evolve(fitness, blocks[:_OVERHEAD_KERNELS], kind, case.generations, hand_over)
        results.overheads.append(Overhead(name, evolution.seconds, evolution.optimizer_seconds))
        results.save()


if __name__ == "__main__":
    main()
