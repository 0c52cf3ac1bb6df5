"""Exact k-nearest neighbors.

Distances are the squared Euclidean distance and the cosine distance 1 - cos, both in float64 from
float32 features. Fast float32 arithmetic on a projection of the features proposes neighbors. Each
reference that its error bound does not exclude is measured in float64, so the answer is that of
float64 arithmetic.

Ties: the nearest first, of equally near references the one of the lower index. scikit-learn's brute
force agrees, but for one thing: which of several *equally distant* references it keeps as the k-th
depends on the state of its heap and on its number of threads.

The module is long because kernels that call each other stay in one file, together with the code
that prepares their arrays: numba's cache does not notice an edit in another file.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray

from slicing.checks import between, one_of
from slicing.errors import InputError
from slicing.neighbors import heap
from slicing.neighbors.short_form import ShortForm, lengths, rounding
from slicing.threads import single_threaded_blas

Metric = Literal["euclidean", "cosine"]

# Principal axes on which pairs are compared before they are measured.
_AXES = 48
# Proposals that one thread makes at a time: for at most so many queries, and so many in all.
_ROWS, _PROPOSALS = 128, 1 << 22
# Above what the terms of a product of scaled features can lose below float32's smallest number.
_UNDERFLOW = 1e-30
_LEAST_NORMAL = 2.0**-126
# Queries so few that preparing them takes longer than measuring every reference.
_FEW = 4
# Bounds are compared with this relative slack, far above the rounding of float64 sums.
_SLACK = 1e-9

# Reassociation lets the compiler sum on SIMD lanes; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}


class Points(NamedTuple):
    """Features, prepared for comparison.

    Attributes
    ----------
    features : ndarray of shape (n, n_features), float32
    inverse_lengths : ndarray of shape (n,), float64
        One over the length of each row, 0 where that is 0.
    points : ndarray of shape (n, d), float32
        Their projection.
    slack : ndarray of shape (n,), float64
        See :class:`slicing.neighbors.short_form.ShortForm`.
    squares : ndarray of shape (n,), float64
        Squared lengths of the points.
    """

    features: NDArray[np.float32]
    inverse_lengths: NDArray[np.float64]
    points: NDArray[np.float32]
    slack: NDArray[np.float64]
    squares: NDArray[np.float64]


class Proposals(NamedTuple):
    """What tells which references may be near a query, in float32.

    A proposal is the squared distance of two points minus the query's squared length.

    Attributes
    ----------
    rows : ndarray of shape (n_queries, d + 1), float32
        The points of the queries, times -2, and a column of ones.
    columns : ndarray of shape (d + 1, n_references), float32
        The points of the references, and a row of their squared lengths: the products of rows and
        columns are the proposals.
    factor : float
        From the unit of the distances to that of the squared distances of the points.
    slacks, errors, squares : ndarray of shape (n_queries,), float64
        Bounds of the errors of the projection and of the float32 product, and the squared lengths
        of the points of the queries: what :func:`limit` and :func:`least` take.
    """

    rows: NDArray[np.float32]
    columns: NDArray[np.float32]
    factor: float
    slacks: NDArray[np.float64]
    errors: NDArray[np.float64]
    squares: NDArray[np.float64]


@njit(cache=True, fastmath=_SUMS)
def measure(query, reference, inverse_lengths, cosine):  # type: ignore[no-untyped-def]
    """Distance of two rows in float64; ``inverse_lengths``: one over both lengths, or 0."""
    total = 0.0
    if cosine:
        for i in range(len(query)):
            total += np.float64(query[i]) * np.float64(reference[i])
        return min(max(1.0 - total * inverse_lengths, 0.0), 2.0)
    for i in range(len(query)):
        difference = np.float64(query[i]) - np.float64(reference[i])
        total += difference * difference
    return total


@njit(cache=True, fastmath=_SUMS)
def _is_farther(  # type: ignore[no-untyped-def]
    query, reference, inverse_lengths, cosine, error, distance
):  # fmt: skip
    """Return whether float32 suffices to show that two rows are farther apart than ``distance``."""
    total = np.float32(0.0)
    # What all products below float32's least normal number can lose together.
    lost = len(query) * _LEAST_NORMAL
    # Where float32 overflows, float64 decides.
    if cosine:
        for i in range(len(query)):
            total += query[i] * reference[i]
        proposal = 1.0 - (np.float64(total) + lost) * inverse_lengths
        return proposal > distance + 1.01 * error and np.abs(total) < np.float32(np.inf)
    for i in range(len(query)):
        difference = query[i] - reference[i]
        total += difference * difference
    proposal = np.float64(total) - lost
    return proposal > distance * (1.0 + 1.01 * error) and total < np.float32(np.inf)


@njit(cache=True)
def limit(distance, factor, slack, product_error, square):  # type: ignore[no-untyped-def]
    """Compute the largest proposal of a reference whose distance may be ``distance`` or less.

    See :class:`Proposals` for the others.
    """
    length = np.sqrt(distance * factor) * (1.0 + _SLACK) + slack
    return length * length * (1.0 + _SLACK) + product_error - square


@njit(cache=True)
def least(proposal, factor, slack, product_error, square):  # type: ignore[no-untyped-def]
    """Compute the smallest possible distance of a proposal: the inverse of :func:`limit`."""
    squared = np.float64(proposal) + square - product_error
    length = np.sqrt(max(squared, 0.0)) * (1.0 - _SLACK) - slack
    return max(length, 0.0) ** 2 / factor * (1.0 - _SLACK)


@njit(parallel=True, cache=True)
def _search(  # type: ignore[no-untyped-def]
    proposals, queries, references, excluded, cosine, measure_error, work, distances, indices
):  # fmt: skip
    """Find the k nearest references of every query.

    Parameters
    ----------
    proposals : Proposals
    queries, references : Points
    excluded : (n_queries,), int64
        The reference that a query must not find; negative for no reference.
    cosine : bool
    measure_error : float
        Relative error of a distance measured in float32.
    work : (n_threads, n_rows, n_references), float32
        Work space, for proposals.
    distances, indices : (n_queries, k)
        Filled, in ascending order.
    """
    # Taken apart here: within the loops that costs time.
    query_rows, columns, factor, slacks, errors, squares = proposals
    query_features, query_inverses = queries.features, queries.inverse_lengths
    known, reference_inverses = references.features, references.inverse_lengths
    n_queries, k = distances.shape
    n_references = len(known)
    n_parts, n_rows, _ = work.shape
    n_blocks = (n_queries + n_rows - 1) // n_rows
    for part in prange(n_parts):
        near, place = np.empty(k, np.float32), np.empty(k, np.int64)
        for block in range(part, n_blocks, n_parts):
            first = block * n_rows
            count = min(n_rows, n_queries - first)
            rows = work[part, :count]
            np.dot(query_rows[first : first + count], columns, rows)
            for i in range(count):
                query, row = first + i, rows[i]
                features, best, nearest = query_features[query], distances[query], indices[query]
                inverse_length = query_inverses[query]
                slack, error, square = slacks[query], errors[query], squares[query]
                if excluded[query] >= 0:
                    row[excluded[query]] = np.inf
                heap.clear(near, place)
                for j in range(n_references):
                    heap.push(near, place, row[j], j)
                heap.clear(best, nearest)
                for s in range(k):
                    j = place[s]
                    row[j] = np.inf
                    inverses = inverse_length * reference_inverses[j]
                    heap.push(best, nearest, measure(features, known[j], inverses, cosine), j)
                # Then measure every other that may be nearer than the farthest of these.
                beyond = limit(best[0], factor, slack, error, square)
                for j in range(n_references):
                    if row[j] > beyond or row[j] == np.inf:
                        continue
                    inverses = inverse_length * reference_inverses[j]
                    if not _is_farther(
                        features, known[j], inverses, cosine, measure_error, best[0]
                    ):
                        distance = measure(features, known[j], inverses, cosine)
                        heap.push(best, nearest, distance, j)
                        beyond = limit(best[0], factor, slack, error, square)
                heap.sort(best, nearest)


@njit(cache=True)
def _measure_all(  # type: ignore[no-untyped-def]
    queries, references, query_inverses, reference_inverses, excluded, cosine, distances, indices
):  # fmt: skip
    """Find the k nearest references of few queries: see :func:`_search`."""
    for i in range(len(queries)):
        best, nearest = distances[i], indices[i]
        heap.clear(best, nearest)
        for j in range(len(references)):
            if j != excluded[i]:
                inverses = query_inverses[i] * reference_inverses[j]
                heap.push(best, nearest, measure(queries[i], references[j], inverses, cosine), j)
        heap.sort(best, nearest)


def inverse(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """One over each length, 0 where it is 0: a zero vector is orthogonal to all."""
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0.0)


class NeighborSearch:
    """Finds the nearest of some references, exactly.

    Parameters
    ----------
    references : ndarray of shape (n_references, n_features), float32
    metric : {"euclidean", "cosine"}
        Squared Euclidean distance, or 1 - cosine (1 where a vector is zero).
    n_queries : int
        About how many queries will come: a projection of the references pays only for many.
    short_form : ShortForm, optional
        One that was made for similar references; a new one by default.

    Attributes
    ----------
    references : Points
    short_form : ShortForm

    Raises
    ------
    InputError
        An unknown metric, a wrong shape, values that are not finite.
    """

    def __init__(
        self,
        references: NDArray[np.float32],
        metric: Metric,
        n_queries: int,
        short_form: ShortForm | None = None,
    ) -> None:
        one_of("metric", metric, get_args(Metric))
        self.cosine = metric == "cosine"
        references = _checked("references", references)
        n, n_features = references.shape
        if n == 0:
            raise InputError("There are no references to choose from: give at least one.")
        row_lengths = _finite_lengths("references", references)
        # Neighbors do not change where all features are multiplied by a number. A power of two
        # does so without rounding, and keeps float32 far from overflow.
        longest = row_lengths.max(initial=0.0) or 1.0
        self._scale = 2.0 ** -np.ceil(np.log2(longest))
        worthwhile = 4 * _AXES * (n_queries + n) < n_queries * n and n_features >= 4 * _AXES
        self.short_form = short_form or ShortForm(
            references, self._scales(row_lengths), _AXES if worthwhile else 0
        )
        self.references = self._points(references, row_lengths)
        # ‖u - v‖² = 2 (1 - cos) for vectors of length 1.
        self.factor = 2.0 if self.cosine else float(self._scale**2)
        points, squares = self.references.points, self.references.squares
        # Axis by axis in memory: vstack would keep the order of the points.
        self._columns = np.empty((points.shape[1] + 1, n), np.float32)
        self._columns[:-1], self._columns[-1] = points.T, squares

    def search(
        self,
        queries: NDArray[np.float32] | Points,
        k: int,
        excluded: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Find the k nearest references of every query.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_features), float32, or Points
        k : int
        excluded : ndarray of shape (n_queries,), int64, optional
            The reference that each query does not find: itself, under leave-one-out.

        Returns
        -------
        distances : ndarray of shape (n_queries, k), float64
            Ascending.
        indices : ndarray of shape (n_queries, k), int64

        Raises
        ------
        InputError
            Shapes that do not fit, k out of range, values that are not finite.
        """
        references = self.references
        n_references = len(references.features)
        available = n_references - (excluded is not None)
        between("k", k, 1, available, "references")
        n_queries = len(queries.features if isinstance(queries, Points) else queries)
        if excluded is None:
            excluded = np.full(n_queries, -1)
        distances, indices = np.empty((n_queries, k)), np.empty((n_queries, k), np.int64)
        if n_queries <= _FEW and not isinstance(queries, Points):
            queries, row_lengths = self._valid(queries)
            _measure_all(
                queries,
                references.features,
                inverse(row_lengths),
                references.inverse_lengths,
                excluded,
                self.cosine,
                distances,
                indices,
            )
            return distances, indices
        if not isinstance(queries, Points):
            queries = self.points(queries)
        n_rows = min(max(_PROPOSALS // n_references, 8), _ROWS)
        with single_threaded_blas():
            _search(
                self.proposals(queries),
                queries,
                references,
                excluded,
                self.cosine,
                rounding(queries.features.shape[1] + 3),
                np.empty((get_num_threads(), n_rows, n_references), np.float32),
                distances,
                indices,
            )
        return distances, indices

    def points(self, queries: NDArray[np.float32]) -> Points:
        """Prepare queries of shape (n, n_features), float32, for comparison."""
        return self._points(*self._valid(queries))

    def _valid(
        self, queries: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Check queries; give them and their lengths."""
        queries = _checked("queries", queries)
        shape = self.references.features.shape
        if queries.shape[1] != shape[1]:
            raise InputError(
                f"Queries of shape {queries.shape} do not fit references of shape {shape}: both "
                "need the same number of features."
            )
        return queries, _finite_lengths("queries", queries)

    def proposals(self, queries: Points) -> Proposals:
        """Prepare what tells which references may be near each query."""
        points, squares = queries.points, queries.squares
        ones = np.ones((len(points), 1), np.float32)
        largest = self.references.squares.max(initial=0.0)
        products = largest + 2.0 * np.sqrt(largest * squares)
        return Proposals(
            np.hstack([np.float32(-2.0) * points, ones]),
            self._columns,
            self.factor,
            # How much farther apart points may be than their features.
            queries.slack + self.references.slack.max(initial=0.0),
            rounding(points.shape[1] + 3) * products + _UNDERFLOW,
            squares,
        )

    def _scales(self, row_lengths: NDArray[np.float64]) -> NDArray[np.float64]:
        return inverse(row_lengths) if self.cosine else np.full(len(row_lengths), self._scale)

    def _points(self, features: NDArray[np.float32], row_lengths: NDArray[np.float64]) -> Points:
        points, slack = self.short_form(features, row_lengths, self._scales(row_lengths))
        return Points(features, inverse(row_lengths), points, slack, lengths(points) ** 2)


def _checked(name: str, features: NDArray[np.float32]) -> NDArray[np.float32]:
    if features.ndim != 2:
        raise InputError(f"The {name} have shape {features.shape}, and need (n, n_features).")
    return np.ascontiguousarray(features, np.float32)


def _finite_lengths(name: str, features: NDArray[np.float32]) -> NDArray[np.float64]:
    row_lengths: NDArray[np.float64] = lengths(features)
    if not np.isfinite(row_lengths).all():
        raise InputError(f"The {name} hold features that are not finite: correct or remove them.")
    return row_lengths


def kneighbors(
    queries: NDArray[np.float32],
    references: NDArray[np.float32],
    k: int,
    metric: Metric = "euclidean",
    leave_one_out: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the k nearest references of every query.

    Parameters
    ----------
    queries : ndarray of shape (n_queries, n_features), float32
    references : ndarray of shape (n_references, n_features), float32
    k : int
        Number of neighbors.
    metric : {"euclidean", "cosine"}
        Squared Euclidean distance, or 1 - cosine (1 where a vector is zero).
    leave_one_out : bool
        Query i does not find reference i; ``queries`` are ``references``.

    Returns
    -------
    distances : ndarray of shape (n_queries, k), float64
        Ascending.
    indices : ndarray of shape (n_queries, k), int64

    Raises
    ------
    InputError
        Shapes that do not fit, k out of range, values that are not finite.
    """
    search = NeighborSearch(references, metric, len(queries))
    if not leave_one_out:
        return search.search(queries, k)
    if len(queries) != len(references):
        raise InputError(
            f"Leave-one-out needs one query a reference, not {len(queries)} for {len(references)}."
        )
    return search.search(search.references, k, np.arange(len(references)))
