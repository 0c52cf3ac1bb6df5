"""The premodel with features that see: the maps of the smallest member's first convolution."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from slicing.adaptive.neighborhood import Neighborhood
from slicing.adaptive.selector import Decision, Selector
from slicing.adaptive.table import Table
from slicing.engine.engine import Engine
from slicing.errors import InputError
from slicing.stack import ConvStack

# Height and width to which maps are averaged.
_SIDE = 4


@dataclass(frozen=True, eq=False)
class PremodelActivations(Selector):
    """Asks the member that promises the most gain for its time, by what it got right nearby.

    An image lies where the maps of the smallest member's first convolution place it, averaged to
    4 x 4 a channel.

    Attributes
    ----------
    known : Neighborhood
        The images of the *select* role.
    milliseconds : ndarray of shape (n_members,), float64
        What each member takes.
    """

    name: ClassVar[str] = "premodel_activations"
    known: Neighborhood
    milliseconds: NDArray[np.float64]

    @classmethod
    def fit(
        cls, table: Table, images: NDArray[np.float32], members: Sequence[Engine], **options: Any
    ) -> Self:
        """Place the images, and keep which members were right about each."""
        known, _ = Neighborhood.of(activations(images, members[0]), table.right)
        return cls(known, table.costs.alone)

    def look(self, images: NDArray[np.float32], members: Sequence[Engine]) -> NDArray[np.float32]:
        """Compute the maps, averaged: (n, n_signals), float32."""
        return activations(images, members[0])

    def first(self, looked: NDArray[np.float32]) -> Decision:
        """Ask the member with the most gain over the smallest for a millisecond more."""
        local = self.known.local_accuracy(looked)
        rates = (local[:, 1:] - local[:, :1]) / self._more
        best = rates.argmax(axis=1)
        return Decision(best + 1, rates[np.arange(len(looked)), best])

    @cached_property
    def _more(self) -> NDArray[np.float64]:
        more: NDArray[np.float64] = np.maximum(self.milliseconds[1:] - self.milliseconds[0], 1e-6)
        return more

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See :meth:`.Selector.arrays`."""
        return {
            "points": self.known.points, "right": self.known.right,
            "milliseconds": self.milliseconds,
        }  # fmt: skip

    @classmethod
    def restored(
        cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], n_members: int
    ) -> Self:
        """See :meth:`.Selector.restored`."""
        known = Neighborhood.restored(arrays["points"], arrays["right"], n_members)
        times = arrays["milliseconds"]
        if times.shape != (n_members,):
            raise InputError(f"its times have shape {times.shape}")
        return cls(known, times.astype(np.float64))


def activations(images: NDArray[np.float32], engine: Engine) -> NDArray[np.float32]:
    """Give the maps of an engine's first convolution, averaged to 4 x 4 a channel.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), float32
    engine : Engine
        Of one with a backbone, or without a convolution, the image itself is averaged.

    Returns
    -------
    ndarray of shape (n, n_signals), float32
    """
    maps = images
    if engine.backbone is None and engine.stack.conv_layers:
        first = engine.stack.layers[: engine.stack.conv_layers[0] + 1]
        stack = ConvStack(first, engine.input_shape)
        maps = stack.forward(images).reshape(len(images), *stack.feature_shape)
    rows, columns = (np.array_split(np.arange(n), min(_SIDE, n)) for n in maps.shape[1:3])
    cells = [
        maps[:, r[0] : r[-1] + 1, c[0] : c[-1] + 1].mean(axis=(1, 2)) for r in rows for c in columns
    ]
    return np.concatenate(cells, axis=1)
