"""Prototypes moved by an optimizer: references that classify better than any images.

The loss is that of robust soft learning vector quantization (Seo and Obermayer, "Soft learning
vector quantization", Neural Computation 15(7), 2003, equation 3): the mean over the queries of
-log(Σ_{p of its class} exp(-d_p / T) / Σ_p exp(-d_p / T)). While one prototype moves, one term of
each sum changes: a candidate takes one distance a query.
"""

from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from evolve.search import MakeOptimizer
from slicing.checks import at_least, one_of, positive
from slicing.errors import InputError
from slicing.neighbors.exact import Metric

# Queries whose losses one thread sums up, so that the sum does not depend on the threads.
_CHUNK = 1024
# Terms so much smaller than the largest, e^-40, are below float64's rounding of the sum.
_NEGLIGIBLE = 40.0

# Reassociation lets the compiler sum on SIMD lanes; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}


@njit(cache=True, fastmath=_SUMS)
def _square(one, two):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for i in range(len(one)):
        difference = one[i] - two[i]
        total += difference * difference
    return np.float64(total)


@njit(cache=True)
def _add_logs(one, two):  # type: ignore[no-untyped-def]
    """log(e^one + e^two)."""
    greater = max(one, two)
    return greater + np.log1p(np.exp(min(one, two) - greater))


@njit(parallel=True, cache=True)
def _log_sums(queries, truth, prototypes, labels, moving, temperature):  # type: ignore[no-untyped-def]
    """Log sums over all prototypes but one (-1: over all): of the query's class, and of all."""
    n = len(queries)
    logs = np.empty((n, 2))
    for i in prange(n):
        exponents = np.empty(len(prototypes))
        most_same = most = -np.inf
        for p in range(len(prototypes)):
            exponents[p] = -_square(queries[i], prototypes[p]) / temperature
            if p != moving:
                most = max(most, exponents[p])
                if labels[p] == truth[i]:
                    most_same = max(most_same, exponents[p])
        same = total = 0.0
        for p in range(len(prototypes)):
            if p == moving:
                continue
            if exponents[p] > most - _NEGLIGIBLE:
                total += np.exp(exponents[p] - most)
            if labels[p] == truth[i] and exponents[p] > most_same - _NEGLIGIBLE:
                same += np.exp(exponents[p] - most_same)
        logs[i, 0] = most_same + np.log(same) if same > 0.0 else -np.inf
        logs[i, 1] = most + np.log(total) if total > 0.0 else -np.inf
    return logs


@njit(parallel=True, cache=True)
def _nearest(queries, prototypes):  # type: ignore[no-untyped-def]
    """Squared distance of each query to its nearest prototype."""
    nearest = np.empty(len(queries))
    for i in prange(len(queries)):
        least = np.inf
        for p in range(len(prototypes)):
            least = min(least, _square(queries[i], prototypes[p]))
        nearest[i] = least
    return nearest


@njit(parallel=True, cache=True)
def _losses(queries, truth, logs, label, candidates, temperature):  # type: ignore[no-untyped-def]
    """Sum of the queries' losses with each candidate instead of the prototype."""
    n = len(queries)
    n_chunks = (n + _CHUNK - 1) // _CHUNK
    sums = np.zeros((n_chunks, len(candidates)))
    for chunk in prange(n_chunks):
        for i in range(chunk * _CHUNK, min((chunk + 1) * _CHUNK, n)):
            for c in range(len(candidates)):
                exponent = -_square(queries[i], candidates[c]) / temperature
                same = logs[i, 0]
                if truth[i] == label:
                    same = _add_logs(same, exponent)
                sums[chunk, c] += _add_logs(logs[i, 1], exponent) - same
    losses = np.zeros(len(candidates))
    for chunk in range(n_chunks):
        losses += sums[chunk]
    return losses


class PrototypeTuning:
    """References that are moved one by one so that they classify the queries better.

    Iterating it moves one after the other, in random order, and yields the loss after each.

    Parameters
    ----------
    references : ndarray of shape (n_references, n_features), float32
        At least one of each class, and two in all.
    labels : ndarray of shape (n_references,), int64
    queries : ndarray of shape (n_queries, n_features), float32
        Features of the training images.
    truth : ndarray of shape (n_queries,), int64
    make_optimizer : callable
        Such as :class:`evolve.optimizers.CMAES`.
    metric : {"euclidean", "cosine"}
    generations : int
        Of each search.
    passes : int
        How often each prototype is moved.
    temperature : float
        In units of the queries' mean squared distance to the nearest prototype.
    step : float
        Initial step size, in units of the queries' root mean square distance to the nearest
        prototype, a coordinate.
    seed : int

    Attributes
    ----------
    references : ndarray of shape (n_references, n_features), float32
        As they stand; of length 1 for the cosine.
    loss : float
    evaluations : int

    Raises
    ------
    InputError
        Too few prototypes, or options out of range.
    """

    def __init__(
        self,
        references: NDArray[np.float32],
        labels: NDArray[np.int64],
        queries: NDArray[np.float32],
        truth: NDArray[np.int64],
        make_optimizer: MakeOptimizer,
        *,
        metric: Metric = "euclidean",
        generations: int = 20,
        passes: int = 1,
        temperature: float = 1.0,
        step: float = 0.3,
        seed: int = 0,
    ) -> None:
        missing = np.setdiff1d(truth, labels)
        if len(references) < 2 or len(missing):
            raise InputError(
                "references are too few: each class needs one, and there must be two.",
                "references",
            )
        at_least("generations", generations, 1)
        at_least("passes", passes, 1)
        positive("temperature", temperature)
        positive("step", step)
        one_of("metric", metric, get_args(Metric))
        self._cosine = metric == "cosine"
        self.references = self._as_compared(references)
        self._queries = self._as_compared(queries)
        self._labels, self._truth = labels, truth
        self._make_optimizer = make_optimizer
        self._generations, self._passes = generations, passes
        self._rng = np.random.default_rng(seed)
        # If every query is a prototype itself, any unit will do.
        unit = float(_nearest(self._queries, self.references).mean()) or 1.0
        self._temperature = temperature * unit
        self._step = step * float(np.sqrt(unit / references.shape[1]))
        self.evaluations = 0
        logs = _log_sums(self._queries, truth, self.references, labels, -1, self._temperature)
        self.loss = float((logs[:, 1] - logs[:, 0]).mean())

    def __len__(self) -> int:
        """Count the searches."""
        return self._passes * len(self.references)

    def __iter__(self) -> Iterator[float]:
        for _ in range(self._passes):
            for moving in self._rng.permutation(len(self.references)):
                self._move(moving)
                yield self.loss

    def _move(self, moving: int) -> None:
        """Search for a better place for one prototype; leave it where it is if there is none."""
        logs = _log_sums(
            self._queries, self._truth, self.references, self._labels, moving, self._temperature
        )
        start = self.references[moving].astype(np.float64)
        (stream,) = self._rng.spawn(1)
        optimizer = self._make_optimizer(start, self._step, stream)
        for _ in range(self._generations):
            if optimizer.stop():
                break
            candidates = optimizer.ask()
            optimizer.tell(candidates, self._losses(candidates, moving, logs))
        place = self._as_compared(optimizer.mean[None].astype(np.float32))
        (loss,) = self._losses(place, moving, logs)
        if loss < self.loss:
            self.references[moving], self.loss = place[0], float(loss)

    def _losses(
        self, candidates: NDArray[Any], moving: int, logs: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        self.evaluations += len(candidates)
        places = self._as_compared(candidates.astype(np.float32))
        label = self._labels[moving]
        sums: NDArray[np.float64] = _losses(
            self._queries, self._truth, logs, label, places, self._temperature
        )
        return sums / len(self._queries)

    def _as_compared(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Copy features; ‖u - v‖² = 2 (1 - cos) for vectors of length 1."""
        if not self._cosine:
            return np.array(features, np.float32)
        lengths = np.linalg.norm(features, axis=1, keepdims=True)
        unit: NDArray[np.float32] = np.divide(
            features, lengths, out=np.zeros_like(features), where=lengths > 0
        )
        return unit
