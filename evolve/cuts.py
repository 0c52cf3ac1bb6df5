"""Where to cut a network: every cut, and useful sets of them, scored on training images alone."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evolve.transfer import h_score, log_evidence
from slicing.data.dataset import Images
from slicing.data.sampling import stratified_order
from slicing.engine.penalized import PenalizedDiscriminants
from slicing.engine.votes import count_votes
from slicing.neighbors.exact import Metric, kneighbors
from slicing.show import Show, silent

IMAGES = 5000
"""Training images that cuts are scored on, at most. They are a stratified sample."""

# How many of the last cuts lie side by side in the sets that are scored.
_SETS = (2, 3, 4, 5, 6, 8, 10, 12, 16)


class CutScore(NamedTuple):
    """How well the maps of a set of cuts tell the classes of the training images apart.

    Attributes
    ----------
    cuts : tuple of str
        Layers, from the input to the output.
    n_features : int
    discriminants, neighbors : float
        Share of the images that are classified right, each by all others: by linear discriminants,
        and by the exact k-NN.
    loss : float
        Mean squared error of the regression that spans the discriminants.
    h_score, log_evidence : float
        See :mod:`evolve.transfer`.
    """

    cuts: tuple[str, ...]
    n_features: int
    discriminants: float
    neighbors: float
    loss: float
    h_score: float
    log_evidence: float

    def __str__(self) -> str:
        names = " + ".join(self.cuts)
        return f"{names}, whose discriminants name {self.discriminants:.1%} of the images left out"


def useful_sets(cuts: Sequence[str]) -> list[tuple[str, ...]]:
    """Give each cut alone, and the last ones side by side."""
    several = [tuple(cuts[-n:]) for n in (*_SETS, len(cuts)) if 1 < n <= len(cuts)]
    return [*((cut,) for cut in cuts), *dict.fromkeys(several)]


def scores(
    maps: Images,
    cuts: Sequence[str],
    channels: Sequence[int],
    *,
    k: int = 9,
    metric: Metric = "cosine",
    show: Show = silent,
) -> Iterator[CutScore]:
    """Score every cut, and useful sets of cuts.

    Parameters
    ----------
    maps : Images
        The maps of the training images at all cuts, side by side.
    cuts : sequence of str
        Names of the cuts.
    channels : sequence of int
        How many channels each has.
    k : int, default=9
    metric : {"euclidean", "cosine"}, default="cosine"
    show : callable, optional
        Is told the part that is done, 0 to 1, and what is being done.

    Yields
    ------
    CutScore
    """
    sample = maps[np.sort(stratified_order(maps.labels, 0)[:IMAGES])]
    ends = np.cumsum(channels)
    parts = {
        cut: _flat(sample.images[..., end - width : end])
        for cut, width, end in zip(cuts, channels, ends, strict=True)
    }
    sets = useful_sets(cuts)
    for number, chosen in enumerate(sets):
        show(number / len(sets), f"scoring cut {number + 1} of {len(sets)}")
        features = np.concatenate([parts[cut] for cut in chosen], axis=1)
        found = PenalizedDiscriminants(features, sample.labels)
        yield CutScore(
            chosen,
            features.shape[1],
            found.regression.accuracy,
            _neighbors_accuracy(features, sample.labels, k, metric),
            found.regression.loss,
            h_score(found),
            log_evidence(found),
        )


def best(found: Sequence[CutScore]) -> CutScore:
    """Choose the set whose discriminants classify best; of equals, the one with the least loss."""
    return max(found, key=lambda score: (score.discriminants, -score.loss))


def _flat(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    return maps.reshape(len(maps), -1)


def _neighbors_accuracy(
    features: NDArray[np.float32], labels: NDArray[np.int64], k: int, metric: Metric
) -> float:
    """Give the share of images that their k nearest others classify right."""
    _, nearest = kneighbors(features, features, min(k, len(labels) - 1), metric, True)
    votes = count_votes(labels[nearest], int(labels.max()) + 1)
    return float(np.mean(votes.argmax(axis=1) == labels))
