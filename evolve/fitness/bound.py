"""A bound block: what is computed once for all its candidates."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Bound(Protocol):
    """A bound block."""

    def query_losses(self, candidates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate candidates (n, dim), query by query: (n, n_queries), float64."""
