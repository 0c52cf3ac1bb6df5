"""Measure the seconds a candidate takes in `evolve.fitness.knn.KNNFitness`, and in others.

``python -m benchmarks.fitness_speed --json FILE``

Three cases: a kernel of the last convolution, one of the first, and all kernels of the last. The
network is the default one, trained on 4000 images; references are the first training images,
queries the first test images of the dataset. (This is a measurement of speed: nothing is chosen by
the test images.) Everything runs in one process, in turns: ours, each peer, and a float32 matrix
product, whose rate is the machine's own; then the next round. Medians count.

Ours
    The seconds of a generation over its size, 20 for a kernel and 4 for the layer, after one to
    warm up. ``ours_with_bind_s`` adds to it what binding and accepting take, shared by the 281
    evaluations of a block in the default run. ``first_bind_s`` is the first of a fitness, which
    sets up what serves all blocks of a layer and loads compiled code.
Peers
    Each evaluates one candidate a call, from putting its weights into the network to the labels of
    the queries: ``keras+sklearn`` (the paper's way), ``jax`` (one jitted graph) and ``faiss``
    (features by JAX, neighbors by faiss). The extra ``peers`` installs those
    that are optional; one that is missing is left out.
Agreement
    The share of pairs of a candidate and a query that a peer gets right or wrong,
    as ours. Float32 breaks some ties otherwise.
Share of sgemm
    The seconds that the candidate's least work would take at the rate of the matrix product, over
    ours. The work, in operations: for a kernel of the last layer, its convolution at those
    positions that the pooling reads, 2 · images · positions · kernel height · width · channels. For
    the layer, that times its kernels, plus the product behind all distances,
    2 · queries · references · features. For a kernel of the first layer, its convolution, plus
    2 · images · positions · height · width · kernels for what it contributes to the next layer,
    plus the product behind the distances. An implementation that saves multiplications
    (Winograd) or distances (pruning) can exceed 100 %.
Discriminants
    The default fitness, for a kernel of the last convolution: each reference is a query against all
    others. Ours is a generation of 20 over its size; *with what a block costs* adds drawing
    images, fitting and binding, shared by 281 evaluations. The peer takes the features from Keras
    and learns scikit-learn's ridge regression (`RidgeCV` with the same ridge) for every candidate.
    The share of sgemm counts the candidate's convolution and two products with the still features,
    2 · references · still features · own features each.
Peak memory
    Of a process of its own that loads the images, binds and evaluates one generation.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks import discriminant_speed
from benchmarks.datasets import DATASETS
from benchmarks.fitness_cases import (
    CASES,
    FEWEST,
    Case,
    evaluate,
    first,
    load,
    make_fitness,
    peak_memory_of,
)
from benchmarks.fitness_report import CaseResult, GrowthResult, Report
from benchmarks.machine import Sgemm, command_line, rest, timed
from benchmarks.peers import Peer, find_peers
from evolve.protocols import Split
from experiments.console import exit_on_mistake, say
from slicing.baselines import TrainedCNN
from slicing.errors import InputError, installing
from slicing.stack import ConvStack

# Evaluations of a block in the default run: 14 generations of 20, and one to check.
_EVALUATIONS = 281
_TRAIN_SIZE = 4000
# Pairs of a query and a reference beyond which a round takes minutes.
_LARGE = 10**8

# References and queries.
Size = tuple[int, int]


class Rounds(NamedTuple):
    """How often ours and the peers take their turns, and how many evaluations a turn has."""

    ours: int
    peers: int
    evaluations: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark that the command line asks for."""
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(words)
    with exit_on_mistake():
        sizes = [_size("--sizes", text) for text in options.sizes]
        growth = [
            _size("--growth", f"{references}/{options.growth_queries}")
            for references in options.growth
        ]
        discriminants = [
            _size("--discriminants", f"{references}/{FEWEST[1]}")
            for references in options.discriminants
        ]
        if options.repeats < 1:
            raise InputError(f"--repeats {options.repeats} is not possible: give 1 or more.")
        command = command_line("benchmarks.fitness_speed", words)
        _run(options, sizes, growth, discriminants, Report(command, options.json))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.fitness_speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results there after each case"
    )
    parser.add_argument("--data", choices=DATASETS, default="mnist", help="default: %(default)s")
    parser.add_argument(
        "--sizes", nargs="*", default=["4000/1000", "60000/10000"], metavar="REFERENCES/QUERIES",
        help="default: 4000/1000 60000/10000",
    )  # fmt: skip
    parser.add_argument(
        "--cases", nargs="*", choices=CASES, default=list(CASES), help="default: all"
    )
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="N",
        help="rounds, default: %(default)s, in each of which ours evaluates 3 generations and a "
        f"peer 3 candidates; beyond {_LARGE:,} pairs of a reference and a query 3 rounds at most, "
        "of one evaluation each, with the peers in the first only",
    )  # fmt: skip
    parser.add_argument(
        "--growth", nargs="*", type=int, metavar="REFERENCES",
        default=[1000, 2000, 4000, 8000, 16000, 32000, 60000],
        help="reference counts at which a kernel of the last layer is measured, without peers; "
        "default: %(default)s",
    )  # fmt: skip
    parser.add_argument(
        "--growth-queries", type=int, default=1000, metavar="QUERIES", help="default: %(default)s"
    )
    parser.add_argument(
        "--discriminants", nargs="*", type=int, metavar="REFERENCES", default=[4000, 10000],
        help="reference counts at which the default fitness is measured; default: %(default)s",
    )  # fmt: skip
    return parser


def _size(option: str, text: str) -> Size:
    """Read ``references/queries``."""
    references, _, queries = text.partition("/")
    if not (references.isdecimal() and queries.isdecimal()):
        raise InputError(
            f"{option} {text} is not a size: give references/queries, such as 4000/1000."
        )
    size = int(references), int(queries)
    if size[0] < FEWEST[0] or size[1] < FEWEST[1]:
        raise InputError(f"{option} {text} is too small: give {_name(FEWEST)} or more.")
    return size


def _run(
    options: argparse.Namespace,
    sizes: list[Size],
    growth: list[Size],
    discriminants: list[Size],
    report: Report,
) -> None:
    wanted = (*sizes, *growth, *discriminants)
    references, queries = zip((_TRAIN_SIZE, 0), FEWEST, *wanted, strict=True)
    most = max(references), max(queries)
    try:
        images = load(options.data, *most)
    except InputError as error:
        raise InputError(f"{_name(most)} images cannot be had: {error}") from error
    peers, missing = find_peers()
    for name in missing:
        say(f"{name} is not installed and left out: {installing('peers')}")
    say("training the network, or reading it from the cache")
    stack = TrainedCNN().build(images.references[:_TRAIN_SIZE], tuple("0123456789")).stack
    try:
        for size in sizes:
            for name in options.cases:
                case = CASES[name]
                say(f"{name} {_name(size)}: peak memory")
                # What has to be compiled would count as memory.
                evaluate(case, stack, first(images, *FEWEST))
                peak = peak_memory_of(case, stack, options.data, *size)
                rounds = _rounds(size, options.repeats)
                split = first(images, *size)
                report.cases.append(_measure(case, stack, split, peers, rounds, peak))
                report.save()
        for size in growth:
            say(f"growth {_name(size)}")
            rounds = _rounds(size, options.repeats)
            report.growth.append(_measure_growth(stack, first(images, *size), rounds.ours))
            report.save()
        for n, _ in discriminants:
            say(f"discriminants {n}")
            measured = discriminant_speed.measure(
                stack, images.references[:n], options.repeats, _EVALUATIONS
            )
            report.discriminants.append(measured)
            report.save()
    finally:
        print(report.text())


def _rounds(size: Size, repeats: int) -> Rounds:
    if size[0] * size[1] > _LARGE:
        return Rounds(min(repeats, 3), 1, 1)
    return Rounds(repeats, repeats, 3)


def _measure(
    case: Case,
    stack: ConvStack,
    split: Split,
    kinds: dict[str, type[Peer]],
    rounds: Rounds,
    peak: int,
) -> CaseResult:
    """Measure a case in turns; ``peak`` is its peak memory."""
    assert split.queries is not None
    size = len(split.references), len(split.queries)
    title = f"{case.name} {_name(size)}"
    say(f"{title}: warming up ours")
    block, candidates = case.block(stack), case.candidates(stack)
    fitness = make_fitness(stack, split)
    _, first_bind_s = timed(fitness.bind, block)
    rest()
    _, bind_s = timed(fitness.bind, block)
    right = fitness.query_losses(candidates) == 0
    stacks = [block.write(stack, candidate) for candidate in candidates]
    peers = {}
    for name, kind in kinds.items():
        say(f"{title}: warming up {name}")
        peers[name] = kind(stack, split)
        peers[name](stacks[0])

    sgemm, ours = Sgemm(), []
    took: dict[str, list[float]] = {name: [] for name in peers}
    agree: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in peers}
    for turn in range(rounds.ours):
        say(f"{title}: round {turn + 1} of {rounds.ours}")
        sgemm.measure()
        rest()
        ours += [
            timed(fitness.query_losses, candidates)[1] / len(candidates)
            for _ in range(rounds.evaluations)
        ]
        for name, peer in peers.items() if turn < rounds.peers else ():
            rest()
            for step in range(rounds.evaluations):
                index = (turn * rounds.evaluations + step) % len(candidates)
                labels, seconds = timed(peer, stacks[index])
                took[name].append(seconds)
                agree[name].append((labels == split.queries.labels) == right[index])
    rest()
    _, accept_s = timed(fitness.adopt, stacks[0], 0.0)

    ours_s = float(np.median(ours))
    peer_s = {name: float(np.median(times)) for name, times in took.items()}
    return CaseResult(
        case=case.name,
        references=size[0],
        queries=size[1],
        ours_s=ours_s,
        ours_with_bind_s=ours_s + (bind_s + accept_s) / _EVALUATIONS,
        first_bind_s=first_bind_s,
        bind_s=bind_s,
        accept_s=accept_s,
        peers=peer_s,
        ratio={name: value / ours_s for name, value in peer_s.items()},
        agreement={name: float(np.mean(shares)) for name, shares in agree.items()},
        peer_ways={name: peer.way for name, peer in peers.items()},
        sgemm_share=case.flops(stack, *size) / (1e9 * sgemm.gflops) / ours_s,
        sgemm_gflops=sgemm.gflops,
        peak_rss_bytes=peak,
        repeats=rounds.ours,
        peer_repeats=rounds.peers * rounds.evaluations,
    )


def _measure_growth(stack: ConvStack, split: Split, repeats: int) -> GrowthResult:
    assert split.queries is not None
    case = CASES["last_layer_kernel"]
    block, candidates = case.block(stack), case.candidates(stack)
    fitness = make_fitness(stack, split)
    fitness.bind(block)
    rest()
    _, bind_s = timed(fitness.bind, block)
    fitness.query_losses(candidates)
    full_scans = fitness.counts["full_scans"]
    ours = []
    for _ in range(repeats):
        rest()
        ours.append(timed(fitness.query_losses, candidates)[1] / len(candidates))
    return GrowthResult(
        references=len(split.references),
        queries=len(split.queries),
        ours_s=float(np.median(ours)),
        bind_s=bind_s,
        full_scans=full_scans,
    )


def _name(size: Size) -> str:
    return f"{size[0]}/{size[1]}"


if __name__ == "__main__":
    main()
