"""Measure the networks on the test images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from experiments.statistics import Accuracy, Comparison
from experiments.summary import NetworkResult, saved_of
from slicing.backbones.maps import Maps
from slicing.baselines import Baseline
from slicing.classifier import Classifier
from slicing.data.dataset import Images
from slicing.engine.engine import Engine


@dataclass(frozen=True)
class Measured:
    """What the networks make of the test images.

    Attributes
    ----------
    networks : mapping of str to NetworkResult
        By the names that :class:`.Summary` has for them.
    answers : mapping of str to list of ndarray of shape (n_test,), int64
        To the chosen test images and, where those are a subset, to all of them; none of a network
        without a head.
    labels : ndarray of shape (n_test,), int64
        The true classes of all test images.
    """

    networks: Mapping[str, NetworkResult]
    answers: Mapping[str, list[NDArray[np.int64]]]
    labels: NDArray[np.int64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The saved engine's answers to the chosen test images."""
        return self.answers[saved_of(self.answers)][0]

    @property
    def comparisons(self) -> dict[str, Comparison]:
        """See :attr:`.Summary.comparisons`."""
        whole = "evolved" if "evolved" in self.answers else "sliced"
        pairs = {
            "evolution": ("sliced", "evolved"),
            "reduction": (whole, "engine"),
            "slicing": ("baseline", saved_of(self.answers)),
        }
        return {
            name: Comparison.of(self.answers[first][-1], self.answers[second][-1], self.labels)
            for name, (first, second) in pairs.items()
            if self.answers.get(first) and self.answers.get(second)
        }


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
        Its answers, for each of ``tests``; empty for a network without a head. One whose head is
        above its maps has given them with these.
    """
    predicted: list[NDArray[np.int64]] = []
    if isinstance(network, Engine) or network.head is not None:
        classifier: Classifier = network
        predicted = [classifier.predict_labels(test.images) for test in tests]
    else:
        scores = [test.scores for test in tests if isinstance(test, Maps)]
        predicted = [each.argmax(axis=1) for each in scores if each is not None]
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
