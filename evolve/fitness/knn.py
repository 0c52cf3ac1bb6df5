"""The fitness of the k-NN on the features of a conv stack."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.fitness.base import Fitness
from evolve.fitness.candidate_features import NetworkFeatures, UpdatedFeatures
from evolve.fitness.last_layer import LastLayer
from evolve.fitness.moved_features import ShiftedKNN
from evolve.fitness.objectives import query_losses
from evolve.protocols import Split
from slicing.checks import one_of
from slicing.errors import InputError
from slicing.neighbors.exact import Metric, NeighborSearch
from slicing.neighbors.short_form import ShortForm
from slicing.stack import ConvStack

ObjectiveName = Literal["neighbors", "accuracy"]


class KNNFitness(Fitness):
    """The loss of an exact k-NN on the features.

    Parameters
    ----------
    stack : ConvStack
        The network to begin with.
    split : Split
        References and queries.
    objective : {"neighbors", "accuracy"}
        ``neighbors``: mean over the queries of -log of the soft vote of the true class among the
        nearest ``neighbors``. ``accuracy``: one minus the accuracy of the k-NN.
    k : int
        Neighbors that vote under ``accuracy``.
    metric : {"euclidean", "cosine"}
    neighbors : int
        Neighbors in the soft vote.
    temperature : float
        Of the soft vote, in units of the mean distance between a query and its ``neighbors`` in
        the network to begin with.

    Raises
    ------
    InputError
        Options that do not exist or do not fit the images.
    """

    def __init__(
        self,
        stack: ConvStack,
        split: Split,
        objective: ObjectiveName = "neighbors",
        k: int = 9,
        metric: Metric = "euclidean",
        neighbors: int = 32,
        temperature: float = 0.2,
    ) -> None:
        KNNFitness.check(stack, split, objective, k, metric, neighbors, temperature)
        self.stack = stack
        self._metric: Metric = metric
        self._n_neighbors = k if objective == "accuracy" else neighbors
        self._n_queries = None if split.queries is None else len(split.queries)
        self._n_references = len(split.references)
        if split.queries is None:
            self._images, self._labels = split.references.images, split.references.labels
        else:
            parts = (split.references, split.queries)
            self._images = np.concatenate([part.images for part in parts])
            self._labels = np.concatenate([part.labels for part in parts])
        self._projection: ShortForm | None = None
        self._temperature = 0.0
        found = self._neighbors(stack.forward(self._images))
        if objective == "neighbors":
            # Images that are all alike have no scale; any will do.
            self._temperature = temperature * (float(found[0].mean()) or 1.0)
        self._loss = float(self._losses_among(*found).mean())
        self._features: NetworkFeatures | UpdatedFeatures | None = None
        self._shifted: ShiftedKNN | None = None
        self._last_layer: LastLayer | None = None

    @property
    def loss(self) -> float:
        """Loss of the network as it stands."""
        return self._loss

    @classmethod
    def _check(
        cls,
        stack: ConvStack,
        split: Split,
        objective: ObjectiveName,
        k: int,
        metric: Metric,
        neighbors: int,
        temperature: float,
    ) -> None:
        if objective not in get_args(ObjectiveName):
            raise InputError(
                f"objective={objective!r} is unknown: choose one of {get_args(ObjectiveName)}."
            )
        if not 0 < temperature < np.inf:
            raise InputError(
                f"temperature={temperature} is not possible: give a positive, finite number."
            )
        available = len(split.references) - (split.queries is None)
        for name, count in (("k", k), ("neighbors", neighbors)):
            if not 1 <= count <= available and (name == "k" or objective == "neighbors"):
                raise InputError(
                    f"{name}={count} is not possible: there are {available} references to choose "
                    f"from, so give 1 to {available}."
                )
        one_of("metric", metric, get_args(Metric))

    def _bind(self, block: Block) -> None:
        self._features = self._projection = self._shifted = None  # let go of the old ones first
        if block.layers[0] == len(self.stack.convs) - 1 and len(block.kernels) == 1:
            self._last_layer = self._last_layer or LastLayer(
                self.stack,
                self._images,
                self._labels,
                self._n_queries,
                self._n_neighbors,
                self._metric,
            )
            self._last_layer.bind(block.kernels[0][1])
            return
        self._last_layer = None  # both would not fit into memory with many images
        if len(block.kernels) == 1:
            self._features = UpdatedFeatures(self.stack, self._images, block)
            (features,) = self._features(block.read(self.stack)[None])
            self._shifted = ShiftedKNN(features, self._n_queries, self._n_neighbors, self._metric)
        else:
            self._features = NetworkFeatures(self.stack, self._images, block)

    def _query_losses_of(
        self, block: Block, candidates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        if self._last_layer is not None:
            losses, full_scans = self._last_layer.query_losses(candidates, self._temperature)
            self.full_scans += full_scans
            return losses
        assert self._features is not None
        losses = np.empty((len(candidates), self._n_queries or self._n_references))
        for row, features in zip(losses, self._features(candidates), strict=True):
            row[:] = self._losses_of(features)
        return losses

    def _adopt(self, loss: float) -> None:
        self._loss = loss
        if self._last_layer is not None and not self._last_layer.adopt(self.stack):
            self._last_layer = None

    def loss_of(self, stack: ConvStack) -> float:
        """Measure the loss of a network of the same layers, without anything bound or adopted."""
        self._projection = None
        features = stack.forward(self._images)
        if not np.isfinite(features).all():
            return float("inf")
        return float(self._losses_among(*self._neighbors(features)).mean())

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what a bound block needs: whoever unpickles binds again."""
        bound = ("block", "_features", "_projection", "_shifted", "_last_layer")
        return vars(self) | dict.fromkeys(bound)

    def _losses_of(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        if not np.isfinite(features).all():
            return np.full(self._n_queries or self._n_references, np.inf)
        if self._shifted is None:
            return self._losses_among(*self._neighbors(features))
        distances, indices, full_scans = self._shifted.neighbors(features)
        self.full_scans += full_scans
        return self._losses_among(distances, indices)

    def _neighbors(
        self, features: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        references, queries = features[: self._n_references], features[self._n_references :]
        n_queries = self._n_queries or self._n_references
        search = NeighborSearch(references, self._metric, n_queries, self._projection)
        # Learnt from a block's first candidate: the others are similar enough.
        self._projection = search.projection
        if self._n_queries is None:
            return search.search(search.references, self._n_neighbors, np.arange(n_queries))
        return search.search(queries, self._n_neighbors)

    def _losses_among(
        self, distances: NDArray[np.float64], indices: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        truth = self._labels[-len(indices) :]
        n_classes = int(self._labels.max()) + 1
        return query_losses(distances, self._labels[indices], truth, n_classes, self._temperature)
