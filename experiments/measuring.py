"""Measure a network on the test images."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from experiments.statistics import Accuracy
from experiments.summary import NetworkResult
from slicing.baselines import Baseline
from slicing.classifier import Classifier
from slicing.data.dataset import Images
from slicing.engine.engine import Engine


def measured(
    name: str, network: Baseline | Engine, tests: Sequence[Images]
) -> tuple[NetworkResult, list[NDArray[np.int64]]]:
    """Measure a network.

    Parameters
    ----------
    name : str
        What tables call it.
    network : Baseline or Engine
    tests : sequence of Images
        The chosen test images and, where those are a subset, all of them.

    Returns
    -------
    result : NetworkResult
    predicted : list of ndarray of shape (n_test,), int64
        Its answers, for each of ``tests``; empty for a network without a head.
    """
    predicted: list[NDArray[np.int64]] = []
    if isinstance(network, Engine) or network.model is not None:
        classifier: Classifier = network
        predicted = [classifier.predict_labels(test.images) for test in tests]
    accuracies: list[Accuracy | None] = [
        Accuracy.of(labels, test.labels) for labels, test in zip(predicted, tests, strict=False)
    ]
    test, test_all = [*accuracies, None, None][:2]
    engine = network if isinstance(network, Engine) else None
    result = NetworkResult(
        name,
        network.n_parameters,
        engine.conv_bytes if engine else None,
        engine.reference_bytes if engine else None,
        network.total_bytes,
        test,
        test_all,
    )
    return result, predicted
