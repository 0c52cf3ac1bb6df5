"""Which of the images, stacked in one array, are references and which are queries."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Roles:
    """References and queries of a k-NN, as parts of one array of images.

    The references come first, then the queries. With leave-one-out, every image is both: a query
    against all others.

    Attributes
    ----------
    n_references, n_queries : int
    leave_one_out : bool
    """

    n_references: int
    n_queries: int
    leave_one_out: bool

    @property
    def n_images(self) -> int:
        """Length of the array."""
        return self.n_references + (0 if self.leave_one_out else self.n_queries)

    @property
    def first_query(self) -> int:
        """Index of the first query."""
        return self.n_images - self.n_queries

    @property
    def references(self) -> slice:
        """Where the references are."""
        return slice(0, self.n_references)

    @property
    def queries(self) -> slice:
        """Where the queries are."""
        return slice(self.first_query, self.n_images)

    @property
    def excluded(self) -> NDArray[np.int64] | None:
        """Index of each query among the references, which it must not find; shape (n_queries,)."""
        return np.arange(self.n_queries) if self.leave_one_out else None

    @property
    def available(self) -> int:
        """References that a query may find."""
        return self.n_references - self.leave_one_out
