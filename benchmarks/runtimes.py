"""Runtimes that classify images with one file, each measured in a process of its own.

``python -m benchmarks.runtimes NETWORK RUNTIME THREADS FILE IMAGES REPEATS`` prints what was
measured as JSON. Nothing that a runtime needs is imported before the clock runs.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import peak_memory

_BATCH = 500
_WARM_UP = 8

Classify = Callable[[NDArray[np.float32]], NDArray[np.int64]]


def _keras(path: str, threads: int) -> Classify:
    from slicing.backend import configure_threads, load_keras

    configure_threads(threads)
    model = load_keras().saving.load_model(path, compile=False)
    return lambda images: model.predict_on_batch(images).argmax(axis=1)


def _litert(path: str, threads: int) -> Classify:
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_path=path, num_threads=threads).get_signature_runner()
    (name,) = run.get_input_details()

    def classify(images: NDArray[np.float32]) -> NDArray[np.int64]:
        found = run(**{name: images})
        if "label" in found:
            return np.asarray(found["label"])
        (shares,) = found.values()
        return np.asarray(shares.argmax(axis=1))

    return classify


def _onnx_runtime(path: str, threads: int) -> Classify:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["label"], {"images": images})[0]


def _openvino(path: str, threads: int) -> Classify:
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    model = openvino.Core().compile_model(path, "CPU", settings)
    request = model.create_infer_request()
    return lambda images: np.array(request.infer([images])["label"])


def _ours(path: str, threads: int) -> Classify:
    import numba

    from slicing.engine.engine import Engine

    numba.set_num_threads(threads)
    return Engine.load(path).predict_labels


RUNTIMES: dict[str, tuple[str, Callable[[str, int], Classify]]] = {
    "Keras": (".keras", _keras),
    "ours": (".safetensors", _ours),
    "LiteRT": (".tflite", _litert),
    "ONNX Runtime": (".onnx", _onnx_runtime),
    "OpenVINO": (".onnx", _openvino),
}


@dataclass(frozen=True)
class Measured:
    """One network in one runtime.

    Attributes
    ----------
    network, runtime : str
    threads : int
    bytes : int
        Of its file.
    load_seconds, latency_seconds : float
    images_per_second : float
    peak_bytes : int
    accuracy : float
        Share of the test images.
    """

    network: str
    runtime: str
    threads: int
    bytes: int
    load_seconds: float
    latency_seconds: float
    images_per_second: float
    peak_bytes: int
    accuracy: float


def measure(
    network: str, runtime: str, threads: int, path: str, images_path: str, repeats: int
) -> Measured:
    """Measure in this process, which has not used the runtime before.

    Parameters
    ----------
    network, runtime : str
    threads : int
    path : str
        The network's file.
    images_path : str
        An ``.npz`` file of ``images`` and ``labels``.
    repeats : int
        Images that are classified one by one.
    """
    with np.load(images_path) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    start = time.perf_counter()
    classify = RUNTIMES[runtime][1](path, threads)
    classify(images[:1])
    load_seconds = time.perf_counter() - start
    singles = [images[i % len(images)][None] for i in range(_WARM_UP + repeats)]
    seconds = _seconds(classify, singles)[_WARM_UP:]
    peak = peak_memory()
    batches = [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
    classify(batches[0])
    batch_seconds = _seconds(classify, batches)
    rates = [len(batch) / each for batch, each in zip(batches, batch_seconds, strict=True)]
    predicted = np.concatenate([classify(batch) for batch in batches])
    return Measured(
        network,
        runtime,
        threads,
        Path(path).stat().st_size,
        load_seconds,
        float(np.median(seconds)),
        float(np.median(rates)),
        peak,
        float(np.mean(predicted == labels)),
    )


def _seconds(classify: Classify, batches: Sequence[NDArray[np.float32]]) -> list[float]:
    seconds = []
    for batch in batches:
        start = time.perf_counter()
        classify(batch)
        seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    network, runtime, threads, path, images, repeats = sys.argv[1:]
    print(json.dumps(asdict(measure(network, runtime, int(threads), path, images, int(repeats)))))
