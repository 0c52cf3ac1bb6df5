"""Find copies of images: on both sides of a split, and in two classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slicing.checks import between
from slicing.data.fingerprints import Fingerprint, difference_hashes, thumbnails

RADIUS = 8
"""Bits of 64 in which the hashes of two copies may differ."""

# What two copies may differ by: the root mean square of their thumbnails' pixels, 0 to 255, where
# all bits of the hash tell something, and the cosine of their features. Photos that are saved
# again, resized, brightened by a tenth or cut by a fiftieth differ by less, most photos of other
# things by 30 and more. Copies had cosines of 0.76 and more, those of larger photos of 0.90.
_RMS, _COSINE = 24.0, 0.7
# Hashes that are compared at a time, and pairs of vectors.
_ROWS, _COLUMNS, _VECTORS = 64, 4096, 4096


@dataclass(frozen=True)
class Duplicates:
    """How many images are copies of others: of the same pixels, or nearly.

    Attributes
    ----------
    images, sets : int
        All images that have copies; counted once for each set of copies.
    test_in_training : int
        Test images that are copies of a training image; they flatter every accuracy.
    contradictions : int
        Images that are copies of one of another class; no classifier gets all of them right.
    """

    images: int = 0
    sets: int = 0
    test_in_training: int = 0
    contradictions: int = 0

    @classmethod
    def of(
        cls, groups: NDArray[np.intp], labels: NDArray[np.int64], is_test: NDArray[np.bool_]
    ) -> "Duplicates":
        """Count the duplicates of a split.

        Parameters
        ----------
        groups : ndarray of shape (n,), intp
            Of copies, as :func:`copies` and :func:`equal` number them.
        labels : ndarray of shape (n,), int64
        is_test : ndarray of shape (n,), bool
        """
        _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        trained = np.bincount(group[~is_test], minlength=len(sizes)) > 0
        kinds = np.unique(np.stack([group, labels]), axis=1)[0]
        mixed = np.bincount(kinds, minlength=len(sizes)) > 1
        return cls(
            int(sizes[sizes > 1].sum()),
            int(np.sum(sizes > 1)),
            int(np.sum(trained[group] & is_test)),
            int(np.sum(mixed[group])),
        )

    @property
    def warnings(self) -> list[str]:
        """Say what there is, a clause each."""
        found = []
        if self.test_in_training:
            found.append(
                f"{self.test_in_training:,} test images are copies of training images, which "
                "flatters all accuracies"
            )
        if self.contradictions:
            found.append(
                f"{self.contradictions:,} images are copies of one of another class, and cannot "
                "all be right"
            )
        return found


def equal(digests: Sequence[bytes]) -> NDArray[np.intp]:
    """Give equal images one number.

    Parameters
    ----------
    digests : sequence of bytes
        Of each image.

    Returns
    -------
    ndarray of shape (n,), intp
        For each image the index of the first that is equal.
    """
    first = dict[bytes, int]()
    return np.array([first.setdefault(each, i) for i, each in enumerate(digests)], np.intp)


def copies(
    prints: Sequence[Fingerprint],
    radius: int = RADIUS,
    features: NDArray[np.float32] | None = None,
) -> NDArray[np.intp]:
    """Give images that are copies of each other, equal or nearly, one number.

    Hashes propose, thumbnails confirm, and so must features where there are some: saved again,
    resized or cut by little, an image is a copy; mirrored or with other colors it is none. The less
    the hashes tell, the more must the thumbnails agree: of digits or of one color, most hashes are
    the same. Copies of copies are copies.

    Parameters
    ----------
    prints : sequence of Fingerprint
    radius : int
        Bits in which the hashes of copies may differ, 0 to 64.
    features : ndarray of shape (n, n_features), float32, optional
        What a network makes of the images.

    Returns
    -------
    ndarray of shape (n,), intp
        For each image the index of the first of its copies.

    Raises
    ------
    InputError
    """
    between("radius", radius, 0, 64)
    same = equal([each.pixels for each in prints])
    (chosen,) = np.nonzero(same == np.arange(len(same)))
    pixels = thumbnails(prints)[chosen]
    hashes, telling = difference_hashes(pixels)
    vectors = None if features is None else _normed(features[chosen])
    groups = np.arange(len(chosen))
    for one, other in _pairs(hashes, radius, groups):
        near = _near_pixels(pixels, _RMS * telling, one, other)
        one, other = one[near], other[near]
        if vectors is not None and len(one):
            near = _near_features(vectors, one, other)
            one, other = one[near], other[near]
        if len(one):
            groups[:] = _merged(groups, one, other)
    same[chosen] = chosen[groups]
    return same[same]


def _pairs(
    hashes: NDArray[np.uint64], radius: int, groups: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Give the pairs that are near each other and in two groups, which may merge in between."""
    for row in range(0, len(hashes), _ROWS):
        rows = slice(row, row + _ROWS)
        for column in range(row, len(hashes), _COLUMNS):
            columns = slice(column, column + _COLUMNS)
            distances = np.bitwise_count(hashes[rows, None] ^ hashes[None, columns])
            one, other = np.nonzero(distances <= radius)
            one, other = one + row, other + column
            apart = groups[one] != groups[other]
            if apart.any():
                yield one[apart], other[apart]


def _near_pixels(
    pixels: NDArray[np.uint8],
    limits: NDArray[np.float64],
    one: NDArray[np.intp],
    other: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Say of each pair whether its thumbnails agree, (n_pairs,)."""
    differences = np.concatenate(
        [
            np.square(np.subtract(pixels[a], pixels[b], dtype=np.float32)).mean(axis=(1, 2, 3))
            for a, b in _batches(one, other)
        ]
    )
    limit = np.minimum(limits[one], limits[other])
    return differences < np.square(limit)


def _near_features(
    features: NDArray[np.float32], one: NDArray[np.intp], other: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Say of each pair whether its features agree, (n_pairs,)."""
    cosines = [np.einsum("ij,ij->i", features[a], features[b]) for a, b in _batches(one, other)]
    return np.concatenate(cosines) >= _COSINE


def _batches(
    one: NDArray[np.intp], other: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Take so many pairs at a time that their vectors fit in memory."""
    for start in range(0, len(one), _VECTORS):
        yield one[start : start + _VECTORS], other[start : start + _VECTORS]


def _normed(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring vectors to length one; those of zeros stay."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    normed: NDArray[np.float32] = features / lengths.astype(np.float32)
    return normed


def _merged(
    groups: NDArray[np.intp], one: NDArray[np.intp], other: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Merge the groups of pairs: each gets the lowest number of its members."""
    # Here, not above: most images have no copies.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(groups)
    edges = coo_array((np.ones(len(one), bool), (groups[one], groups[other])), shape=(n, n))
    _, component = connected_components(edges, directed=False)
    _, lowest = np.unique(component, return_index=True)
    merged: NDArray[np.intp] = lowest[component][groups]
    return merged
