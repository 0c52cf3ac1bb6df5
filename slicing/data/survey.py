"""Look at all image files of a dataset: what they are, which are copies, which labels are wrong."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from slicing.data.duplicates import RADIUS, Duplicates, copies
from slicing.data.fingerprints import Fingerprint, cells, thumbnails
from slicing.data.quality import Copies, ImageFile, LabelError, Quality, images_of_classes
from slicing.errors import InputError
from slicing.names import shown

LISTED = 1000
"""Sets of copies, and probable label errors, that are listed; all are counted."""

# Formats, modes and sizes that are counted one by one.
_COUNTED = 50


@dataclass(frozen=True, eq=False)
class Survey:
    """The image files of a dataset, and what tells them apart.

    Attributes
    ----------
    paths : tuple of Path
    labels : ndarray of shape (n,), int64
        Class indices, 0 to n_classes - 1.
    classes : tuple of str
        Names of the classes, in label order.
    is_test : ndarray of shape (n,), bool
        Which are test images.
    prints : tuple of Fingerprint
    unreadable : mapping of Path to str
        Files that were left out, and the reasons.
    passed_over : tuple of Path
        Files that were not meant to be images.
    groups : ndarray of shape (n,), intp, or None
        Which are copies, where that is known: see :func:`~slicing.data.duplicates.copies`.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    is_test: NDArray[np.bool_]
    prints: tuple[Fingerprint, ...]
    unreadable: Mapping[Path, str] = field(default_factory=dict)
    passed_over: tuple[Path, ...] = ()
    groups: NDArray[np.intp] | None = None

    @cached_property
    def root(self) -> Path:
        """The folder of all files."""
        files = [*self.paths, *self.unreadable, *self.passed_over]
        return Path(os.path.commonpath([path.absolute().parent for path in files]))

    def name(self, path: Path) -> str:
        """Give the path of a file from that folder, safe to show."""
        return shown(path.absolute().relative_to(self.root))

    def quality(
        self,
        features: NDArray[np.float32] | None = None,
        knows_labels: bool = False,
        radius: int = RADIUS,
        seed: int = 0,
    ) -> Quality:
        """Say what is wrong with the images.

        Parameters
        ----------
        features : ndarray of shape (n, n_features), float32, optional
            What a network makes of the images, in their order. With it, copies must agree in their
            features, too, and labels are judged by these instead of by thumbnails of 9 x 8 pixels.
        knows_labels : bool
            Whether that network may have been trained with the labels, also the wrong ones. Then
            thumbnails judge them.
        radius : int
            Bits of 64 in which the hashes of copies may differ.
        seed : int
            Of the parts in which the probe sees the images.
        """
        groups = self.groups
        if groups is None or features is not None:
            groups = copies(self.prints, radius, features)
        found, probe = self._label_errors(groups, None if knows_labels else features, seed)
        return Quality(
            root=shown(self.root),
            classes=images_of_classes(self.labels, self.is_test, self.classes),
            duplicates=Duplicates.of(groups, self.labels, self.is_test),
            formats=_counts(each.format for each in self.prints),
            modes=_counts(each.mode for each in self.prints),
            sizes=_counts(f"{each.width} x {each.height}" for each in self.prints),
            unreadable={self.name(path): reason for path, reason in self.unreadable.items()},
            passed_over=tuple(map(self.name, self.passed_over)),
            copies=self._copies(groups),
            n_label_errors=len(found),
            label_errors=tuple(found[:LISTED]),
            probe=probe,
        )

    def _image(self, index: int) -> ImageFile:
        part = "test" if self.is_test[index] else "train"
        return ImageFile(self.name(self.paths[index]), self.classes[self.labels[index]], part)

    def _copies(self, groups: NDArray[np.intp]) -> tuple[Copies, ...]:
        members = dict[int, list[int]]()
        for index, group in enumerate(groups.tolist()):
            members.setdefault(group, []).append(index)
        found = []
        for each in members.values():
            if len(each) > 1:
                is_same = len({self.prints[index].pixels for index in each}) == 1
                found.append(Copies(_apart([self._image(index) for index in each]), is_same))
        found.sort(key=lambda each: (-each.in_two_parts, -each.in_two_classes, -len(each.images)))
        return tuple(found[:LISTED])

    def _label_errors(
        self, groups: NDArray[np.intp], features: NDArray[np.float32] | None, seed: int
    ) -> tuple[list[LabelError], str]:
        """Give what a probe finds, and say what it was, or why there is none."""
        # Here, not above: it needs libraries that reading images does not.
        from slicing.data.label_errors import FOLDS, find_label_errors

        vectors, what = features, "the network's features"
        if vectors is None:
            vectors = cells(thumbnails(self.prints)).reshape(len(self.prints), -1)
            what = "thumbnails of 9 x 8 pixels"
        try:
            found = find_label_errors(vectors, self.labels, len(self.classes), groups, seed)
        except InputError as error:
            return [], f"Wrong labels were not looked for in {what}. {error}"
        errors = [
            LabelError(
                self._image(index),
                self.classes[best],
                float(found.probabilities[index, best]),
                float(found.probabilities[index, self.labels[index]]),
            )
            for index, best in zip(
                found.indices.tolist(),
                found.probabilities[found.indices].argmax(axis=1),
                strict=True,
            )
        ]
        return errors, (
            f"Wrong labels were looked for by linear discriminants on {what}, in {FOLDS} parts: "
            f"they get {100 * found.accuracy:.1f} % of {found.is_checked.sum():,} images right."
        )


def _apart(images: Sequence[ImageFile]) -> tuple[ImageFile, ...]:
    """Put one that is of another part, or of another class, behind the first."""
    first, *others = images
    others.sort(key=lambda each: (each.part == first.part, each.label == first.label))
    return (first, *others)


def _counts(values: Iterable[str]) -> dict[str, int]:
    """Count values, the most frequent first; rare ones together."""
    counts = Counter(values).most_common()
    rest = sum(n for _, n in counts[_COUNTED:])
    return dict(counts[:_COUNTED]) | ({"others": rest} if rest else {})
