"""Find the images of a dataset in what somebody gives: a folder, a table or an archive."""

import os
from dataclasses import dataclass
from pathlib import Path

from slicing.data.archive import MAX_GIGABYTES, SUFFIXES, is_archive
from slicing.data.archive_cache import unpacked
from slicing.data.class_folders import list_class_folders, only_folders
from slicing.data.image_file import is_left_by_system, is_text
from slicing.data.image_table import read_table
from slicing.data.listing import PART_OF, Listing, everything_in, folders_in, some
from slicing.errors import InputError
from slicing.names import shown

# Names of folders that do not say what is in them; those of their parents do.
_VAGUE = frozenset(PART_OF) | {"data", "dataset", "images", "photos", "pictures"}
# The endings of tables that are found by themselves.
_TABLES = {".csv", ".tsv"}
# Letters of a folder's name, of up to four bytes each.
_MAX_NAME = 50


@dataclass(frozen=True)
class Photos:
    """The images of a dataset, in the parts in which they were given.

    Attributes
    ----------
    name : str
        The dataset's, made of what was given: ``flowers-train`` for a folder ``train`` in
        ``flowers``.
    root : Path
        The folder or table that they were found in.
    train : Listing
        All images, where they were given in one part; without sources, where only ``test`` was.
    val, test : Listing or None
    """

    name: str
    root: Path
    train: Listing
    val: Listing | None
    test: Listing | None

    def roles(self) -> tuple[Listing, Listing]:
        """Give the training images, and the test images: an empty listing where there are none.

        Validation images are the test images where there are no others, else training images.
        """
        if self.test is None or self.val is None:
            return self.train, self.test or self.val or Listing()
        return self.train + self.val, self.test

    def everything(self) -> Listing:
        """Give the images of all parts."""
        return sum((part for part in (self.val, self.test) if part), self.train)


def find_photos(
    option: str, given: str | os.PathLike[str], max_megapixels: float, max_gigabytes: float
) -> Photos:
    """Find images, and open each: Pillow reads their headers.

    Parameters
    ----------
    option : str
        What ``given`` is called in a sentence.
    given : path
        One of these:

        - class folders, see :mod:`slicing.data.class_folders`;
        - ``train`` (``training``), ``val`` (``valid``, ``validation``) and ``test`` (``testing``)
          that hold class folders. Without ``train``, those of ``val`` are it;
        - a table, see :mod:`slicing.data.image_table`, or a folder that holds one, files and no
          class folders;
        - a folder that holds one of these folders alone;
        - a zip or tar archive of any of these, see :mod:`slicing.data.archive`.
    max_megapixels : float
        Pixels of an image, in millions, above which it is not read.
    max_gigabytes : float
        Bytes, in thousands of millions, to which an archive may unpack.

    Raises
    ------
    InputError
        For anything else, with what it should be.
    """
    root = require_photos(option, given)
    if root.is_dir():
        return _in_folder(_entered(root), max_megapixels, None)
    if is_archive(root):
        place = unpacked_photos(root, max_gigabytes)
        return _in_folder(_entered(place), max_megapixels, place)
    return _photos(name_of(root.parent), root, read_table(root, max_megapixels, None))


def photos_of_others(folder: Path, max_megapixels: float) -> Photos:
    """Find images in a folder that somebody else has filled: a table names only files in it.

    Parameters
    ----------
    folder : Path
    max_megapixels : float
        Pixels of an image, in millions, above which it is not read.

    Raises
    ------
    InputError
        Also for a table with a path out of the folder.
    """
    return _in_folder(_entered(folder), max_megapixels, folder)


def require_photos(option: str, given: str | os.PathLike[str]) -> Path:
    """Refuse what is neither a folder nor a table or an archive, by a look at its beginning.

    Raises
    ------
    InputError
    """
    root = Path(given).expanduser()
    if not root.is_dir() and not (root.is_file() and (is_archive(root) or is_text(root))):
        what = "neither a folder nor a table or an archive" if root.exists() else "not there"
        raise InputError(
            f"{option}={root} is {what}: name a folder that holds one of images for each class, a "
            "table (CSV) of paths and labels, or a zip or tar archive of one of these.",
            option,
        )
    return root


def unpacked_photos(archive: Path, max_gigabytes: float = MAX_GIGABYTES) -> Path:
    """Unpack an archive into the cache, see :mod:`slicing.data.archive_cache`.

    Returns
    -------
    Path
        A folder that is called as the archive is.
    """
    return unpacked(archive, max_gigabytes, name_of(archive.with_name(_stem(archive)))[:_MAX_NAME])


def name_of(root: Path) -> str:
    """Name the dataset in a folder: ``flowers-train`` for a folder ``train`` in ``flowers``."""
    root = root.resolve()
    is_vague = root.name.lower() in _VAGUE and root.parent.name
    return shown(f"{name_of(root.parent)}-{root.name}" if is_vague else root.name)


def _in_folder(root: Path, max_megapixels: float, within: Path | None) -> Photos:
    """Find images in a folder; a table may name only files ``within`` the place of an archive."""
    name = name_of(root)
    if table := _table_in(root):
        return _photos(name, table, read_table(table, max_megapixels, within))
    folders = folders_in(root)
    parts = [path for path in folders if path.name.lower() in PART_OF]
    # Else it is the class of a name like that: pictures of a train, beside those of a car.
    are_parts = len(parts) == len(folders) or any(map(_holds_folders, parts))
    if not (parts and are_parts):
        return _photos(name, root, {"train": list_class_folders(root, max_megapixels)})
    if others := [path.name for path in folders if path not in parts]:
        raise InputError(
            f"{root} holds parts of a dataset ({some(path.name for path in parts)}) and, beside "
            f"them, {some(others)}: move what is beside them into one of them, or elsewhere."
        )
    beside = Listing()
    only_folders(root, beside)
    found = dict[str, Listing]()
    for path in parts:
        part = PART_OF[path.name.lower()]
        found[part] = found.get(part, Listing()) + list_class_folders(path, max_megapixels)
    first = next(iter(found))
    found[first] = beside + found[first]
    return _photos(name, root, found)


def _photos(name: str, root: Path, parts: dict[str, Listing]) -> Photos:
    val, test = parts.get("val"), parts.get("test")
    if "train" in parts:
        return Photos(name, root, parts["train"], val, test)
    return Photos(name, root, val or Listing(), None, test)


def _entered(root: Path) -> Path:
    """Go into a folder that is the only thing in ``root`` and holds more than one class."""
    while not _table_in(root):
        listing = Listing()
        match listing.meant_in(root):
            case [path] if (
                path.is_dir()
                and path.name.lower() not in PART_OF
                and (_holds_folders(path) or _table_in(path))
            ):
                root = path
            case _:
                break
    return root


def _table_in(root: Path) -> Path | None:
    """Find the table in a folder that has files and no class folders."""
    tables = [
        path
        for path in everything_in(root)
        if path.suffix.lower() in _TABLES and not is_left_by_system(path) and path.is_file()
    ]
    folders = folders_in(root)
    has_parts = all(path.name.lower() in PART_OF for path in folders)
    if not tables or any(map(_holds_folders, folders)) or (len(folders) > 1 and not has_parts):
        return None
    if len(tables) > 1:
        raise InputError(
            f"{root} holds several tables, {some(path.name for path in tables)}: name the one that "
            f"has the labels as the directory, as {tables[0]}."
        )
    return tables[0]


def _holds_folders(folder: Path) -> bool:
    return bool(folders_in(folder))


def _stem(archive: Path) -> str:
    """Give the name of an archive without its endings: ``photos`` for ``photos.tar.gz``."""
    stem = archive.name
    while (suffix := Path(stem).suffix.lower()) in SUFFIXES:
        stem = stem[: -len(suffix)]
    return stem
