"""What a search has been told: on disk, it stands for the search."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from evolve.checkpoint import State
from evolve.evaluation import Evaluated


@dataclass
class SearchRecord:
    """All that a :class:`~evolve.search.Search` has received.

    An equal search that is told it again is in the same state, to the last bit: everything else
    follows from it.

    Attributes
    ----------
    results : list of Evaluated
        Of each generation; where the search is done, the last is of what the block hands over.
    reasons : tuple of str
        Why the search ended; empty before. A clock may have been the reason.
    done : bool
    candidates : int
        CRC-32 of all candidates that these results are of.
    """

    results: list[Evaluated] = field(default_factory=list)
    reasons: tuple[str, ...] = ()
    done: bool = False
    candidates: int = 0

    def state(self) -> State:
        """Express it in settings and arrays."""
        names = sorted({name for each in self.results for name in each.counts})
        counts = [[each.counts.get(name, 0) for name in names] for each in self.results]
        settings = {
            "reasons": list(self.reasons),
            "done": self.done,
            "candidates": self.candidates,
            "counts": names,
        }
        arrays: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {
            "losses": np.concatenate([np.empty(0), *(each.losses for each in self.results)]),
            "sizes": np.array([len(each.losses) for each in self.results], np.int64),
            "counts": np.array(counts, np.int64).reshape(len(self.results), len(names)),
        }
        return State(settings, dict(arrays))

    @classmethod
    def of(cls, state: State) -> "SearchRecord":
        """Read it from settings and arrays.

        Raises
        ------
        KeyError, TypeError, ValueError
            Where they are not what :meth:`state` gives.
        """
        losses, sizes = state.array("losses", np.float64), state.array("sizes", np.int64)
        names, counts = state.texts("counts"), state.array("counts", np.int64, 2)
        if sizes.min(initial=1) < 1 or sizes.sum() != len(losses):
            raise ValueError("the sizes are not those of the losses")
        parts = np.split(losses, np.cumsum(sizes)[:-1]) if len(sizes) else []
        results = [
            Evaluated(part, dict(zip(names, row, strict=True)))
            for part, row in zip(parts, counts.tolist(), strict=True)
        ]
        return cls(
            results, state.texts("reasons"), state.get("done", bool), state.get("candidates", int)
        )
