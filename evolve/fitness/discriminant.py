"""The fitness of linear discriminants of the features, learnt anew for every candidate."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.fitness.base import Fitness
from evolve.fitness.candidate_features import NetworkFeatures, UpdatedFeatures
from evolve.fitness.last_layer import LastChannels
from evolve.fitness.ridge import LeaveOneOutRidge
from evolve.protocols import Split
from slicing.checks import between
from slicing.errors import InputError
from slicing.scatter import check_size
from slicing.shifts import largest_shift, shifted_at_random
from slicing.stack import ConvStack

# Features of candidates that are held at a time (bytes), four times: as they come, centered,
# candidate by candidate, and without what the still ones explain.
_BATCH_BYTES = 1 << 26


class DiscriminantFitness(Fitness):
    """The error of a ridge regression of the classes on the features.

    The regression spans the linear discriminants of the features (Hastie, Buja and Tibshirani,
    "Penalized discriminant analysis", Annals of Statistics 23(1), 1995), in which the k-NN of an
    engine with ``slicing.projection=lda`` looks for its neighbors. It is learnt anew for every
    candidate: only kernels are searched, what follows them is at its best (variable projection:
    Golub and Pereyra, SIAM Journal on Numerical Analysis 10(2), 1973).

    Whenever another network is adopted, other references are chosen and shifted in other ways. All
    candidates in between see the same ones, which depend on the seed and the network alone. The
    ridge is what suits the network to begin with.

    Parameters
    ----------
    stack : ConvStack
        The network to begin with.
    split : Split
        References and queries; where there are no queries, each reference is one, against the
        others.
    max_references : int
        Of more references, so many are chosen at random.
    shift : int
        Pixels by which each reference is shifted, at most, in each direction.
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
        self._n_references = min(max_references, len(split.references))
        self._loss: float | None = None
        self._features: NetworkFeatures | UpdatedFeatures | None = None
        self._ridge: float | None = None
        self._draw()
        self._ridge = self._regression.ridge

    @property
    def loss(self) -> float:
        """Loss of the network, on the references as they are chosen and shifted for it."""
        if self._loss is None:
            self._loss = self._regression.loss
        return self._loss

    @classmethod
    def _check(
        cls, stack: ConvStack, split: Split, max_references: int, shift: int, seed: int
    ) -> None:
        least = 2 * len(np.unique(split.references.labels))
        if max_references < least:
            raise InputError(
                f"max_references={max_references} is not possible: give {least} or more, two a "
                "class."
            )
        if seed < 0:
            raise InputError(f"seed={seed} is not possible: give 0 or more.")
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
        drawn = ("block", "_images", "_targets", "_channels", "_features", "_regression")
        return vars(self) | dict.fromkeys(drawn)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._draw()

    def _draw(self) -> None:
        """Choose and shift the references for the network as it stands."""
        self._loss = self._features = None
        key = np.frombuffer(bytes.fromhex(self.stack.digest), np.uint32)
        rng = np.random.default_rng([self._seed, *key])
        references = self._split.references
        if self._n_references < len(references):
            chosen = rng.choice(len(references), self._n_references, replace=False)
            references = references[np.sort(chosen)]
        self._images = shifted_at_random(references.images, self._shift, rng)
        labels, queries = references.labels, self._split.queries
        if queries is not None:
            self._images = np.concatenate([self._images, queries.images])
            labels = np.concatenate([labels, queries.labels])
        self._targets = (labels[:, None] == np.arange(labels.max() + 1)).astype(np.float64)
        self._channels = LastChannels(self.stack, self._images)
        self._regression = self._regress(self._channels.of_stack().reshape(len(labels), -1))

    def _regress(self, features: NDArray[np.float32]) -> LeaveOneOutRidge:
        return LeaveOneOutRidge(features, self._targets, self._n_references, self._ridge)

    def _adopt(self, loss: float) -> None:
        self._draw()

    def _bind(self, block: Block) -> None:
        self._features = None  # let go of the old ones first
        last = len(self.stack.convs) - 1
        # Kernel by kernel.
        n_features = int(np.prod(self.stack.feature_shape))
        columns = np.arange(n_features).reshape(self.stack.convs[last].n_kernels, -1)
        if block.layers == (last,):
            columns = columns[[kernel for _, kernel in block.kernels]]
        elif len(block.kernels) == 1:
            self._features = UpdatedFeatures(self.stack, self._images, block)
        else:
            self._features = NetworkFeatures(self.stack, self._images, block)
        self._n_moving = columns.size
        self._regression.bind(columns.ravel())

    def _query_losses_of(
        self, block: Block, candidates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        n_images = len(self._images)
        batch = max(1, _BATCH_BYTES // (4 * n_images * self._n_moving))
        losses = []
        for start in range(0, len(candidates), batch):
            part = candidates[start : start + batch]
            if self._features is None:
                channels = self._channels(part)
                channels = channels.reshape(len(part), -1, *channels.shape[1:])
                moving = channels.transpose(2, 0, 1, 3)
            else:
                moving = np.empty((n_images, len(part), self._n_moving), np.float32)
                for place, features in enumerate(self._features(part)):
                    moving[:, place] = features
            losses.append(self._regression.losses(moving.reshape(n_images, len(part), -1)))
        return np.concatenate(losses)
