"""Accuracy against bytes: how good an engine can be that fits in a few kilobytes.

``python -m benchmarks.engine_size --json FILE --figure FILE``

Every engine is what one command of ``experiments.run`` leaves, as a whole file on disk: kernels,
projection, references, labels and header. The kernels are those of a CNN trained by
backpropagation; behind them come linear discriminants, and prototypes in int8, as k-means places
them or as CMA-ES moves them.

Protocol ``validation``
    Everything is learned from the first 50,000 training images of MNIST. The last 10,000 choose: an
    engine is on the front where no smaller one classifies more of them correctly. The 10,000 test
    images are read after that, for the front alone.
"""

import argparse
import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from hydra.utils import instantiate
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.machine import command_line, origin
from benchmarks.output import Output
from experiments.console import exit_on_mistake, say
from experiments.overrides import check
from experiments.recipes import recipe_of, tune_of
from experiments.schema.run import plain
from experiments.statistics import Accuracy
from experiments.tables import table
from slicing.data import Images, mnist
from slicing.engine.engine import Engine
from slicing.stack import ConvStack

_PROTOCOL = "validation"
_COMMAND = "python -m experiments.run"
# Bytes and accuracy of others: ProtoNN and Bonsai from their papers, BitNetMCU from its README.
_OTHERS = (("ProtoNN", 63_400, 95.88), ("Bonsai", 84_000, 97.01), ("BitNetMCU", 11_000, 99.55))
_SLIDES = ("slides, CMA-ES, without references", 75_264, 98.57)


@dataclass(frozen=True)
class Network:
    """A convolutional part, small to large.

    Attributes
    ----------
    filters : tuple of int
    pooling : tuple of bool
    """

    filters: tuple[int, ...]
    pooling: tuple[bool, ...] = (True, True)

    @property
    def overrides(self) -> list[str]:
        """Name it on the command line."""
        return [
            f"baseline.filters={json.dumps(self.filters, separators=(',', ':'))}",
            f"baseline.pooling={json.dumps(self.pooling, separators=(',', ':'))}",
        ]


NETWORKS = (
    Network((2, 4)),
    Network((4, 8)),
    Network((8, 16)),
    Network((16, 32)),
    Network((8, 16, 32), (True, False, True)),
    Network((16, 32, 32), (True, False, True)),
)
# Prototypes of each class: moved by the optimizer, or left where k-means places them.
MOVED, PLACED = (1, 3, 10), (1, 100, 300)


@dataclass(frozen=True)
class Result:
    """One engine.

    Attributes
    ----------
    engine : str
        The command that builds it.
    bytes : int
        Size of its file.
    validation_accuracy, test_accuracy, test_low, test_high : float or None
        Shares of the images; the interval is Wilson's, of 95 %. None off the front.
    protocol : str
    seed : int
    """

    engine: str
    bytes: int
    validation_accuracy: float
    test_accuracy: float | None
    test_low: float | None
    test_high: float | None
    protocol: str
    seed: int


def commands(
    networks: Sequence[Network],
    moved: Sequence[int],
    placed: Sequence[int],
    seed: int,
    common: Sequence[str],
) -> Iterator[list[str]]:
    """Give the overrides of every engine that is tried."""
    for network in networks:
        for count, more in (
            *((count, []) for count in moved),
            *((count, _placed(count)) for count in placed),
        ):
            yield [
                *common,
                *network.overrides,
                "slicing=small",
                f"slicing.per_class={count}",
                *more,
                "strategy.passes=0",
                f"seed={seed}",
            ]


def _placed(per_class: int) -> list[str]:
    """Leave prototypes where k-means places them; of many, several vote."""
    return ["slicing.tuning_generations=0", f"slicing.k={9 if per_class >= 30 else 1}"]


def builder(train: Images, classes: tuple[str, ...]) -> Callable[[Sequence[str]], Engine]:
    """Give what builds what ``experiments.run`` leaves, where no kernel is evolved.

    Engines that differ in their references alone share what comes before.
    """
    last: dict[str, tuple[ConvStack, NDArray[np.float32]]] = {}

    def build(overrides: Sequence[str]) -> Engine:
        [config] = check(overrides)
        options = plain(config)
        slicing = options["slicing"]
        recipe = recipe_of(slicing)
        names = ("projection", "components", "shift", "storage", "average")
        before = {name: slicing[name] for name in names}
        key = json.dumps([options["baseline"], before])
        if key not in last:
            last.clear()
            stack = instantiate(options["baseline"]).build(train, classes).stack
            last[key] = recipe.extract(stack, train)
        make_optimizer = instantiate(options["optimizer"], _partial_=True)
        tune = tune_of(slicing, make_optimizer, options["seed"])
        return recipe.place(*last[key], train.labels, classes, seed=options["seed"], tune=tune)

    return build


def front(sizes: Sequence[int], accuracies: Sequence[float]) -> list[int]:
    """Find those that are better than all that are not larger, in ascending order of size."""
    found: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda i: (sizes[i], -accuracies[i])):
        if not found or accuracies[index] > accuracies[found[-1]]:
            found.append(index)
    return found


def accuracy(engine: Engine, images: Images) -> Accuracy:
    """Classify images."""
    return Accuracy.of(engine.predict_labels(images.images), images.labels)


def compare(
    all_overrides: Sequence[Sequence[str]],
    train: Images,
    validation: Images,
    read_test: Callable[[], Images],
    classes: tuple[str, ...],
    seed: int,
) -> list[Result]:
    """Build all engines, choose by the validation images, and measure the front on the others."""
    engines, chosen_by = [], []
    build = builder(train, classes)
    for number, overrides in enumerate(all_overrides, 1):
        engine = build(overrides)
        engines.append(engine)
        chosen_by.append(accuracy(engine, validation).value)
        say(
            f"{number} of {len(all_overrides)}: {engine.total_bytes:,} bytes, "
            f"{100 * chosen_by[-1]:.2f} % of the validation images, {' '.join(overrides)}"
        )
    sizes = [engine.total_bytes for engine in engines]
    on_front = front(sizes, chosen_by)
    test = read_test()
    results = []
    for index, overrides in enumerate(all_overrides):
        measured = accuracy(engines[index], test) if index in on_front else None
        low, high = measured.interval() if measured else (None, None)
        results.append(
            Result(
                engine=shlex.join([*shlex.split(_COMMAND), *overrides]),
                bytes=sizes[index],
                validation_accuracy=chosen_by[index],
                test_accuracy=measured.value if measured else None,
                test_low=low,
                test_high=high,
                protocol=_PROTOCOL,
                seed=seed,
            )
        )
    return sorted(results, key=lambda result: result.bytes)


def report(results: Sequence[Result]) -> str:
    """Set the front as a table."""
    body = [
        [
            f"`{result.engine.removeprefix(_COMMAND + ' ')}`",
            f"{result.bytes:,}",
            f"{100 * result.validation_accuracy:.2f}",
            f"{100 * result.test_accuracy:.2f} ({100 * result.test_low:.2f}-"
            f"{100 * result.test_high:.2f})",
        ]
        for result in results
        if result.test_accuracy is not None
        and result.test_low is not None
        and result.test_high is not None
    ]
    header = ["engine", "bytes", "% of the validation images", "% of the test images (95 %)"]
    return "\n".join(table(header, body))


def draw(results: Sequence[Result], path: Output) -> None:
    """Draw all engines by the images that chose, and the front by the test images."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(
        [result.bytes for result in results],
        [100 * result.validation_accuracy for result in results],
        "o", color="0.8", label="all engines, validation images",
    )  # fmt: skip
    measured = [result for result in results if result.test_accuracy is not None]
    axes.plot(
        [result.bytes for result in measured],
        [100 * (result.test_accuracy or 0) for result in measured],
        "o-", color="C0", label="the front, 10,000 test images",
    )  # fmt: skip
    for number, (name, size, percent) in enumerate((*_OTHERS, _SLIDES), 1):
        axes.plot(size, percent, "sd^*"[number - 1], color=f"C{number}", label=name)
    axes.set_xscale("log")
    axes.set_xlabel("bytes of the whole engine on disk")
    axes.set_ylabel("accuracy, %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small", loc="lower right")
    content = BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    path.write(content.getvalue())


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine_size",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--figure", type=Path, help="draw them there, a PNG file")
    parser.add_argument("--epochs", type=int, default=15, help="epochs of every CNN")
    parser.add_argument("--train", type=int, default=50_000, help="training images that teach")
    parser.add_argument("--validation", type=int, default=10_000, help="those that choose")
    parser.add_argument("--networks", type=int, default=len(NETWORKS), help="only the first ones")
    parser.add_argument("--moved", type=int, nargs="+", default=MOVED, help="prototypes a class")
    parser.add_argument("--placed", type=int, nargs="+", default=PLACED, help="the same, not moved")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with exit_on_mistake():
        _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
    outputs = {
        name: Output(f"--{name}", getattr(arguments, name))
        for name in ("json", "figure")
        if getattr(arguments, name) is not None
    }
    n_train, n_validation = arguments.train, arguments.validation
    # Without validation images here, so that the command finds the same training images.
    data = mnist(train_size=n_train + n_validation)
    asked = [
        "data=mnist", f"data.train_size={n_train}", "baseline.dropout=0.5",
        f"baseline.epochs={arguments.epochs}",
    ]  # fmt: skip
    networks = NETWORKS[: arguments.networks]
    results = compare(
        list(commands(networks, arguments.moved, arguments.placed, arguments.seed, asked)),
        data.train[:n_train],
        data.train[n_train:],
        data.read_test,
        data.classes,
        arguments.seed,
    )
    if "json" in outputs:
        # The file is a list of engines: what holds for all of them stands with each.
        common = origin(command_line("benchmarks.engine_size"))
        outputs["json"].write_json([{**asdict(result), **common} for result in results])
    if "figure" in outputs:
        draw(results, outputs["figure"])
    print(report(results))


if __name__ == "__main__":
    main()
