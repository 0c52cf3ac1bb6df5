"""What is wrong with the images of a dataset, before anything is learned from them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicing.data.dataset import Images
from slicing.data.duplicates import Duplicates, equal

TINY = 20
"""Training images below which little is learned of a class, and little is known of its accuracy."""

# Ratio between the largest and the smallest class that is worth a word.
_IMBALANCE = 10
# Names in a sentence, and formats, modes and sizes.
_NAMED, _SHOWN = 3, 5


@dataclass(frozen=True)
class ImageFile:
    """One image.

    Attributes
    ----------
    path : str
        Of its file, from the folder of all, safe to show.
    label : str
        Name of its class.
    part : str
        ``train`` or ``test``.
    """

    path: str
    label: str
    part: str


@dataclass(frozen=True)
class Copies:
    """Images that are copies of each other.

    Attributes
    ----------
    images : tuple of ImageFile
        The second is of another part or class than the first, where there is one.
    identical : bool
        Whether all have the same pixels; else some differ by little.
    """

    images: tuple[ImageFile, ...]
    identical: bool

    def __str__(self) -> str:
        return " = ".join(each.path for each in self.images[:2])

    @property
    def in_two_parts(self) -> bool:
        """Whether some are training and some test images."""
        return len({each.part for each in self.images}) > 1

    @property
    def in_two_classes(self) -> bool:
        """Whether they have several labels."""
        return len({each.label for each in self.images}) > 1


@dataclass(frozen=True)
class LabelError:
    """An image whose label is probably wrong.

    Attributes
    ----------
    image : ImageFile
    probable : str
        The class that is more probable.
    probability, of_label : float
        Of that class, and of its own label, for a probe that has not seen the image.
    """

    image: ImageFile
    probable: str
    probability: float
    of_label: float

    def __str__(self) -> str:
        return f"{self.image.path}: rather {self.probable}"


@dataclass(frozen=True)
class Quality:
    """What a look at all images found.

    Attributes
    ----------
    root : str
        The folder of all files, to which their paths are relative.
    classes : mapping of str to mapping of str to int
        For every class, its images in ``train`` and in ``test``.
    duplicates : Duplicates
        How many are copies.
    formats, modes, sizes : mapping of str to int
        Files by Pillow's names of their formats and modes, and by ``width x height``, the most
        frequent first; none where the images are no files.
    unreadable : mapping of str to str
        Files that were left out, and the reasons.
    passed_over : tuple of str
        Files that were not meant to be images.
    copies : tuple of Copies
        The worst first: in both parts, in two classes, the largest.
    n_label_errors : int
    label_errors : tuple of LabelError
        The least probable label first.
    probe : str
        What the probe for labels saw and how often it was right, or why labels were not checked.
    """

    root: str = ""
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    duplicates: Duplicates = field(default_factory=Duplicates)
    formats: Mapping[str, int] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    passed_over: tuple[str, ...] = ()
    copies: tuple[Copies, ...] = ()
    n_label_errors: int = 0
    label_errors: tuple[LabelError, ...] = ()
    probe: str = ""

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> "Quality":
        """Make it of what JSON has of it."""
        found = {
            "duplicates": Duplicates(**values["duplicates"]),
            "passed_over": tuple(values["passed_over"]),
            "copies": tuple(
                Copies(tuple(ImageFile(**image) for image in each["images"]), each["identical"])
                for each in values["copies"]
            ),
            "label_errors": tuple(
                LabelError(**{**each, "image": ImageFile(**each["image"])})
                for each in values["label_errors"]
            ),
        }
        return cls(**{**values, **found})

    @classmethod
    def of_images(cls, train: Images, test: Images, classes: Sequence[str]) -> "Quality":
        """Look at images that are no files: their classes, and equal pixels."""
        labels = np.concatenate([train.labels, test.labels])
        is_test = np.arange(len(labels)) >= len(train)
        digests = [
            hashlib.sha1(np.ascontiguousarray(image).data, usedforsecurity=False).digest()
            for part in (train, test)
            for image in part.images
        ]
        duplicates = Duplicates.of(equal(digests), labels, is_test)
        return cls(classes=images_of_classes(labels, is_test, classes), duplicates=duplicates)

    @property
    def warnings(self) -> list[str]:
        """Say what makes results untrue, a clause each."""
        return self.duplicates.warnings

    @property
    def findings(self) -> list[tuple[str, int, str]]:
        """What deserves a look, how often, and an example, the worst first."""
        counts, trained = self.duplicates, {k: each["train"] for k, each in self.classes.items()}
        tiny = [name for name, n in trained.items() if n < TINY]
        smallest, largest = (f(trained, key=trained.__getitem__, default="") for f in (min, max))
        ratio = trained[largest] // max(trained[smallest], 1) if trained else 0
        across = next((each for each in self.copies if each.in_two_parts), None)
        mixed = next((each for each in self.copies if each.in_two_classes), None)
        error = self.label_errors[0] if self.label_errors else None
        found = [
            ("test images that are copies of training images", counts.test_in_training,
             str(across or "")),
            ("images that are copies of one of another class", counts.contradictions,
             str(mixed or "")),
            ("files that cannot be read", len(self.unreadable), next(iter(self.unreadable), "")),
            ("labels that a probe doubts", self.n_label_errors, str(error or "")),
            (f"classes of fewer than {TINY} training images", len(tiny), ", ".join(tiny[:_NAMED])),
            ("times as many training images in one class as in another",
             ratio if ratio >= _IMBALANCE else 0, f"{largest} and {smallest}"),
            ("images that have copies", counts.images,
             str(self.copies[0] if self.copies else "")),
            ("files passed over: no images", len(self.passed_over),
             next(iter(self.passed_over), "")),
        ]  # fmt: skip
        return [each for each in found if each[1]]

    @property
    def facts(self) -> list[str]:
        """Say what the images are, a sentence each."""
        n = sum(sum(each.values()) for each in self.classes.values())
        counts = {"formats": self.formats, "modes": self.modes, "sizes": self.sizes}
        return [
            f"{n:,} images of {len(self.classes):,} classes.",
            *(
                f"{name.capitalize()}: "
                + ", ".join(f"{each} ({n:,})" for each, n in [*count.items()][:_SHOWN])
                + (" and others" if len(count) > _SHOWN else "")
                + "."
                for name, count in counts.items()
                if count
            ),
            *([self.probe] if self.probe else []),
        ]


def images_of_classes(
    labels: NDArray[np.int64], is_test: NDArray[np.bool_], classes: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Count the images of every class, in ``train`` and in ``test``."""
    train, test = (
        np.bincount(labels[part], minlength=len(classes)) for part in (~is_test, is_test)
    )
    return {
        name: {"train": int(train[label]), "test": int(test[label])}
        for label, name in enumerate(classes)
    }
