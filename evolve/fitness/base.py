"""What optimizers minimize: the contract that every fitness keeps."""

import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from slicing.stack import ConvStack


class Fitness(ABC):
    """What the optimizers minimize, and the network as it stands.

    It is the same whatever the number of threads, holds no randomness once it is made, and can be
    pickled: whoever unpickles it binds again.

    Attributes
    ----------
    stack : ConvStack
        The network as it stands: what was given, or what was adopted last.
    block : Block or None
        What is bound.
    full_scans : int
        How often, over all candidates, a query had to be compared with all references because its
        shortlist did not suffice; 0 where there are no shortlists.
    """

    same_images: ClassVar[bool] = True
    """Whether it looks at the same images for all networks, so that their losses compare."""

    stack: ConvStack
    block: Block | None = None
    full_scans: int = 0

    @property
    @abstractmethod
    def loss(self) -> float:
        """Loss of the network as it stands."""

    def bind(self, block: Block) -> None:
        """Take ``block`` as the one that candidates replace, until another network is adopted."""
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
            bits may depend on what else is evaluated with a candidate.
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
        """Go on from another network; bind again before evaluating.

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
        """Raise the constructor's errors about its options, before anything is trained.

        Parameters
        ----------
        *args, **kwargs
            What the constructor takes.

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
    def _check(cls, *args: Any, **kwargs: Any) -> None:
        """Do what :meth:`check` says, given all that the constructor takes, defaults included."""
        return

    @abstractmethod
    def loss_of(self, stack: ConvStack) -> float:
        """Measure the loss of a network of the same layers, on the images of the one as it stands.

        Nothing is bound or adopted.
        """

    @abstractmethod
    def _bind(self, block: Block) -> None:
        """Compute once what all candidates for a block need."""

    @abstractmethod
    def _query_losses_of(
        self, block: Block, candidates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Do what :meth:`query_losses` says, for the bound block."""

    @abstractmethod
    def _adopt(self, loss: float) -> None:
        """Keep, of what was computed for the network before, what also holds for this one."""
