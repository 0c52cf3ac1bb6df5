"""Read a user's own images, from folders, tables and archives."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from slicing.checks import at_least, between, positive
from slicing.data.archive import MAX_GIGABYTES
from slicing.data.dataset import Dataset, Images
from slicing.data.duplicates import RADIUS
from slicing.data.find_photos import find_photos, require_photos
from slicing.data.image_file import (
    MAX_MEGAPIXELS,
    Fit,
    UnreadableImageError,
    has_color,
)
from slicing.data.image_files import ImageFiles
from slicing.data.listing import LISTED, Listing, some
from slicing.data.preparation import Preparation
from slicing.data.sampling import require_classes, stratified_order
from slicing.data.splitting import Prints, split
from slicing.data.survey import Survey
from slicing.errors import InputError
from slicing.memory import demand
from slicing.names import counted, shown
from slicing.show import Show, silent

log = logging.getLogger(__name__)

DEFAULT = Preparation((28, 28), 1)
"""What images become where nothing else is said. It is what MNIST's are."""


def folder(
    *,
    directory: str | os.PathLike[str],
    image_size: Sequence[int] = DEFAULT.image_size,
    channels: int = DEFAULT.channels,
    fit: Fit = DEFAULT.fit,
    max_megapixels: float = MAX_MEGAPIXELS,
    **options: Any,
) -> Dataset[Images]:
    """Load a user's own images into memory, see :func:`image_files`.

    Parameters
    ----------
    directory : path
    image_size : pair of int
        Height and width to which every image is resized, in pixels.
    channels : {1, 3}
        Gray or RGB: every image is converted. Transparent pixels become white.
    fit : {"stretch", "crop", "pad"}
        What happens to images of another shape, see :func:`~slicing.data.image_file.fitted`.
    max_megapixels, **options
        As for :func:`image_files`.

    Returns
    -------
    Dataset
        Images of shape (n, height, width, channels), named by their paths.
    """
    preparation = Preparation.of(image_size, channels, fit)
    positive("max_megapixels", max_megapixels)
    preparation.require(max_megapixels)
    files = image_files(directory=directory, max_megapixels=max_megapixels, **options)
    return read_files(files, preparation)


def read_files(
    dataset: Dataset[ImageFiles], preparation: Preparation, show: Show = silent
) -> Dataset[Images]:
    """Read the images of a dataset into memory; it notes where their color is lost.

    ``show`` is told the part of them that was read, 0 to 1, and how many files that are.
    """
    train = dataset.train
    # All are in memory at the end, in float32.
    n_read = len(train) + len(dataset.calibration or ()) + len(dataset.read_test())
    demand(
        4 * n_read * int(np.prod(preparation.shape)),
        f"image_size={list(preparation.image_size)} of {n_read:,} images takes",
        "choose a smaller one, fewer images, or a larger machine",
        "image_size",
    )
    read = dataset.map(lambda part: part.read(preparation, show))
    first = train.paths[np.unique(train.labels, return_index=True)[1]]
    if preparation.channels == 1 and any(has_color(each, train.max_megapixels) for each in first):
        return replace(read, notes=(*read.notes, "Color is dropped: channels=3 keeps it."))
    return read


def image_files(
    *,
    directory: str | os.PathLike[str],
    test_directory: str | os.PathLike[str] | None = None,
    test_fraction: float = 0.2,
    train_size: int | None = None,
    test_size: int | None = None,
    max_unreadable: int = 0,
    max_megapixels: float = MAX_MEGAPIXELS,
    max_gigabytes: float = MAX_GIGABYTES,
    duplicate_radius: int | None = RADIUS,
    seed: int = 0,
    show: Show = silent,
) -> Dataset[ImageFiles]:
    """List a user's own images, see :mod:`slicing.data.image_file`.

    Hidden files, what systems leave beside images, and text are passed over.

    Parameters
    ----------
    directory : path
        What :func:`slicing.data.find_photos.find_photos` takes: a folder for each class; these in
        ``train``, ``val`` and ``test``; a table of paths and labels; an archive. The test images
        are those of ``test``, else of ``val``; beside ``test``, those of ``val`` are training
        images.
    test_directory : path, optional
        The same for the test images, where they are not in ``directory``.
    test_fraction : float
        Share of the images that are test images, between 0 and 1, where they are not apart. The
        split is by file, stratified and depends on the file names and the seed, and on which files
        are copies.
    train_size, test_size : int, optional
        At most so many training and test images: stratified samples. Default: all.
    max_unreadable : int
        So many files may be left out because they are damaged, too large or no images.
    max_megapixels : float
        Pixels of an image, in millions, above which it is not decoded.
    max_gigabytes : float
        What an archive may unpack to, in thousands of millions of bytes.
    duplicate_radius : int or None
        Copies stay on one side of every split: images whose hashes differ in at most so many of 64
        bits and that look the same, see :func:`~slicing.data.duplicates.copies`. With None, files
        are split as if there were none.
    seed : int
        Seed of the split and the samples, 0 to 2**32 - 1.
    show : callable, optional
        Is told the part of the files that were read, 0 to 1, and how many.

    Returns
    -------
    Dataset
        Of image files that are not kept in memory. All that were asked for are decoded once, to
        find those that are damaged.

    Raises
    ------
    InputError
        If the directory or a class is missing, empty or too small, more files than allowed cannot
        be read, or an option is out of range.
    """
    at_least("train_size", train_size, 1)
    at_least("test_size", test_size, 1)
    at_least("max_unreadable", max_unreadable, 0)
    positive("max_megapixels", max_megapixels)
    positive("max_gigabytes", max_gigabytes)
    if duplicate_radius is not None:
        between("duplicate_radius", duplicate_radius, 0, 64)
    if test_directory is not None:
        # Before those of the other are opened.
        require_photos("test_directory", test_directory)
    photos = find_photos("directory", directory, max_megapixels, max_gigabytes)
    if test_directory is not None:
        if photos.test is not None:
            raise InputError(
                f"test_directory={test_directory} is given, and {photos.root} holds test images, "
                f"too, those of {some(photos.test.sources)}: leave one of them out.",
                "test_directory",
            )
        given = find_photos("test_directory", test_directory, max_megapixels, max_gigabytes)
        photos = replace(photos, test=given.everything())
    root, (known, apart) = photos.root, photos.roles()
    if not known.sources:
        raise InputError(
            f"{root} holds test images alone, those of {some(apart.sources)}: give training "
            "images, too, or call these train to have them split."
        )
    classes = _require_classes(root, known, apart)
    files, unreadable = known.files + apart.files, known.unreadable + apart.unreadable
    n_listed = len(files) + len(unreadable)
    labels = np.array([classes.index(name) for name in known.classes + apart.classes], np.int64)

    prints = Prints(files, max_megapixels, show)
    if apart.sources:
        order = stratified_order(labels[: len(known.files)], seed)
        train = order[:train_size]
        test = (len(order) + stratified_order(labels[len(order) :], seed))[:test_size]
        prints.take(np.concatenate([train, test]))
        groups = prints.groups(duplicate_radius)
    else:
        n_test = round(test_fraction * len(files))
        _require_split(root, test_fraction, n_test, len(files), len(classes))
        train, test, groups = split(
            labels, n_test, seed, prints, duplicate_radius, train_size, test_size
        )
    unreadable += prints.unreadable.values()
    _require_readable(unreadable, n_listed, max_unreadable)
    # Whether they can be read is known before hours of work, and which are copies of others; of the
    # test images, nothing else is learned.
    train, test = (
        np.array([index for index in part if index in prints.taken], np.intp)
        for part in (train, test)
    )
    if not len(test):
        raise InputError(f"{some(apart.sources)} holds no test images: name another folder.")
    n_copies = 0 if apart.sources else len(files) - len(np.unique(groups))
    way_out = "choose a smaller test_fraction or a larger train_size"
    if n_copies:
        way_out += ", or duplicate_radius=null, which lets copies be on both sides"
    require_classes(labels[train], np.arange(len(classes)), classes, root, way_out)
    notes = [
        *_on_parts(directory, known, apart),
        *_on_files(known.passed_over + apart.passed_over, unreadable),
    ]
    if n_copies:
        notes.append(
            f"Copies of others: {counted(n_copies, 'file')}. Copies are on one side of the split."
        )
    listed = ImageFiles(
        np.array(files, object),
        labels,
        np.array(
            [f"{classes[i]}/{shown(each.name)}" for each, i in zip(files, labels, strict=True)]
        ),
        prints.contents,
        max_megapixels,
        None if duplicate_radius is None else groups,
    )
    chosen = np.concatenate([train, test])
    survey = Survey(
        tuple(files[index] for index in chosen),
        labels[chosen],
        classes,
        np.arange(len(chosen)) >= len(train),
        tuple(prints.taken[index] for index in chosen),
        {error.path: error.reason for error in unreadable},
        tuple(known.passed_over + apart.passed_over),
        None if listed.groups is None else listed.groups[chosen],
    )
    return Dataset(
        photos.name,
        classes,
        listed[train],
        lambda: listed[test],
        notes=tuple(notes),
        survey=survey,
    )


def _require_classes(root: Path, known: Listing, apart: Listing) -> tuple[str, ...]:
    """Give the names of the classes, in their order."""
    classes = tuple(sorted(known.places))
    if len(classes) < 2:
        raise InputError(
            f"{root} holds {counted(len(classes), 'class')}: give it at least two, each in its "
            "folder."
        )
    for name, place in known.places.items():
        # Where test images are apart, a class may have its training images in several folders.
        if known.counts[name] < 2 and not apart.sources:
            raise InputError(
                f"{place} holds {counted(known.counts[name], 'image')} of the class {name}: it "
                "needs at least two, one to train and one to test."
            )
    for name, place in apart.places.items():
        if name not in classes:
            raise InputError(
                f"{place} holds test images of the class {name}, which has no training images: the "
                f"classes are {', '.join(classes)}."
            )
    return classes


def _require_split(root: Path, test_fraction: float, n_test: int, n: int, n_classes: int) -> None:
    if not n_classes <= n_test <= n - n_classes:
        raise InputError(
            f"test_fraction={test_fraction} makes {n_test} of the {n} images of {root} test "
            f"images: choose one that leaves each of the {n_classes} classes at least one on "
            f"either side.",
            "test_fraction",
        )


def _require_readable(unreadable: Sequence[UnreadableImageError], n: int, most: int) -> None:
    for error in unreadable:
        log.info("%s", error)
    if len(unreadable) > most:
        paths = dict[str, list[Path]]()
        for error in sorted(unreadable, key=lambda error: error.path):
            paths.setdefault(error.reason, []).append(error.path)
        reasons = " and ".join(f"{some(paths[each], LISTED)} ({each})" for each in paths)
        raise InputError(
            f"{len(unreadable):,} of {n:,} files cannot be read as images, {reasons}: give intact "
            f"copies, or max_unreadable={len(unreadable)} to leave them out.",
            "max_unreadable",
        )


def _on_parts(given: str | os.PathLike[str], train: Listing, test: Listing) -> list[str]:
    if test.sources:
        return [
            f"Training images are those of {some(train.sources)}, test images those of "
            f"{some(test.sources)}."
        ]
    if train.sources != [str(Path(given).expanduser())]:
        return [f"Images are those of {some(train.sources)}."]
    return []


def _on_files(
    passed_over: Sequence[Path], unreadable: Sequence[UnreadableImageError]
) -> Iterator[str]:
    for what, paths in (
        ("passed over: no images", passed_over),
        ("left out: they cannot be read as images", [error.path for error in unreadable]),
    ):
        if paths:
            log.info("Files %s: %s", what, ", ".join(map(shown, paths)))
            yield f"{counted(len(paths), 'file')} {what} ({some(path.name for path in paths)})."
