"""List images before any is decoded: which files, of which classes, and what else lies there."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from slicing.data.image_file import UnreadableImageError, is_left_by_system, is_text, opened
from slicing.errors import InputError
from slicing.names import shown

PART_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What people call the parts of a dataset, in lower case, and what they are called here."""

# Names in a sentence; the number of the others is said.
_NAMED = 3

LISTED = 100
"""Names in a sentence where somebody must look at each."""


@dataclass
class Listing:
    """Images of a part of a dataset, by their headers.

    Attributes
    ----------
    sources : list of str
        The folders or tables that they were found in.
    places : dict of str to Path
        Where each class was found: its folder, or the table.
    files : list of Path
        In the order in which they were found.
    classes : list of str
        The class of each.
    counts : Counter of str
        Files of each class, with those that cannot be read.
    passed_over : list of Path
        Hidden files, what systems leave beside images, and text.
    unreadable : list of UnreadableImageError
        All else.
    """

    sources: list[str] = field(default_factory=list)
    places: dict[str, Path] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    passed_over: list[Path] = field(default_factory=list)
    unreadable: list[UnreadableImageError] = field(default_factory=list)

    def add(self, path: Path, name: str, max_megapixels: float) -> None:
        """Take in a file of the class ``name``: Pillow reads its header."""
        self.counts[name] += 1
        try:
            with opened(path, max_megapixels):
                self.files.append(path)
                self.classes.append(name)
        except UnreadableImageError as error:
            self.unreadable.append(error)

    def meant_in(self, folder: Path) -> list[Path]:
        """List what in a folder is meant to be an image or a folder; all else is passed over.

        Raises
        ------
        InputError
            Where it cannot be read.
        """
        meant = list[Path]()
        for path in everything_in(folder):
            is_stray = is_left_by_system(path) or is_text(path)
            (self.passed_over if is_stray else meant).append(path)
        return meant

    def __add__(self, other: "Listing") -> "Listing":
        return Listing(
            self.sources + other.sources,
            self.places | other.places,
            self.files + other.files,
            self.classes + other.classes,
            self.counts + other.counts,
            self.passed_over + other.passed_over,
            self.unreadable + other.unreadable,
        )


def some(words: Iterable[object], most: int = _NAMED) -> str:
    """Name the first few of many: ``a, b, c and 7 more``."""
    names = [shown(word) for word in words]
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def everything_in(folder: Path) -> list[Path]:
    """List a folder, in the order of the names.

    Raises
    ------
    InputError
        Where it cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read ({error.strerror}): make it readable."
        ) from error


def folders_in(folder: Path) -> list[Path]:
    """List the folders in a folder that people put there.

    Raises
    ------
    InputError
        Where it cannot be read.
    """
    return [path for path in everything_in(folder) if path.is_dir() and not is_left_by_system(path)]
