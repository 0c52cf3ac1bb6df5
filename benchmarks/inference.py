"""Inference of the full CNN and of the sliced engine, each in several runtimes (slides 32-33).

``python -m benchmarks.inference --json FILE``

The paper's large CNN (1.2 M parameters) and LeNet are trained by backpropagation on the same
images. LeNet is cut: one engine keeps all training images as references, the other one is made
small (linear discriminants, prototypes, int8). No kernel is evolved, which would not change the
speed. Every network, runtime and number of threads has a process of its own, which reads one file.

Load time
    From the import of the runtime to the first answer, with NumPy imported and the file in the
    system's cache.
Latency
    Of one image after another, median; 8 calls warm up.
Throughput
    Images a second in batches of 500, median of the batches.
Peak memory
    The most that the process has held, before the batches.
Accuracy
    On all test images.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import DATASETS, dataset_of
from benchmarks.machine import command_line, origin
from benchmarks.output import Output
from benchmarks.runtimes import RUNTIMES, Measured
from experiments.console import exit_on_mistake, say
from experiments.environment import cores
from experiments.overrides import check
from experiments.recipes import recipe_of
from experiments.schema.run import plain
from experiments.tables import table
from slicing.baselines import Baseline, TrainedCNN
from slicing.checks import between
from slicing.engine.engine import Engine
from slicing.engine.export import to_litert, to_onnx
from slicing.engine.onnx_graph import OnnxGraph
from slicing.errors import installing

# The packages of the runtimes that are extras, and those extras.
_PACKAGES = {
    "LiteRT": ("ai_edge_litert", "litert"),
    "ONNX Runtime": ("onnxruntime", "onnx"),
    "OpenVINO": ("openvino", "openvino"),
}


def cnn_to_onnx(baseline: Baseline) -> bytes:
    """Convert a CNN of :class:`slicing.baselines.TrainedCNN`, its dense layers included."""
    graph = OnnxGraph()
    out = graph.add_stack("images", baseline.stack)
    assert baseline.model is not None
    dense = [layer for layer in baseline.model.layers if type(layer).__name__ == "Dense"]
    for layer in dense:
        weights, bias = (graph.constant(array) for array in layer.get_weights())
        out = graph.add("Gemm", out, weights, bias)
        if layer is not dense[-1]:
            out = graph.add("Relu", out)
    graph.add("ArgMax", out, name="label", axis=1, keepdims=0)
    return graph.finish("images", baseline.stack.input_shape, {"label": (np.int64, ())})


def cnn_to_litert(baseline: Baseline) -> bytes:
    """Convert a Keras model."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(baseline.model)
    # It prints, and standard output is for the table.
    with redirect_stdout(sys.stderr):
        return bytes(converter.convert())


def write_networks(folder: Path, train: Any, classes: tuple[str, ...]) -> dict[str, Path]:
    """Train, cut and convert; give each network's files, less their suffixes."""
    cnn = TrainedCNN(pooling=(False, True), units=128).build(train, classes)
    lenet = TrainedCNN().build(train, classes)
    [config] = check(["slicing=small", "slicing.tuning_generations=0"])
    small = plain(config)["slicing"]
    engines = {
        f"sliced, {len(train):,} references": Engine.fit(lenet.stack, train, classes),
        "sliced, small": recipe_of(small).build(lenet.stack, train, classes),
    }
    files = {}
    for number, (name, baseline) in enumerate((("CNN, 1.2 M", cnn), ("CNN, LeNet", lenet))):
        files[name] = folder / f"cnn{number}"
        assert baseline.model is not None
        baseline.model.save(files[name].with_suffix(".keras"))
        files[name].with_suffix(".tflite").write_bytes(cnn_to_litert(baseline))
        files[name].with_suffix(".onnx").write_bytes(cnn_to_onnx(baseline))
    for number, (name, engine) in enumerate(engines.items()):
        files[name] = folder / f"engine{number}"
        engine.save(files[name].with_suffix(".safetensors"))
        files[name].with_suffix(".tflite").write_bytes(to_litert(engine))
        files[name].with_suffix(".onnx").write_bytes(to_onnx(engine))
    return files


def report(results: Sequence[Measured]) -> str:
    """Set a table."""
    header = [
        "network", "runtime", "threads", "bytes", "load, s", "one image, ms", "images/s",
        "peak, MB", "% right",
    ]  # fmt: skip
    body = [
        [
            result.network,
            result.runtime,
            str(result.threads),
            f"{result.bytes:,}",
            f"{result.load_seconds:.2f}",
            f"{1000 * result.latency_seconds:.3f}",
            f"{result.images_per_second:,.0f}",
            f"{result.peak_bytes / 1e6:.0f}",
            f"{100 * result.accuracy:.2f}",
        ]
        for result in results
    ]
    return "\n".join(table(header, body))


def run(
    train_size: int,
    test_size: int,
    repeats: int,
    threads: Sequence[int],
    data: str,
    runtimes: Sequence[str],
) -> list[Measured]:
    """Measure everything."""
    dataset = dataset_of(data, train_size=train_size, test_size=test_size)
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write_networks(folder, dataset.train, dataset.classes)
        test = dataset.read_test()
        images = str(folder / "images.npz")
        np.savez(images, images=test.images, labels=test.labels)
        for network, stem in files.items():
            for runtime in runtimes:
                path = stem.with_suffix(RUNTIMES[runtime][0])
                if not path.exists():
                    continue
                for count in threads:
                    arguments = (network, runtime, str(count), str(path), images, str(repeats))
                    results.append(_measured(*arguments))
                    say(report(results[-1:]).splitlines()[-1])
    return results


def _measured(*arguments: str) -> Measured:
    """Measure in a process of its own."""
    found = subprocess.run(
        [sys.executable, "-m", "benchmarks.runtimes", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return Measured(**json.loads(found.stdout.splitlines()[-1]))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="write the results there")
    parser.add_argument("--data", choices=DATASETS, default="mnist")
    parser.add_argument("--train", type=int, default=4000, help="training images")
    parser.add_argument("--test", type=int, default=10_000, help="test images")
    parser.add_argument("--repeats", type=int, default=500, help="images one by one")
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    with exit_on_mistake():
        for count in arguments.threads:
            between("--threads", count, 1, cores())
        output = None if arguments.json is None else Output("--json", arguments.json)
        results = run(
            arguments.train,
            arguments.test,
            arguments.repeats,
            arguments.threads,
            arguments.data,
            _installed(arguments.runtimes),
        )
        if output is not None:
            output.write_json({**origin(command_line("benchmarks.inference")), "results": results})
        print(report(results))


def _installed(runtimes: Sequence[str]) -> list[str]:
    """Leave out, and name, the runtimes whose packages are missing."""
    found = []
    for runtime in runtimes:
        package, extra = _PACKAGES.get(runtime, ("numba", ""))
        if find_spec(package) is None:
            say(f"{runtime} is not installed and left out: {installing(extra)}")
        else:
            found.append(runtime)
    return found


if __name__ == "__main__":
    main()
