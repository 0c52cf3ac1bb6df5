"""The fitness of the k-NN on the features of a conv stack."""

from collections import Counter
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.fitness.base import Fitness
from evolve.fitness.bound import Bound
from evolve.fitness.candidate_features import NetworkFeatures, UpdatedFeatures
from evolve.fitness.incremental_knn import IncrementalKNN
from evolve.fitness.knn_objectives import query_losses
from evolve.fitness.last_channels import LastChannels
from evolve.fitness.moved_features import MovedKNN
from evolve.protocols import Split
from evolve.roles import Roles
from slicing.checks import between, one_of, positive
from slicing.neighbors.exact import Metric, NeighborSearch
from slicing.neighbors.short_form import ShortForm
from slicing.stack import ConvStack

ObjectiveName = Literal["neighbors", "accuracy"]

FULL_SCANS = "full_scans"
"""Counts queries that were compared with all references, because their lists were too short."""

# Cosine distances that are smaller are rounding, on average.
_ROUNDING = 1e-9


class KNNFitness(Fitness):
    """The loss of an exact k-NN on the features.

    Parameters
    ----------
    stack : ConvStack
        The initial network.
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
        the initial network.

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
        self.counts: Counter[str] = Counter({FULL_SCANS: 0})
        self._images, labels, roles = split.stacked()
        n_neighbors = k if objective == "accuracy" else neighbors
        self._judge = _Judge(labels, roles, n_neighbors, metric)
        found = _Search(self._judge).neighbors(stack.forward(self._images))
        if objective == "neighbors":
            # Images that are all alike have no scale; any will do.
            # Images that are all alike are at distance 0, but for the rounding of a cosine.
            unit = float(found[0].mean())
            is_there = unit > (_ROUNDING if metric == "cosine" else 0.0)
            self._judge.temperature = temperature * (unit if is_there else 1.0)
        self._loss = float(self._judge.losses(*found).mean())
        self._bound: Bound | None = None

    @property
    def loss(self) -> float:
        """Loss of the current network."""
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
        one_of("objective", objective, get_args(ObjectiveName))
        positive("temperature", temperature)
        available = split.roles.available
        between("k", k, 1, available)
        if objective == "neighbors":
            between("neighbors", neighbors, 1, available)
        one_of("metric", metric, get_args(Metric))

    def loss_of(self, stack: ConvStack) -> float:
        """Measure the loss of a network of the same layers, without anything bound or adopted."""
        features = stack.forward(self._images)
        if not np.isfinite(features).all():
            return float("inf")
        return float(self._judge.losses(*_Search(self._judge).neighbors(features)).mean())

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the bound block: bind again after unpickling."""
        return vars(self) | {"block": None, "_bound": None}

    def _bind(self, block: Block) -> None:
        last = self._bound if isinstance(self._bound, LastKernel) else None
        self._bound = None  # let go of the old one first: both may not fit into memory
        if len(block.kernels) > 1:
            del last
            self._bound = ManyKernels(self.stack, self._images, block, self._judge)
        elif block.layers[0] < len(self.stack.convs) - 1:
            del last
            self._bound = EarlierKernel(self.stack, self._images, block, self._judge, self.counts)
        else:
            last = last or LastKernel(self.stack, self._images, self._judge, self.counts)
            last.bind(block)
            self._bound = last

    def _query_losses_of(
        self, block: Block, candidates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        assert self._bound is not None
        return self._bound.query_losses(candidates)

    def _adopt(self, loss: float) -> None:
        self._loss = loss
        if not (isinstance(self._bound, LastKernel) and self._bound.adopt(self.stack)):
            self._bound = None


class _Judge:
    """The labels and roles of the images, and the loss of a query from its neighbors.

    Parameters
    ----------
    labels : ndarray of shape (n_images,), int64
    roles : Roles
    n_neighbors : int
    metric : {"euclidean", "cosine"}

    Attributes
    ----------
    temperature : float
        See :func:`evolve.fitness.knn_objectives.query_losses`; 0 at first.
    """

    def __init__(
        self, labels: NDArray[np.int64], roles: Roles, n_neighbors: int, metric: Metric
    ) -> None:
        self.labels, self.roles, self.n_neighbors = labels, roles, n_neighbors
        self.metric: Metric = metric
        self.temperature = 0.0
        self._n_classes = int(labels.max()) + 1

    def losses(
        self, distances: NDArray[np.float64], indices: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Loss of every query, (n_queries,), from its neighbors (n_queries, n_neighbors)."""
        truth = self.labels[self.roles.queries]
        neighbors = self.labels[indices]
        return query_losses(distances, neighbors, truth, self._n_classes, self.temperature)

    def infinite(self) -> NDArray[np.float64]:
        """Losses of queries whose features are not finite."""
        return np.full(self.roles.n_queries, np.inf)


class _Search:
    """Searches all references for the neighbors, under the features of one network after another.

    The short form of the first is used for all: it changes no result, and they are similar enough.
    """

    def __init__(self, judge: _Judge) -> None:
        self._judge = judge
        self._short_form: ShortForm | None = None

    def neighbors(
        self, features: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Find the neighbors of every query.

        Parameters
        ----------
        features : ndarray of shape (n_images, n_features), float32

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), float64
        indices : ndarray of shape (n_queries, n_neighbors), int64
        """
        judge, roles = self._judge, self._judge.roles
        references = features[roles.references]
        search = NeighborSearch(references, judge.metric, roles.n_queries, self._short_form)
        self._short_form = search.short_form
        queries = search.references if roles.leave_one_out else features[roles.queries]
        return search.search(queries, judge.n_neighbors, roles.excluded)


class LastKernel:
    """One kernel of the last convolution: distances are sums, and only its own terms change.

    It serves one block after the other, and networks that differ in the last convolution alone.

    Parameters
    ----------
    stack : ConvStack
    images : ndarray of shape (n_images, height, width, channels), float32
    judge : _Judge
    counts : Counter
        Where full scans are counted.
    """

    def __init__(
        self, stack: ConvStack, images: NDArray[np.float32], judge: _Judge, counts: Counter[str]
    ) -> None:
        self._judge, self._counts = judge, counts
        self._channels = LastChannels(stack, images)
        self._knn = IncrementalKNN(
            self._channels.of_stack(), judge.labels, judge.roles, judge.n_neighbors, judge.metric
        )

    def bind(self, block: Block) -> None:
        """Let candidates replace the kernel of another block."""
        self._knn.bind(block.kernels[0][1])

    def query_losses(self, candidates: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :meth:`.Bound.query_losses`."""
        channels = self._channels(candidates)
        losses, full_scans = self._knn.query_losses(channels, self._judge.temperature)
        self._counts[FULL_SCANS] += full_scans
        return losses

    def adopt(self, stack: ConvStack) -> bool:
        """Replace the stack by another, if only its last convolution differs; bind after.

        Returns
        -------
        bool
            Whether only that differs; if not, nothing happens.
        """
        changed = self._channels.adopt(stack)
        if changed is None:
            return False
        if len(changed[0]):
            self._knn.replace(*changed)
        return True


class EarlierKernel:
    """One kernel of an earlier convolution: all features move, but not far.

    Parameters
    ----------
    stack : ConvStack
    images : ndarray of shape (n_images, height, width, channels), float32
    block : Block
    judge : _Judge
    counts : Counter
        Where full scans are counted.
    """

    def __init__(
        self,
        stack: ConvStack,
        images: NDArray[np.float32],
        block: Block,
        judge: _Judge,
        counts: Counter[str],
    ) -> None:
        self._judge, self._counts = judge, counts
        self._features = UpdatedFeatures(stack, images, block)
        (features,) = self._features(block.read(stack)[None])
        self._knn = MovedKNN(features, judge.roles, judge.n_neighbors, judge.metric)

    def query_losses(self, candidates: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :meth:`.Bound.query_losses`."""
        losses = np.empty((len(candidates), self._judge.roles.n_queries))
        for row, features in zip(losses, self._features(candidates), strict=True):
            if not np.isfinite(features).all():
                row[:] = self._judge.infinite()
                continue
            distances, indices, full_scans = self._knn.neighbors(features)
            self._counts[FULL_SCANS] += full_scans
            row[:] = self._judge.losses(distances, indices)
        return losses


class ManyKernels:
    """Several kernels: the neighbors of every candidate are searched among all references.

    Parameters
    ----------
    stack : ConvStack
    images : ndarray of shape (n_images, height, width, channels), float32
    block : Block
    judge : _Judge
    """

    def __init__(
        self, stack: ConvStack, images: NDArray[np.float32], block: Block, judge: _Judge
    ) -> None:
        self._judge = judge
        self._features = NetworkFeatures(stack, images, block)
        self._search = _Search(judge)

    def query_losses(self, candidates: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :meth:`.Bound.query_losses`."""
        losses = np.empty((len(candidates), self._judge.roles.n_queries))
        for row, features in zip(losses, self._features(candidates), strict=True):
            if np.isfinite(features).all():
                row[:] = self._judge.losses(*self._search.neighbors(features))
            else:
                row[:] = self._judge.infinite()
        return losses
