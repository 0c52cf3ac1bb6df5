"""The cascade: the smallest member first, and the next one where the margin leaves doubt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from slicing.adaptive.logistic import fitted, probabilities
from slicing.adaptive.outcome import Decisions
from slicing.adaptive.selector import Decision, Selector, log_ratios
from slicing.adaptive.table import Table
from slicing.engine.engine import Engine
from slicing.errors import InputError

# Thresholds that are tried for each chain.
_TRIED = 50


@dataclass(frozen=True, eq=False)
class Cascade(Selector):
    """Asks members of a chain in turn until one is sure.

    Doubt is the probability that the answer is wrong, by its margin alone: a logistic regression,
    which keeps the order of the margins and makes those of several members comparable. So one
    threshold of doubt is a threshold of the margin for each member. Source of the idea: E. Park et
    al., "Big/little deep neural network for ultra low power inference", CODES+ISSS 2015.

    Attributes
    ----------
    chain : tuple of int
        Numbers of the members that are asked, ascending; the last is the largest.
    weights : ndarray of shape (n_members, 2), float64
        Intercept and weight of the log-ratio in each member's probability to be right.
    """

    name: ClassVar[str] = "cascade"
    chain: tuple[int, ...]
    weights: NDArray[np.float64]

    @classmethod
    def fit(
        cls, table: Table, images: NDArray[np.float32], members: Sequence[Engine], **options: Any
    ) -> Self:
        """Learn doubt, and choose the chain that takes least at the accuracy of the largest.

        All chains that end with the largest member are tried; where none is as accurate, it is the
        one that comes nearest.
        """
        observed = [
            log_ratios(*table.ask(member, np.arange(len(table))))[:, None]
            for member in range(table.n_members)
        ]
        weights = np.stack([fitted(*each) for each in zip(observed, table.right, strict=True)])
        last = table.n_members - 1
        chains = [
            (*some, last) for n in range(last, 0, -1) for some in combinations(range(last), n)
        ]
        return min((cls(chain, weights) for chain in chains), key=lambda each: each._merit(table))

    def _merit(self, table: Table) -> tuple[int, float]:
        """Give the errors beyond the largest member's, and the least time with so few."""
        decisions = Decisions.of(self, np.zeros((len(table), 0), np.float32), table)
        doubt = np.concatenate([decisions.after[member].urgency for member in self.chain[:-1]])
        least, found = int((~table.right[-1]).sum()), []
        for threshold in np.quantile(doubt, np.linspace(0, 1, _TRIED)):
            outcome = decisions.outcome(float(threshold))
            wrong = int((outcome.answers != table.labels).sum())
            found.append((max(0, wrong - least), float(outcome.milliseconds.mean())))
        return min(found)

    def first(self, looked: NDArray[np.float32]) -> Decision:
        """Begin with the first of the chain."""
        first = self.chain[0]
        urgency = np.full(len(looked), np.inf if first else -np.inf)
        return Decision(np.full(len(looked), first), urgency)

    def after(
        self, member: int, answers: NDArray[np.int64], scores: NDArray[np.float32]
    ) -> Decision:
        """Go on to the next of the chain, as urgently as there is doubt."""
        following = next((each for each in self.chain if each > member), member)
        observed = log_ratios(answers, scores)[:, None]
        doubt = 1.0 - probabilities(self.weights[member], observed)
        return Decision(np.full(len(answers), following), doubt)

    def settings(self) -> dict[str, Any]:
        """See :meth:`.Selector.settings`."""
        return {"chain": self.chain}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """See :meth:`.Selector.arrays`."""
        return {"weights": self.weights}

    @classmethod
    def restored(
        cls, settings: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], n_members: int
    ) -> Self:
        """See :meth:`.Selector.restored`."""
        chain, weights = tuple(settings["chain"]), arrays["weights"]
        is_chain = chain and all(type(each) is int for each in chain)
        if not is_chain or chain != tuple(sorted({*chain})) or chain[-1] != n_members - 1:
            raise InputError(f"its chain is {chain}")
        if chain[0] < 0 or weights.shape != (n_members, 2):
            raise InputError(f"its weights have shape {weights.shape}")
        return cls(chain, weights.astype(np.float64))
