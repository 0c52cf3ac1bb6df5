"""Exact k-NN of features that moved a little from others whose neighbors are known.

One kernel of an earlier layer changes every feature, but none by much. With δ(x) = ‖f'(x) - f(x)‖
the triangle inequality gives ``|√D'(q, r) - √D(q, r)| <= δ(q) + δ(r)`` for Euclidean distances,
and for the cosine's, which are those of vectors of length 1. So a list of the nearest under f, in
ascending order, need only be followed until its next entry cannot come near enough: exact, and a
few dozen measurements instead of thousands. Where a list ends too soon, the query is compared with
all references again.
"""

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from evolve.fitness.shortlist import largest, replace_farthest
from evolve.roles import Roles
from slicing.neighbors.exact import Metric, NeighborSearch, inverse, measure
from slicing.neighbors.short_form import lengths

# References kept in ascending order of their distance, per query, beyond the neighbors themselves.
_SHORTLIST = 96
# Bounds are compared with this slack, far above the rounding of float64 sums.
_SLACK = 1e-9

# Reassociation lets the compiler sum on SIMD lanes; NaN and infinity keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}


@njit(parallel=True, cache=True, fastmath=_SUMS)
def _displacements(before, after, before_scales, after_scales):  # type: ignore[no-untyped-def]
    """Distance of each row from the row before it moved, (n,), float64; both scaled by row."""
    out = np.empty(len(before))
    for i in prange(len(before)):
        total = 0.0
        for f in range(before.shape[1]):
            difference = after_scales[i] * after[i, f] - before_scales[i] * before[i, f]
            total += difference * difference
        out[i] = np.sqrt(total) * (1.0 + _SLACK)
    return out


@njit(parallel=True, cache=True)
def _follow(  # type: ignore[no-untyped-def]
    features, inverses, offset, roots, indices, complete, displacements, largest_displacement,
    factor, cosine, distances, nearest, ended,
):  # fmt: skip
    """Follow the lists of all queries as far as another reference may be near enough.

    Parameters
    ----------
    features : (n_images, n_features), float32
    inverses : (n_images,), float64
        One over the lengths of the features; used by the cosine alone.
    roots, indices : (n_queries, m)
        Square roots of the distances before, ascending, and the references they belong to.
    complete : bool
        Whether these are all references; all others follow after the last of these.
    displacements : (n_images,), float64
    largest_displacement : float
        The largest of the references'.
    factor : float
        The roots are those of distances times this.
    distances, nearest : (n_queries, k)
        Filled, in no order.
    ended : (n_queries,), bool
        Filled: whether the list sufficed.
    """
    n_queries, k = distances.shape
    m = indices.shape[1]
    for query in prange(n_queries):
        image = offset + query
        own, found, places = features[image], distances[query], nearest[query]
        for s in range(k):
            j = indices[query, s]
            places[s] = j
            found[s] = measure(own, features[j], inverses[image] * inverses[j], cosine)
        kth = largest(found)
        reach = np.sqrt(kth * factor) * (1.0 + _SLACK) + displacements[image]
        ended[query] = complete
        for s in range(k, m):
            root, j = roots[query, s], indices[query, s]
            if root > reach + largest_displacement:
                ended[query] = True
                break
            if root > reach + displacements[j]:
                continue
            distance = measure(own, features[j], inverses[image] * inverses[j], cosine)
            if distance <= kth:
                kth = replace_farthest(distance, j, found, places, kth)
                reach = np.sqrt(kth * factor) * (1.0 + _SLACK) + displacements[image]


class MovedKNN:
    """The k-NN of features that differ a little from known ones.

    Parameters
    ----------
    features : ndarray of shape (n_images, n_features), float32
        Those of the references, then of the queries.
    roles : Roles
    n_neighbors : int
    metric : {"euclidean", "cosine"}
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        roles: Roles,
        n_neighbors: int,
        metric: Metric,
    ) -> None:
        self._features = features.copy()
        self._roles = roles
        self._n_neighbors = n_neighbors
        self._metric: Metric = metric
        search = NeighborSearch(self._features[roles.references], metric, roles.n_queries)
        self._short_form = search.short_form
        queries = search.references
        if not roles.leave_one_out:
            queries = search.points(self._features[roles.queries])
        m = min(_SHORTLIST + n_neighbors, roles.available)
        self._complete = m == roles.available
        distances, indices = search.search(queries, m, roles.excluded)
        self._indices = indices.astype(np.int32)
        # ‖u - v‖² = 2 (1 - cos) for vectors of length 1.
        self._factor = 2.0 if search.cosine else 1.0
        self._roots = np.sqrt(self._factor * distances)
        self._cosine = search.cosine
        self._inverses = inverse(lengths(self._features))

    def neighbors(
        self, features: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], int]:
        """Find the nearest references of every query, under other features of the same images.

        Parameters
        ----------
        features : ndarray of shape (n_images, n_features), float32
            Finite.

        Returns
        -------
        distances : ndarray of shape (n_queries, n_neighbors), float64
            In no order.
        indices : ndarray of shape (n_queries, n_neighbors), int64
        full_scans : int
            For how many queries the shortlist did not suffice, and all references were compared.
        """
        roles, inverses = self._roles, inverse(lengths(features))
        ones = np.ones(len(features))
        before, after = (self._inverses, inverses) if self._cosine else (ones, ones)
        displacements = _displacements(self._features, features, before, after)
        if self._cosine:
            # A zero vector is orthogonal to all by definition: it was √2 away, and may now be at 0.
            displacements[(self._inverses == 0.0) & (inverses > 0.0)] = np.sqrt(2.0) * (
                1.0 + _SLACK
            )
        distances = np.empty((roles.n_queries, self._n_neighbors))
        indices = np.empty(distances.shape, np.int64)
        ended = np.empty(roles.n_queries, np.bool_)
        _follow(
            features,
            inverses,
            roles.first_query,
            self._roots,
            self._indices,
            self._complete,
            displacements,
            displacements[roles.references].max(),
            self._factor,
            self._cosine,
            distances,
            indices,
            ended,
        )
        (rest,) = np.nonzero(~ended)
        if len(rest):
            references = features[roles.references]
            search = NeighborSearch(references, self._metric, len(rest), self._short_form)
            distances[rest], indices[rest] = search.search(
                features[roles.first_query + rest],
                self._n_neighbors,
                rest if roles.leave_one_out else None,
            )
        return distances, indices, len(rest)
