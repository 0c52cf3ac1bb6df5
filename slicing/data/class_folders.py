"""List the images of class folders, as people have them: strays beside them, train beside test."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slicing.data.image_file import UnreadableImageError, is_left_by_system, is_text, opened
from slicing.errors import InputError
from slicing.names import class_name, shown

# Folders that are parts of a dataset and no classes, where all are of these names.
_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
# Names of folders that do not say what is in them; those of their parents do.
_VAGUE = frozenset(_PARTS) | {"data", "dataset", "images", "photos", "pictures"}
# Names in a sentence; the number of the others is said. Where somebody must look at each file, the
# second: all, but for folders that hold something else.
_NAMED, LISTED = 3, 100


@dataclass
class Listing:
    """What lies in class folders.

    Attributes
    ----------
    folders : dict of str to Path
        The class folders by the names of the classes.
    files : list of Path
        Images by their headers, in the order of the folders and of their names.
    classes : list of str
        The class of each.
    passed_over : list of Path
        Hidden files, what systems leave beside images, and text.
    unreadable : list of UnreadableImageError
        All else.
    """

    folders: dict[str, Path] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    passed_over: list[Path] = field(default_factory=list)
    unreadable: list[UnreadableImageError] = field(default_factory=list)


def parts(root: Path) -> tuple[list[Path], list[Path]]:
    """Find the folders that hold class folders, for training and for testing.

    Returns
    -------
    train, test : list of Path
        Without a folder ``train`` the root itself, and none. Validation images are the test images
        where there are no others, else they are for training.
    """
    found: dict[str, list[Path]] = {"train": [], "val": [], "test": []}
    for folder in (path for path in _inside(root) if path.is_dir()):
        part = _PARTS.get(folder.name.lower())
        if part is None or not any(path.is_dir() for path in _inside(folder)):
            return [root], []
        found[part].append(folder)
    if not found["train"]:
        return [root], []
    if found["test"]:
        return found["train"] + found["val"], found["test"]
    return found["train"], found["val"]


def name_of(root: Path) -> str:
    """Name the dataset in a folder: ``flowers-train`` for a folder ``train`` in ``flowers``."""
    root = root.resolve()
    is_vague = root.name.lower() in _VAGUE and root.parent.name
    return shown(f"{name_of(root.parent)}-{root.name}" if is_vague else root.name)


def list_images(roots: Sequence[Path], max_megapixels: float) -> Listing:
    """List the files of class folders, and open each: Pillow reads their headers.

    Raises
    ------
    InputError
        Where a folder cannot be read, where files lie outside of the class folders, or where two
        folders have the name of one class.
    """
    listing = Listing()
    for root in roots:
        folders = _class_folders(root, listing)
        listing.folders |= folders
        for name, folder in folders.items():
            for path in _sorted(folder):
                if is_left_by_system(path):
                    listing.passed_over.append(path)
                    continue
                try:
                    with opened(path, max_megapixels):
                        listing.files.append(path)
                        listing.classes.append(name)
                except UnreadableImageError as error:
                    if is_text(path):
                        listing.passed_over.append(path)
                    else:
                        listing.unreadable.append(error)
    return listing


def some(words: Iterable[object], most: int = _NAMED) -> str:
    """Name the first few of many: ``a, b, c and 7 more``."""
    names = [shown(word) for word in words]
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def _class_folders(root: Path, listing: Listing) -> dict[str, Path]:
    folders, strays = dict[str, Path](), list[Path]()
    for path in _sorted(root):
        if is_left_by_system(path):
            listing.passed_over.append(path)
        elif not path.is_dir():
            (listing.passed_over if is_text(path) else strays).append(path)
        else:
            name = class_name(path.name)
            other = folders.setdefault(name, path)
            if other != path:
                raise InputError(
                    f"{root} holds two folders of the class {name}, {other.name!a} and "
                    f"{path.name!a}: rename one, or move its images into the other."
                )
    if strays and not folders:
        raise InputError(
            f"{root} holds {len(strays):,} file(s) and no class folders: name the folder above it, "
            "if it is one of them, or move the images of each class into a folder."
        )
    if strays:
        raise InputError(
            f"{root} holds {len(strays):,} file(s) outside the class folders, "
            f"{some(strays, LISTED)}: move "
            "them into one, or elsewhere."
        )
    return folders


def _inside(folder: Path) -> list[Path]:
    return [path for path in _sorted(folder) if not is_left_by_system(path)]


def _sorted(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"{folder} cannot be read ({error.strerror}): make it readable."
        ) from error
