"""Selectors that learn nothing: one member for all images, and a coin. They are what to beat."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from slicing.adaptive.selector import Decision, Selector
from slicing.adaptive.table import Table
from slicing.checks import between, whole
from slicing.engine.engine import Engine


@dataclass(frozen=True)
class Fixed(Selector):
    """Asks one member about every image.

    Attributes
    ----------
    member : int
        Its number, in ascending order of cost.
    """

    name: ClassVar[str] = "fixed"
    member: int

    @classmethod
    def fit(
        cls, table: Table, images: NDArray[np.float32], members: Sequence[Engine], **options: Any
    ) -> Self:
        """Take the member that the option ``member`` names; by default, the largest."""
        member = options.get("member", table.n_members - 1)
        between("member", member, 0, table.n_members - 1)
        return cls(member)

    def first(self, looked: NDArray[np.float32]) -> Decision:
        """Ask the member, whatever the threshold."""
        return Decision(np.full(len(looked), self.member), np.full(len(looked), np.inf))

    def settings(self) -> dict[str, Any]:
        """See :meth:`.Selector.settings`."""
        return {"member": self.member}

    @classmethod
    def restored(
        cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], n_members: int
    ) -> Self:
        """See :meth:`.Selector.restored`."""
        whole("member", settings["member"])
        between("member", settings["member"], 0, n_members - 1)
        return cls(settings["member"])


@dataclass(frozen=True)
class Random(Selector):
    """Asks the smallest member or the largest, by chance: the null of all comparisons.

    The chance is drawn from the image's pixels, so that an image always goes the same way.

    Attributes
    ----------
    largest : int
        Number of the largest member.
    """

    name: ClassVar[str] = "random"
    largest: int

    @classmethod
    def fit(
        cls, table: Table, images: NDArray[np.float32], members: Sequence[Engine], **options: Any
    ) -> Self:
        """Learn nothing."""
        return cls(table.n_members - 1)

    def look(self, images: NDArray[np.float32], members: Sequence[Engine]) -> NDArray[np.float32]:
        """Draw a number from 0 to 1 for each image."""
        drawn = [zlib.crc32(np.ascontiguousarray(image).data) / 2**32 for image in images]
        return np.array(drawn, np.float32).reshape(-1, 1)

    def first(self, looked: NDArray[np.float32]) -> Decision:
        """Ask the largest where the number is above the threshold."""
        return Decision(np.full(len(looked), self.largest), looked[:, 0].astype(np.float64))

    @classmethod
    def restored(
        cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], n_members: int
    ) -> Self:
        """See :meth:`.Selector.restored`."""
        return cls(n_members - 1)
