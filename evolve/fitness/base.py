"""What optimizers minimize: the contract that every fitness keeps."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.protocols import Split
from slicing.stack import ConvStack


class Fitness(ABC):
    """What the optimizers minimize, and the current network.

    It does not depend on the number of threads, draws nothing at random once it is made, and can be
    pickled; after unpickling, bind again.

    Attributes
    ----------
    stack : ConvStack
        The current network: the given one, or the one adopted last.
    block : Block or None
        The bound block.
    counts : mapping of str to int
        What it has counted beside the losses, over all candidates, by name; empty for most.
    """

    same_images: ClassVar[bool] = True
    """Whether it looks at the same images for all networks, so that their losses compare."""

    stack: ConvStack
    block: Block | None = None
    counts: Mapping[str, int] = MappingProxyType({})

    @property
    @abstractmethod
    def loss(self) -> float:
        """Loss of the current network."""

    def bind(self, block: Block) -> None:
        """Let candidates replace ``block``, until another network is adopted."""
        self.block = block
        self._bind(block)

    def losses(self, candidates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate candidates for the bound block.

        Parameters
        ----------
        candidates : ndarray of shape (n, dim), float64

        Returns
        -------
        ndarray of shape (n,), float64
            The smaller the better; infinite where the features of a candidate overflow. The last
            bits of a loss may depend on the other candidates.
        """
        losses: NDArray[np.float64] = self.query_losses(candidates).mean(axis=1)
        return losses

    def query_losses(self, candidates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate candidates for the bound block, query by query.

        Parameters
        ----------
        candidates : ndarray of shape (n, dim), float64

        Returns
        -------
        ndarray of shape (n, n_queries), float64
        """
        if self.block is None:
            raise RuntimeError("No block is bound: call bind(block) first.")
        return self._query_losses_of(self.block, candidates)

    def adopt(self, stack: ConvStack, loss: float) -> None:
        """Continue from another network; bind again before evaluating.

        Parameters
        ----------
        stack : ConvStack
            Of the same layers, with other kernels.
        loss : float
            Its loss, as it was evaluated.
        """
        self.stack, self.block = stack, None
        self._adopt(loss)

    @classmethod
    def check(cls, *args: Any, **kwargs: Any) -> None:
        """Raise what the constructor would raise about its options, before anything is computed.

        Parameters
        ----------
        *args, **kwargs
            Arguments of the constructor.

        Raises
        ------
        InputError
            Options that do not fit the network or the images.
        TypeError
            Options that do not exist.
        """
        bound = inspect.signature(cls).bind(*args, **kwargs)
        bound.apply_defaults()
        cls._check(*bound.args, **bound.kwargs)

    @classmethod
    def least_bytes(cls, stack: ConvStack, split: Split, **options: Any) -> int:
        """Count the bytes that it needs at least: the features of its images, in float32.

        Parameters
        ----------
        stack, split, **options
            Arguments of the constructor.
        """
        return 4 * int(np.prod(stack.feature_shape)) * cls._n_images(split, **options)

    @classmethod
    def _n_images(cls, split: Split, **options: Any) -> int:
        """Count the images that it looks at."""
        return len(split.references) + len(split.queries or ())

    @classmethod
    def _check(cls, *args: Any, **kwargs: Any) -> None:
        """Check the arguments of the constructor, defaults included."""
        return

    @abstractmethod
    def loss_of(self, stack: ConvStack) -> float:
        """Measure the loss of a network of the same layers, on the images of the current one.

        Nothing is bound or adopted.
        """

    @abstractmethod
    def _bind(self, block: Block) -> None:
        """Compute what all candidates for a block need."""

    @abstractmethod
    def _query_losses_of(
        self, block: Block, candidates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Evaluate candidates for the bound block, query by query: (n, n_queries)."""

    @abstractmethod
    def _adopt(self, loss: float) -> None:
        """Drop what holds only for the network before."""
