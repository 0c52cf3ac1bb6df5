"""The fitness of linear discriminants of the features, learned again for every candidate."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.fitness.base import Fitness
from evolve.fitness.bound import Bound
from evolve.fitness.candidate_features import NetworkFeatures, UpdatedFeatures
from evolve.fitness.last_channels import LastChannels
from evolve.fitness.ridge import LeaveOneOutRidge
from evolve.protocols import Split
from slicing.checks import at_least, between, check_seed
from slicing.scatter import check_size
from slicing.shifts import largest_shift, shifted_at_random
from slicing.stack import ConvStack

# Features of candidates that are held at a time (bytes), four times: as they come, centered,
# candidate by candidate, and without the part that the still ones explain.
_BATCH_BYTES = 1 << 26


class DiscriminantFitness(Fitness):
    """The error of a ridge regression of the classes on the features.

    The regression spans the linear discriminants of the features (Hastie, Buja and Tibshirani,
    "Penalized discriminant analysis", Annals of Statistics 23(1), 1995), in which the k-NN of an
    engine with the projection ``lda`` looks for its neighbors. It is learned again for every
    candidate: only kernels are searched, and the regression after them is always the best one
    (variable projection: Golub and Pereyra, SIAM Journal on Numerical Analysis 10(2), 1973).

    Whenever another network is adopted, other references are chosen, and shifted in other ways. All
    candidates in between see the same ones, which depend on the seed and the network alone. The
    ridge is the best one for the initial network.

    Parameters
    ----------
    stack : ConvStack
        The initial network.
    split : Split
        References and queries; where there are no queries, each reference is one, against the
        others.
    max_references : int
        If there are more references, so many of them are chosen at random.
    shift : int
        Each reference is shifted by up to so many pixels in each direction.
    seed : int

    Raises
    ------
    InputError
        Options out of range.
    """

    same_images: ClassVar[bool] = False

    def __init__(
        self,
        stack: ConvStack,
        split: Split,
        max_references: int = 10_000,
        shift: int = 1,
        seed: int = 0,
    ) -> None:
        DiscriminantFitness.check(stack, split, max_references, shift, seed)
        self.stack = stack
        self._split, self._shift, self._seed = split, shift, seed
        self._max_references = max_references
        self._loss: float | None = None
        self._bound: Bound | None = None
        self._ridge: float | None = None
        self._channels: LastChannels | None = None
        self._draw()
        self._ridge = self._regression.ridge

    @property
    def loss(self) -> float:
        """Loss of the network, on the references chosen and shifted for it."""
        if self._loss is None:
            self._loss = self._regression.loss
        return self._loss

    @property
    def ridge(self) -> float:
        """What the regression adds to the diagonal of the scatter matrix of the features."""
        return self._regression.ridge

    @classmethod
    def _check(
        cls, stack: ConvStack, split: Split, max_references: int, shift: int, seed: int
    ) -> None:
        # Two a class.
        at_least("max_references", max_references, 2 * len(np.unique(split.references.labels)))
        check_seed(seed)
        between("shift", shift, 0, largest_shift(stack.input_shape), "pixels")
        check_size(int(np.prod(stack.feature_shape)))

    def loss_of(self, stack: ConvStack) -> float:
        """Measure the loss of a network of the same layers, without anything bound or adopted."""
        features = stack.forward(self._images)
        if not np.isfinite(features).all():
            return float("inf")
        return self._regress(features).loss

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is drawn and computed again from the rest."""
        drawn = ("block", "_images", "_targets", "_roles", "_channels", "_bound", "_regression")
        return vars(self) | dict.fromkeys(drawn)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._draw()

    @classmethod
    def _n_images(cls, split: Split, *, max_references: int = 10_000, **options: Any) -> int:
        return min(max_references, len(split.references)) + len(split.queries or ())

    def _draw(self) -> None:
        """Choose and shift the references for the current network."""
        self._loss = self._bound = None
        vars(self).pop("_regression", None)  # let go of the old one first
        key = np.frombuffer(bytes.fromhex(self.stack.digest), np.uint32)
        rng = np.random.default_rng([self._seed, *key])
        references = self._split.references
        if self._max_references < len(references):
            chosen = rng.choice(len(references), self._max_references, replace=False)
            references = references[np.sort(chosen)]
        moved = shifted_at_random(references.images, self._shift, rng)
        shifted = replace(references, images=moved)
        self._images, labels, self._roles = Split(shifted, self._split.queries).stacked()
        self._targets = (labels[:, None] == np.arange(labels.max() + 1)).astype(np.float64)
        if self._channels is None:
            self._channels = LastChannels(self.stack, self._images)
        else:
            self._channels.load(self.stack, self._images)
        self._regression = self._regress(self._channels.of_stack().reshape(len(labels), -1))

    def _regress(self, features: NDArray[np.float32]) -> LeaveOneOutRidge:
        return LeaveOneOutRidge(features, self._targets, self._roles, self._ridge)

    def _adopt(self, loss: float) -> None:
        self._draw()

    def _bind(self, block: Block) -> None:
        self._bound = None  # let go of the old one first
        stack = self.stack
        last = len(stack.convs) - 1
        # Kernel by kernel.
        n_features = int(np.prod(stack.feature_shape))
        columns = np.arange(n_features).reshape(stack.convs[last].n_kernels, -1)
        if block.layers == (last,):
            assert self._channels is not None
            columns = columns[[kernel for _, kernel in block.kernels]]
            self._bound = LastKernels(self._channels, self._regression, self._images, columns.size)
        else:
            one = len(block.kernels) == 1
            features = (UpdatedFeatures if one else NetworkFeatures)(stack, self._images, block)
            self._bound = AllFeatures(features, self._regression, self._images, columns.size)
        self._regression.bind(columns.ravel())

    def _query_losses_of(
        self, block: Block, candidates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        assert self._bound is not None
        return self._bound.query_losses(candidates)


class _InBatches(ABC):
    """A bound block whose candidates are evaluated in batches.

    Parameters
    ----------
    regression : LeaveOneOutRidge
        Its moving columns are bound.
    images : ndarray of shape (n_images, height, width, channels), float32
    n_moving : int
        Features that the block moves.
    """

    def __init__(
        self, regression: LeaveOneOutRidge, images: NDArray[np.float32], n_moving: int
    ) -> None:
        self._regression, self._n_images, self._n_moving = regression, len(images), n_moving

    def query_losses(self, candidates: NDArray[np.float64]) -> NDArray[np.float64]:
        """See :meth:`.Bound.query_losses`."""
        batch = max(1, _BATCH_BYTES // (4 * self._n_images * self._n_moving))
        losses = []
        for start in range(0, len(candidates), batch):
            part = candidates[start : start + batch]
            losses.append(self._regression.query_losses(self._moving(part)))
        return np.concatenate(losses)

    @abstractmethod
    def _moving(self, candidates: NDArray[np.float64]) -> NDArray[np.float32]:
        """Features that move, of shape (n, n_images, n_moving)."""


class LastKernels(_InBatches):
    """Kernels of the last convolution: only their own features move.

    Parameters
    ----------
    channels : LastChannels
    regression, images, n_moving
        See :class:`_InBatches`.
    """

    def __init__(
        self,
        channels: LastChannels,
        regression: LeaveOneOutRidge,
        images: NDArray[np.float32],
        n_moving: int,
    ) -> None:
        super().__init__(regression, images, n_moving)
        self._channels = channels

    def _moving(self, candidates: NDArray[np.float64]) -> NDArray[np.float32]:
        channels = self._channels(candidates)
        kernels = channels.reshape(len(candidates), -1, *channels.shape[1:]).swapaxes(1, 2)
        return np.ascontiguousarray(kernels).reshape(*kernels.shape[:2], -1)


class AllFeatures(_InBatches):
    """Kernels of earlier convolutions: all features move.

    Parameters
    ----------
    features : NetworkFeatures or UpdatedFeatures
    regression, images, n_moving
        See :class:`_InBatches`.
    """

    def __init__(
        self,
        features: NetworkFeatures | UpdatedFeatures,
        regression: LeaveOneOutRidge,
        images: NDArray[np.float32],
        n_moving: int,
    ) -> None:
        super().__init__(regression, images, n_moving)
        self._features = features

    def _moving(self, candidates: NDArray[np.float64]) -> NDArray[np.float32]:
        moving = np.empty((len(candidates), self._n_images, self._n_moving), np.float32)
        for own, features in zip(moving, self._features(candidates), strict=True):
            own[:] = features
        return moving
