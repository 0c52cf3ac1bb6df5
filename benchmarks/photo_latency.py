"""From a photo to its label, on one thread: ``python -m benchmarks.photo_latency``.

An engine on EfficientNet-Lite0 beside what it can at best be, its backbone alone in ONNX Runtime,
and beside Keras, which has the whole network with the 1,000 classes of ImageNet. All of them in one
process and in turns, a photo at a time. The photos are decoded and resized before the clock runs,
and scaled as each takes them; what decoding takes has a row of its own.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np

from benchmarks.machine import command_line, origin
from benchmarks.output import Output
from benchmarks.photos import JOBS, running
from experiments.console import exit_on_mistake, say
from experiments.stages import ENGINE
from experiments.tables import table
from slicing.backbones.graph import INPUT, OUTPUT
from slicing.backbones.named import named
from slicing.backend import configure_threads
from slicing.checks import at_least
from slicing.engine.engine import Engine
from slicing.pixels import unit_pixels

# Photos, which take turns, and rounds before the clock runs.
_PHOTOS, _WARM_UP = 32, 10

Calls = Mapping[str, Callable[[int], object]]
"""What is measured, by its name: each takes the number of a photo."""


@dataclass(frozen=True)
class Latency:
    """What one photo takes.

    Attributes
    ----------
    name : str
    milliseconds : float
        Median of the calls.
    low, high : float
        Their first and third quartile.
    """

    name: str
    milliseconds: float
    low: float
    high: float


def calls(engine: Engine, paths: Sequence[Path]) -> Calls:
    """Give what is measured, on one thread; TensorFlow must not have run before.

    Parameters
    ----------
    engine : Engine
        With a backbone.
    paths : sequence of Path
        The photos.
    """
    import onnxruntime

    backbone, preparation = engine.backbone, engine.for_files()
    assert backbone is not None
    numba.set_num_threads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(backbone.graph, options)
    configure_threads(1)
    network = named(backbone.name, engine.input_shape[:2])
    keras, scaling = network.model, network.scaling

    photos = [preparation.of_file(path)[None] for path in paths]
    units = [unit_pixels(photo) for photo in photos]
    scaled = [np.asarray(scaling(unit)) for unit in units]
    return {
        "engine": lambda n: engine.predict_labels(photos[n]),
        "its backbone alone, ONNX Runtime": lambda n: session.run([OUTPUT], {INPUT: units[n]}),
        "whole network, Keras, predict_on_batch": lambda n: keras.predict_on_batch(scaled[n]),
        "whole network, Keras, predict": lambda n: keras.predict(scaled[n], verbose=0),
        "reading and resizing the file": lambda n: preparation.of_file(paths[n]),
    }


def measure(each: Calls, n_photos: int, repeats: int) -> list[Latency]:
    """Call each in turn, round by round."""
    seconds: dict[str, list[float]] = {name: [] for name in each}
    for number in range(_WARM_UP + repeats):
        for name, call in each.items():
            start = time.perf_counter()
            call(number % n_photos)
            seconds[name].append(time.perf_counter() - start)
    found = []
    for name, taken in seconds.items():
        low, median, high = 1000 * np.quantile(taken[_WARM_UP:], (0.25, 0.5, 0.75))
        found.append(Latency(name, float(median), float(low), float(high)))
    return found


def report(found: Sequence[Latency]) -> str:
    """Set the table; the engine is the first."""
    header = ["a photo, one thread", "ms, median", "quartiles", "times the engine"]
    body = [
        [
            each.name,
            f"{each.milliseconds:.2f}",
            f"{each.low:.2f}-{each.high:.2f}",
            f"{each.milliseconds / found[0].milliseconds:.2f}",
        ]
        for each in found
    ]
    return "\n".join(table(header, body))


def main() -> None:
    """Make the engine by a run, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photo_latency", description=__doc__)
    parser.add_argument("--directory", type=Path, help="the folder of flowers17", required=True)
    parser.add_argument("--repeats", type=int, default=200, help="calls of each")
    parser.add_argument("--json", type=Path, help="write the results there")
    arguments = parser.parse_args()
    at_least("--repeats", arguments.repeats, 1)
    output = None if arguments.json is None else Output("--json", arguments.json)
    job = next(job for job in JOBS if job.name == "lite0")
    say("Making the engine")
    with running(job, 0, arguments.directory) as run:
        engine = Engine.load(run.folder / ENGINE)
    paths = sorted(arguments.directory.rglob("*.jpg"))
    chosen = paths[:: max(1, len(paths) // _PHOTOS)][:_PHOTOS]
    found = measure(calls(engine, chosen), len(chosen), arguments.repeats)
    if output is not None:
        content: dict[str, Any] = origin(command_line("benchmarks.photo_latency"))
        content |= {"run": run.command, "network": engine.backbone.name if engine.backbone else ""}
        output.write_json({**content, "results": [asdict(each) for each in found]})
    print(report(found))


if __name__ == "__main__":
    with exit_on_mistake():
        main()
