"""Data sets: photos that somebody sent or named, each in a folder of its own.

``dataset.json`` says what it is, ``images.json`` which images it has; a numbered image is one of
this list. An archive is unpacked once, into the folder. Nothing that a user names becomes a path.
"""

import csv
import io
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from experiments.app import store
from slicing.data.archive import MAX_GIGABYTES, SUFFIXES, unpack
from slicing.data.find_photos import photos_of_others, require_photos
from slicing.data.image_file import MAX_MEGAPIXELS, picture_of
from slicing.errors import InputError
from slicing.files import replacing
from slicing.names import shown

THUMBNAIL = 160
"""Pixels of a thumbnail's longer side."""

_DATASET, _IMAGES, _ARCHIVE, _TABLE = "dataset.json", "images.json", "archive", "images.csv"
_UNPACKED, _THUMBNAILS = "unpacked", "thumbnails"
_MAX_NAME = 50


@dataclass(frozen=True)
class Photo:
    """An image of a data set.

    Attributes
    ----------
    number : int
        Its place in the list, from 0; it stays.
    path : Path
    name : str
        Its path within the data set, safe to show.
    label : str
        Its class.
    part : str
        ``train``, ``val`` or ``test``; ``train`` where all were given in one part.
    is_excluded : bool
        Whether jobs that begin from now on leave it out.
    """

    number: int
    path: Path
    name: str
    label: str
    part: str
    is_excluded: bool


@dataclass(frozen=True)
class Dataset:
    """A data set, as its files are now: read it again to see what has changed.

    Attributes
    ----------
    folder : Path
    name : str
        Safe to show; not unique.
    person : str
        Who sent it.
    created : float
        In seconds since 1970.
    images : Path
        Their folder.
    excluded : frozenset of int
        Numbers of the images that jobs leave out.
    unreadable : mapping of str to str
        Names of files that cannot be read as images, with the reason; jobs leave them out, too.
    classes : mapping of str to int
        Images of each class, without those that are left out.
    n_images : int
        All of these.
    """

    folder: Path
    name: str
    person: str
    created: float
    images: Path
    excluded: frozenset[int]
    unreadable: dict[str, str]
    classes: dict[str, int]

    @property
    def id(self) -> str:
        """Its id, 16 hexadecimal digits."""
        return store.id_of(self.folder)

    @property
    def n_images(self) -> int:
        """Images that jobs read."""
        return sum(self.classes.values())

    def photos(self) -> list[Photo]:
        """List its images, those that are excluded among them."""
        rows = store.read(self.folder / _IMAGES)["images"]
        return [
            Photo(number, self.images / path, shown(path), label, part, number in self.excluded)
            for number, (path, label, part) in enumerate(rows)
        ]

    def thumbnail(self, number: int) -> bytes:
        """Give a small picture of an image, WebP of at most ``THUMBNAIL`` pixels a side.

        Raises
        ------
        NotFoundError
            Where there is no image of this number.
        UnreadableImageError
        """
        kept = self.folder / _THUMBNAILS / f"{number:d}.webp"
        if kept.is_file():
            return kept.read_bytes()
        photos = self.photos()
        if not 0 <= number < len(photos):
            raise store.NotFoundError(f"{self.name} has no image {number}.")
        content = io.BytesIO()
        picture_of(photos[number].path, THUMBNAIL).save(content, "WEBP", quality=80)
        kept.parent.mkdir(exist_ok=True)
        with replacing(kept) as file:
            file.write(content.getvalue())
        return content.getvalue()

    def write_table(self, folder: Path) -> Path | None:
        """Write the images that are left as a table, for ``data.directory``; None: all are.

        Parameters
        ----------
        folder : Path
            The name of a folder in it, made of the name of the data set, is what a job calls the
            data set.
        """
        if not self.excluded and not self.unreadable:
            return None
        photos = [each for each in self.photos() if not each.is_excluded]
        place = folder / _safe(self.name)
        place.mkdir(parents=True, exist_ok=True)
        with (place / _TABLE).open("w", encoding="utf-8", errors="surrogateescape") as file:
            table = csv.writer(file)
            has_parts = len({each.part for each in photos}) > 1
            table.writerow(["path", "label", *(["split"] if has_parts else [])])
            for each in photos:
                table.writerow([each.path, each.label, *([each.part] if has_parts else [])])
        return place / _TABLE


class Datasets:
    """All data sets of the app.

    Parameters
    ----------
    folder : Path
        Of the data sets.
    roots : sequence of Path
        Folders on this machine in which somebody may name a folder of images.
    upload_gigabytes : float
        Bytes of an archive that is sent, at most, in thousands of millions.
    """

    def __init__(
        self, folder: Path, roots: Sequence[Path] = (), upload_gigabytes: float = 2.0
    ) -> None:
        self.folder = folder
        self.roots = [root.expanduser().resolve() for root in roots]
        self.upload_gigabytes = upload_gigabytes
        self._lock = Lock()
        store.clear(folder)

    def all(self) -> list[Dataset]:
        """List all, the newest first."""
        found = store.records(self.folder, _read)
        return sorted(found, key=lambda each: -each.created)

    def get(self, identifier: str) -> Dataset:
        """Give one.

        Raises
        ------
        NotFoundError
        """
        return _read(store.folder_of(self.folder, identifier, "data set"))

    def receive(self, name: str, person: str = "") -> "Upload":
        """Begin to receive an archive, zip or tar, whose file has this name."""
        return Upload(self, name, person)

    def link(self, path: str, person: str = "") -> Dataset:
        """Make a data set of a folder on this machine, which stays where it is.

        Raises
        ------
        InputError
            Where it is not below an allowed root, or holds no images.
        """
        try:
            root = Path(path).expanduser().resolve()
        except (ValueError, RuntimeError, OSError) as error:  # NUL, ~nobody, a circle of links
            raise InputError(f"{shown(path)} is no folder: name another.", "path") from error
        if not any(root.is_relative_to(each) for each in self.roots):
            allowed = " or ".join(map(str, self.roots)) or "none: roots=[...] names some"
            raise InputError(
                f"{path} is in no folder that this server may read ({allowed}).", "path"
            )
        with store.new_folder(self.folder) as folder:
            _describe(folder, root, root.name, person)
        return self.get(store.id_of(folder))

    def exclude(self, identifier: str, numbers: Iterable[int], is_excluded: bool = True) -> Dataset:
        """Exclude images from the jobs that begin from now on, or take them in again.

        Raises
        ------
        NotFoundError
        InputError
            Where there is no image of a number.
        """
        dataset, numbers = self.get(identifier), set(numbers)
        n_images = len(dataset.photos())
        if unknown := sorted(number for number in numbers if not 0 <= number < n_images):
            raise InputError(f"{dataset.name} has no image {unknown[0]}.", "numbers")
        # Two people may exclude at once.
        with self._lock:
            values = store.read(dataset.folder / _DATASET)
            before = set(values["excluded"])
            left_out = before | numbers if is_excluded else before - numbers
            store.write(dataset.folder / _DATASET, {**values, "excluded": sorted(left_out)})
        return self.get(identifier)

    def delete(self, identifier: str) -> None:
        """Delete one; a folder that was named stays."""
        store.remove(self.get(identifier).folder)


class Upload:
    """An archive that comes in pieces: write all of them, then finish; else close it.

    As a context manager it closes itself.
    """

    def __init__(self, datasets: Datasets, name: str, person: str) -> None:
        self._datasets, self._name, self._person = datasets, _stem(name), person
        self._making = store.new_folder(datasets.folder)
        self._folder = self._making.__enter__()
        self._file = (self._folder / _ARCHIVE).open("wb")
        self.received = 0
        """Bytes so far."""

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def write(self, piece: bytes) -> None:
        """Write the next piece to the disk.

        Raises
        ------
        InputError
            Where these are too many bytes.
        """
        self.received += len(piece)
        if self.received > self._datasets.upload_gigabytes * 1e9:
            raise InputError(
                f"The archive has more than {self._datasets.upload_gigabytes:g} GB: send fewer "
                "images, or let the server read them from a folder of its own.",
                "file",
            )
        self._file.write(piece)

    def finish(self) -> Dataset:
        """Unpack the archive and look at its images.

        Raises
        ------
        InputError
            Where it is no archive of images; nothing is left of it then.
        """
        self._file.close()
        archive = self._folder / _ARCHIVE
        root = self._folder / _UNPACKED / _safe(self._name)
        root.mkdir(parents=True)
        try:
            unpack(archive, root, MAX_GIGABYTES)
            archive.unlink()
            _describe(self._folder, root, self._name, self._person)
        except InputError as error:
            # Where it lies is nobody's business.
            sentence = str(error).replace(str(archive), self._name).replace(str(root), self._name)
            raise InputError(sentence, "file") from error
        self._making.__exit__(None, None, None)
        return self._datasets.get(store.id_of(self._folder))

    def close(self) -> None:
        """Give up what was not finished."""
        self._file.close()
        if self._folder.exists():
            self._making.__exit__(InputError, InputError("closed"), None)


def _describe(folder: Path, root: Path, name: str, person: str) -> None:
    """Look at the images below ``root``, and write down what they are."""
    photos = photos_of_others(require_photos("path", root), MAX_MEGAPIXELS)
    parts = {"train": photos.train, "val": photos.val, "test": photos.test}
    rows, unreadable = [], {}
    for part, listing in parts.items():
        if listing is None:
            continue
        for path, label in zip(listing.files, listing.classes, strict=True):
            below = str(path.relative_to(root))
            _require_name(f"{below} {label}")
            rows.append([below, label, part])
        for error in listing.unreadable:
            unreadable[shown(error.path.relative_to(root))] = error.reason
    if not rows:
        raise InputError(f"{root} holds no images that can be read: give others.")
    store.write(folder / _IMAGES, {"images": rows})
    is_own = root.is_relative_to(folder)
    values = {
        "name": shown(name) or "photos", "person": person, "created": time.time(),
        "images": str(root.relative_to(folder) if is_own else root), "excluded": [],
        "unreadable": unreadable,
    }  # fmt: skip
    store.write(folder / _DATASET, values)


def _require_name(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{shown(name)} is no name in UTF-8: give the photo another.") from error


def _read(folder: Path) -> Dataset:
    values = store.read(folder / _DATASET)
    excluded = frozenset(values["excluded"])
    rows = store.read(folder / _IMAGES)["images"]
    return Dataset(
        folder=folder,
        name=values["name"],
        person=values["person"],
        created=values["created"],
        images=folder / values["images"],
        excluded=excluded,
        unreadable=values["unreadable"],
        classes=dict(Counter(row[1] for n, row in enumerate(rows) if n not in excluded)),
    )


def _stem(name: str) -> str:
    """Name a data set as its archive, without its endings."""
    name = shown(re.split(r"[/\\]", name)[-1])
    while (suffix := Path(name).suffix.lower()) in SUFFIXES:
        name = name[: -len(suffix)]
    return name[:_MAX_NAME] or "photos"


def _safe(name: str) -> str:
    """Make a name that a folder may have anywhere."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:_MAX_NAME] or "photos"
