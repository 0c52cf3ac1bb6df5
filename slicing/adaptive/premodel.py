"""The premodel of the paper: cheap features choose one member, before any is asked.

B. Taylor et al., "Adaptive deep learning model selection on embedded systems", LCTES 2018; V. Sanz
Marco et al., "Optimizing deep learning inference on embedded systems through adaptive model
selection", ACM TECS 19(1), 2020. It stands here as the control: members' own margins say far more
of an image than these features do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from slicing.adaptive.cheap_features import NAMES, cheap_features
from slicing.adaptive.levels import Arrays, Kind, decided, learned, require_level
from slicing.adaptive.selector import Decision, Selector
from slicing.adaptive.table import Table
from slicing.engine.engine import Engine
from slicing.errors import InputError

# Of two features that are more correlated than this, one is left out.
_CORRELATED = 0.75


@dataclass(frozen=True, eq=False)
class Premodel(Selector):
    """Asks the first member of which its level says yes; where none does, it gives up.

    A level is a binary classifier for each member, "is it right about this image?", in ascending
    order of their costs, each learned from all images of the *select* role. An image that is given
    up goes to the largest member, and in the premodel's own score it never counts as right.

    Attributes
    ----------
    chosen : ndarray of shape (n_features,), int64
        Which of the candidates in :data:`.cheap_features.NAMES` it sees.
    low, high : ndarray of shape (n_features,), float64
        What becomes 0 and 1; what lies beyond is clipped.
    kind : {"knn", "tree", "svm"}
    levels : tuple of dict
        Of each member, see :func:`.levels.learned`.
    """

    name: ClassVar[str] = "premodel"
    chosen: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    kind: Kind
    levels: tuple[Arrays, ...]

    @classmethod
    def fit(
        cls, table: Table, images: NDArray[np.float32], members: Sequence[Engine], **options: Any
    ) -> Self:
        """Choose features, and learn the levels.

        The option ``level`` names their kind, ``knn`` by default; ``features`` are those of the
        images, where they are at hand.
        """
        candidates = options.get("features")
        if candidates is None:
            candidates = cheap_features(images)
        kind = options.get("level", "knn")
        chosen = uncorrelated(candidates, table.right[0])
        low, high = (end(candidates[:, chosen], axis=0) for end in (np.min, np.max))
        own = cls(chosen, low.astype(np.float64), high.astype(np.float64), kind, ())
        seen = own._scaled(candidates)
        levels = tuple(learned(kind, seen, each) for each in table.right)
        return cls(chosen, own.low, own.high, kind, levels)

    def _scaled(self, candidates: NDArray[np.float32]) -> NDArray[np.float32]:
        span = np.maximum(self.high - self.low, np.finfo(np.float32).tiny)
        scaled = (candidates[:, self.chosen] - self.low) / span
        return scaled.clip(0.0, 1.0).astype(np.float32)

    def look(self, images: NDArray[np.float32], members: Sequence[Engine]) -> NDArray[np.float32]:
        """Compute the cheap features, all candidates: (n, n_candidates), float32."""
        return cheap_features(images)

    def chosen_members(self, looked: NDArray[np.float32]) -> NDArray[np.int64]:
        """Give the member that is chosen for each image; their number where it gives up."""
        seen = self._scaled(looked)
        found = np.full(len(looked), len(self.levels))
        for member, level in reversed([*enumerate(self.levels)]):
            found[decided(self.kind, level, seen)] = member
        return found

    def first(self, looked: NDArray[np.float32]) -> Decision:
        """Ask the member of the first level that says yes, whatever the threshold."""
        found = np.minimum(self.chosen_members(looked), len(self.levels) - 1)
        return Decision(found, np.full(len(looked), np.inf))

    def settings(self) -> dict[str, Any]:
        """See :meth:`.Selector.settings`."""
        return {"level": self.kind, "levels": [[*level] for level in self.levels]}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See :meth:`.Selector.arrays`."""
        found: dict[str, NDArray[Any]] = {
            "chosen": self.chosen, "low": self.low, "high": self.high
        }  # fmt: skip
        for number, level in enumerate(self.levels):
            found |= {f"level{number}.{name}": array for name, array in level.items()}
        return found

    @classmethod
    def restored(
        cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], n_members: int
    ) -> Self:
        """See :meth:`.Selector.restored`."""
        chosen, low, high = (arrays[name] for name in ("chosen", "low", "high"))
        n = len(chosen)
        if (
            low.shape != (n,)
            or high.shape != (n,)
            or chosen.min() < 0
            or chosen.max() >= len(NAMES)
        ):
            raise InputError(f"its features are {chosen}")
        kind, names = settings["level"], settings["levels"]
        if len(names) != n_members:
            raise InputError(f"it has {len(names)} levels")
        levels = tuple(
            {name: arrays[f"level{number}.{name}"] for name in own}
            for number, own in enumerate(names)
        )
        for level in levels:
            require_level(kind, level, n)
        return cls(chosen, low, high, kind, levels)


def uncorrelated(features: NDArray[np.float32], is_right: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Choose features: of each pair that is correlated, the one that tells more is kept.

    Parameters
    ----------
    features : ndarray of shape (n, n_features), float32
    is_right : ndarray of shape (n,), bool
        Whether the smallest member is right: a feature tells as much as it is correlated with it.

    Returns
    -------
    ndarray of int64
        Their numbers, ascending; features that never vary are left out.
    """
    varies = np.flatnonzero(np.ptp(features, axis=0) > 0.0)
    if not len(varies):
        return np.zeros(1, np.int64)
    values = features[:, varies].astype(np.float64)
    told = np.zeros(len(varies))
    if 0 < is_right.sum() < len(is_right):
        told = np.abs([np.corrcoef(each, is_right)[0, 1] for each in values.T])
    between = np.abs(np.atleast_2d(np.corrcoef(values.T)))
    kept = list[int]()
    for number in np.argsort(-told, kind="stable"):
        if all(between[number, other] <= _CORRELATED for other in kept):
            kept.append(int(number))
    return np.sort(varies[kept])


def cross_validated(
    table: Table, features: NDArray[np.float32], kind: Kind, folds: int, seed: int
) -> tuple[float, float]:
    """Judge a premodel by images that it has not seen, each once.

    Features are chosen, scaled and learned from the other folds alone.

    Parameters
    ----------
    table : Table
        Of the *select* role.
    features : ndarray of shape (n, n_candidates), float32
        What :meth:`Premodel.look` gives.
    kind : {"knn", "tree", "svm"}
    folds : int
        At least two.
    seed : int
        Of the folds.

    Returns
    -------
    right, gave_up : float
        Share of the images for which the member that it chose is right, and for which it chose
        none: these are not right.
    """
    parts = np.array_split(np.random.default_rng(seed).permutation(len(table)), folds)
    right = gave_up = 0
    for held_out in parts:
        rest = np.setdiff1d(np.arange(len(table)), held_out)
        fitted = Premodel.fit(
            table[rest], np.zeros((0, 1, 1, 1), np.float32), (), level=kind,
            features=features[rest],
        )  # fmt: skip
        found = fitted.chosen_members(features[held_out])
        is_chosen = found < table.n_members
        right += int(table.right[found[is_chosen], held_out[is_chosen]].sum())
        gave_up += int((~is_chosen).sum())
    return right / len(table), gave_up / len(table)
