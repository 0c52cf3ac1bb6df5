"""Split image files into training and test images, with copies on one side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slicing.data.dataset import digests_of
from slicing.data.duplicates import copies
from slicing.data.fingerprints import Fingerprint, fingerprint
from slicing.data.image_file import UnreadableImageError
from slicing.data.image_files import in_threads
from slicing.data.sampling import group_end, grouped_order
from slicing.show import Show, silent


class Prints:
    """Fingerprints of files, each taken when it is first asked for.

    Parameters
    ----------
    paths : sequence of Path
    max_megapixels : float
        Pixels of a file, in millions, above which it is not decoded.
    show : callable, optional
        Is told the part of the files that were read, 0 to 1, and how many.

    Attributes
    ----------
    taken : dict of int to Fingerprint
        By the index of the file.
    unreadable : dict of int to UnreadableImageError
    """

    def __init__(self, paths: Sequence[Path], max_megapixels: float, show: Show = silent) -> None:
        self._paths, self._max_megapixels, self._show = paths, max_megapixels, show
        self.taken = dict[int, Fingerprint]()
        self.unreadable = dict[int, UnreadableImageError]()

    def take(self, indices: NDArray[np.intp]) -> bool:
        """Take the fingerprints of some files; say whether there was one to be taken."""
        known = self.taken.keys() | self.unreadable.keys()
        new = [each for each in indices.tolist() if each not in known]
        for index, found in zip(new, in_threads(self._of, new, self._show), strict=True):
            if isinstance(found, Fingerprint):
                self.taken[index] = found
            else:
                self.unreadable[index] = found
        return bool(new)

    @property
    def contents(self) -> NDArray[np.void]:
        """SHA-256 of each file, as bytes of length 32; zeros where no fingerprint was taken."""
        known = (self.taken.get(each) for each in range(len(self._paths)))
        return digests_of(bytes(32) if each is None else each.content for each in known)

    def groups(self, radius: int | None) -> NDArray[np.intp]:
        """Give copies one number, as far as fingerprints were taken: of shape (n_paths,).

        Parameters
        ----------
        radius : int or None
            As for :func:`~slicing.data.duplicates.copies`; with None, nothing is a copy.
        """
        groups = np.arange(len(self._paths))
        if radius is not None and self.taken:
            indices = np.array(sorted(self.taken), np.intp)
            groups[indices] = indices[copies([self.taken[each] for each in indices], radius)]
        return groups

    def _of(self, index: int) -> Fingerprint | UnreadableImageError:
        try:
            return fingerprint(self._paths[index], self._max_megapixels)
        except UnreadableImageError as error:
            return error


def split(
    labels: NDArray[np.int64],
    n_test: int,
    seed: int,
    prints: Prints,
    radius: int | None,
    train_size: int | None = None,
    test_size: int | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Split files at random, stratified, and with copies on one side.

    Fingerprints are taken of the files that were asked for, and of no others.

    Parameters
    ----------
    labels : ndarray of shape (n,), int64
        Of the first files of ``prints``.
    n_test : int
        Test images, or about so many: no set of copies is cut.
    seed : int
    prints : Prints
    radius : int or None
        As for :meth:`Prints.groups`.
    train_size, test_size : int, optional
        At most so many images of each part: stratified samples.

    Returns
    -------
    train, test : ndarray of intp
        Indices of files.
    groups : ndarray of shape (n,), intp
        Which are copies of each other, of those of which fingerprints were taken.

    Raises
    ------
    InputError
        Where all are copies of each other.
    """
    groups = np.arange(len(labels))
    while True:
        order = grouped_order(labels, groups, seed)
        end = group_end(groups[order], labels[order], n_test)
        train, test = order[end:][:train_size], order[:end][:test_size]
        if not prints.take(np.concatenate([train, test])):
            return train, test, groups
        groups = prints.groups(radius)[: len(labels)]
