"""The fitness: the k-NN loss of a conv stack in which a block of kernels is replaced."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.last_layer import LastLayer
from evolve.objectives import query_losses
from evolve.protocols import Split
from slicing.errors import InputError
from slicing.knn import Metric, kneighbors
from slicing.stack import ConvStack, Layer, forward

ObjectiveName = Literal["neighbours", "accuracy"]


class Fitness:
    """What the optimisers minimise, and the network as it stands.

    Parameters
    ----------
    stack : ConvStack
        The network to begin with.
    split : Split
        References and queries.
    objective : {"neighbours", "accuracy"}
        ``neighbours``: mean over the queries of -log of the soft vote of the true class among the
        nearest ``neighbours``. ``accuracy``: one minus the accuracy of the k-NN.
    k : int
        Neighbours that vote under ``accuracy``.
    metric : {"euclidean", "cosine"}
    neighbours : int
        Neighbours in the soft vote.
    temperature : float
        Of the soft vote, in units of the mean distance between a query and its ``neighbours`` in
        the network to begin with.

    Attributes
    ----------
    stack : ConvStack
        The network as it stands: what was given, with all that was accepted since.
    loss : float
        Its loss.

    Raises
    ------
    InputError
        Options that do not exist or do not fit the images.
    """

    def __init__(
        self,
        stack: ConvStack,
        split: Split,
        objective: ObjectiveName = "neighbours",
        k: int = 9,
        metric: Metric = "euclidean",
        neighbours: int = 32,
        temperature: float = 0.2,
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
        for name, count in (("k", k), ("neighbours", neighbours)):
            if not 1 <= count <= available and (name == "k" or objective == "neighbours"):
                raise InputError(
                    f"{name}={count} is not possible: there are {available} references to choose "
                    f"from, so give 1 to {available}."
                )
        self.stack = stack
        self._metric: Metric = metric
        self._n_neighbours = k if objective == "accuracy" else neighbours
        self._n_queries = None if split.queries is None else len(split.queries)
        self._n_references = len(split.references)
        if split.queries is None:
            self._images, self._labels = split.references.images, split.references.labels
        else:
            parts = (split.references, split.queries)
            self._images = np.concatenate([part.images for part in parts])
            self._labels = np.concatenate([part.labels for part in parts])
        distances, indices = self._neighbours(stack.forward(self._images))
        # Images that are all alike have no scale; any will do.
        scale = float(distances.mean()) or 1.0
        self._temperature = temperature * scale if objective == "neighbours" else 0.0
        self.loss = self._mean_loss(distances, indices)
        self._block: Block | None = None
        self._prefix: tuple[Layer, ...] | None = None
        self._inputs = self._images
        self._last_layer: LastLayer | None = None

    @property
    def full_scans(self) -> int:
        """How often the incremental way had to visit all references of a query."""
        return 0 if self._last_layer is None else self._last_layer.full_scans

    def bind(self, block: Block) -> None:
        """Take ``block`` as the one that candidates replace, until one of them is accepted."""
        self._block = block
        if not self._is_incremental(block):
            prefix = self.stack.layers[: self._first_layer(block)]
            if self._prefix != prefix:
                self._prefix = prefix
                self._inputs = forward(prefix, self._images)
            return
        if self._last_layer is None:
            self._last_layer = LastLayer(
                self.stack,
                self._images,
                self._labels,
                self._n_queries,
                self._n_neighbours,
                self._metric,
            )
        self._last_layer.bind(block.kernels[0][1])

    def losses(self, candidates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate candidates for the bound block.

        Parameters
        ----------
        candidates : ndarray of shape (n, dim), float64

        Returns
        -------
        ndarray of shape (n,), float64
            The smaller the better; infinite where the features of a candidate overflow.
        """
        block = self._bound_block()
        if self._last_layer is not None and self._is_incremental(block):
            return self._last_layer.losses(candidates, self._temperature)
        return np.array([self._plain_loss(block, candidate) for candidate in candidates])

    def accept(self, candidate: NDArray[np.float64]) -> None:
        """Put a candidate, of shape (dim,), into the network; bind again before going on."""
        block = self._bound_block()
        self.loss = float(self.losses(candidate[None])[0])
        if self._last_layer is not None and self._is_incremental(block):
            self._last_layer.accept(candidate)
        else:
            self._last_layer = None  # its distances are those of another network
        self.stack = block.write(self.stack, candidate)
        self._block = None

    def _bound_block(self) -> Block:
        if self._block is None:
            raise RuntimeError("No block is bound: call bind(block) first.")
        return self._block

    def _is_incremental(self, block: Block) -> bool:
        return len(block.kernels) == 1 and block.layers[0] == len(self.stack.convs) - 1

    def _first_layer(self, block: Block) -> int:
        return self.stack.conv_layers[block.layers[0]]

    def _plain_loss(self, block: Block, candidate: NDArray[np.float64]) -> float:
        layers = block.write(self.stack, candidate).layers[self._first_layer(block) :]
        features = forward(layers, self._inputs).reshape(len(self._images), -1)
        if not np.isfinite(features).all():
            return np.inf
        return self._mean_loss(*self._neighbours(features))

    def _neighbours(
        self, features: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        references, queries = features[: self._n_references], features
        if self._n_queries is not None:
            queries = features[self._n_references :]
        return kneighbors(
            queries, references, self._n_neighbours, self._metric, self._n_queries is None
        )

    def _mean_loss(self, distances: NDArray[np.float64], indices: NDArray[np.int64]) -> float:
        truth = self._labels[-len(indices) :]
        n_classes = int(self._labels.max()) + 1
        labels = self._labels[indices]
        return float(query_losses(distances, labels, truth, n_classes, self._temperature).mean())
