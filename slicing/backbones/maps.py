"""Maps: what a frozen backbone makes of images, computed once and kept on disk.

Each file of the cache holds the maps of some images, found by the digests of the backbone, of the
preparation and of the image, on one kind of processor, with the same versions of what decodes and
computes: another split, or more images, need only what is new. When the files exceed the limit,
those that were not used for the longest time are deleted.
"""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import platformdirs
from numpy.typing import NDArray

from slicing import tensor_file
from slicing.backbones.backbone import Backbone
from slicing.data.dataset import Images, Index, Part
from slicing.data.preparation import Preparation
from slicing.errors import InputError
from slicing.files import delete_oldest
from slicing.machine import processor, versions
from slicing.memory import demand
from slicing.pixels import Pixels, contrasts_of, unit_pixels
from slicing.show import Show, silent
from slicing.stack import Shape

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

LIMIT = 8_000_000_000
"""Bytes of all cache files of a folder."""

_KIND = "knn-slicing maps 2"
_NAME = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}\.safetensors")
_COMPUTING = "onnxruntime", "pillow"
# What the files hold that this process has read or written: their names tell. Altered images come
# in many parts, and each would read the files of all others.
_known = dict[str, list[bytes]]()
# Images that are prepared at a time: their pixels stay within so many numbers.
_CHUNK, _NUMBERS = 64, 2**25


@dataclass(frozen=True, eq=False, kw_only=True)
class Maps(Images):
    """The maps that a backbone makes of images: numbers of any range instead of pixels.

    Attributes
    ----------
    images : ndarray of shape (n, height, width, channels), float32
        The maps.
    labels, names, groups
        As of all :class:`~slicing.data.dataset.Images`.
    source : Part
        The images.
    backbone : str
        The backbone's digest.
    pixel_contrasts : ndarray of shape (n,), float64
        Of the images: see :func:`~slicing.pixels.contrasts_of`.
    scores : ndarray of shape (n, n_classes), float32, or None
        Those that the network's own head gives, where it has one.

    Raises
    ------
    InputError
        For numbers that are not finite.
    """

    source: Part = field(repr=False)
    backbone: str
    pixel_contrasts: NDArray[np.float64]
    scores: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        require_finite(self.images)

    def __getitem__(self, index: Index) -> Self:
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            names=None if self.names is None else self.names[index],
            groups=None if self.groups is None else self.groups[index],
            source=self.source[index],
            pixel_contrasts=self.pixel_contrasts[index],
            scores=None if self.scores is None else self.scores[index],
        )

    def of(self, every: Backbone, chosen: Backbone) -> Self:
        """Give the maps of some cuts, of those of more cuts of the same network.

        Parameters
        ----------
        every : Backbone
            What has made these maps.
        chosen : Backbone
            The same network with some of its cuts.
        """
        ends = np.cumsum(every.channels)
        stretches = {
            cut: np.arange(end - width, end)
            for cut, width, end in zip(every.cuts, every.channels, ends, strict=True)
        }
        channels = np.concatenate([stretches[cut] for cut in chosen.cuts])
        return replace(self, images=self.images[..., channels], backbone=chosen.digest)

    def relabeled(self, labels: NDArray[np.int64]) -> Self:
        """Give the same maps with other labels of shape (n,), int64."""
        return replace(self, labels=labels, source=self.source.relabeled(labels))

    @cached_property
    def contrasts(self) -> NDArray[np.float64]:
        """Those of the images: maps of 1 x 1 have none."""
        return self.pixel_contrasts

    @cached_property
    def contents(self) -> NDArray[np.void]:
        """SHA-256 of each image, as bytes of length 32."""
        return self.source.contents

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the backbone, the images and the labels, in hexadecimal."""
        return hashlib.sha256((self.backbone + self.source.digest).encode()).hexdigest()

    def prepared(self, preparation: Preparation) -> NDArray[np.uint8]:
        """Read the images: of shape (n, ``*preparation.shape``), uint8."""
        return self.source.prepared(preparation)

    def picture(self, index: int, side: int) -> "Image":
        """Give one image to be looked at, of at most ``side`` pixels a side."""
        return self.source.picture(index, side)


class MapsAtHand(Backbone):
    """Stands for a backbone in an engine that is given its maps instead of images."""

    @classmethod
    def of(cls, backbone: Backbone) -> "MapsAtHand":
        """Stand for ``backbone``."""
        return cls(backbone.name, backbone.graph, backbone.cuts, backbone.channels)

    @property
    def input_shape(self) -> Shape:
        """Height, width and channels of the maps."""
        return self.map_shape

    def checked(self, images: Pixels) -> NDArray[np.float32]:
        """Refuse maps that are not finite."""
        maps = np.asarray(images, np.float32)
        require_finite(maps)
        return maps

    def maps(self, images: Pixels) -> NDArray[np.float32]:
        """Give back maps of shape (n, ``*input_shape``), float32."""
        return self.checked(images)


class _Chunk(NamedTuple):
    """What a file of the cache holds of some images.

    Attributes
    ----------
    contents : list of bytes
        Their digests.
    maps : ndarray of shape (n, height, width, channels), float32
    contrasts : ndarray of shape (n,), float64
    """

    contents: list[bytes]
    maps: NDArray[np.float32]
    contrasts: NDArray[np.float64]


def through(
    backbone: Backbone,
    preparation: Preparation,
    part: Part,
    *,
    cache: Path | None = None,
    show: Show = silent,
) -> Maps:
    """Send images through a backbone, each once: what is in the cache is read from there.

    Parameters
    ----------
    backbone : Backbone
    preparation : Preparation
        How an image becomes the backbone's input.
    part : Part
    cache : Path, optional
        Folder of the cache; by default ``maps`` in the user's cache for knn-slicing.
    show : callable, optional
        Is told the part that is done, 0 to 1, and what is being done.

    Raises
    ------
    InputError
        Where the maps need more memory than there is, or are not finite.
    """
    folder = cache or platformdirs.user_cache_path("knn-slicing") / "maps"
    determinants = backbone.digest, preparation, versions(_COMPUTING), processor()
    key = hashlib.sha256(repr(determinants).encode()).hexdigest()[:32]
    demand(
        4 * len(part) * int(np.prod(backbone.map_shape)),
        f"The maps of {len(part):,} images by {backbone.name} take",
        "take fewer images or fewer cuts, or pool the maps to fewer rows and columns",
    )
    contents = [bytes(each) for each in part.contents]
    maps, contrasts = np.empty((len(part), *backbone.map_shape), np.float32), np.empty(len(part))
    rows = dict[bytes, list[int]]()
    for row, content in enumerate(contents):
        rows.setdefault(content, []).append(row)
    missing = set(rows)

    def fill(chunk: _Chunk) -> None:
        for content, each, contrast in zip(*chunk, strict=True):
            if content in missing:
                missing.remove(content)
                maps[rows[content]], contrasts[rows[content]] = each, contrast

    for chunk in _cached(folder, key, backbone.map_shape, missing):
        fill(chunk)
    # One image of equal ones, in the order in which they come.
    new = [each[0] for content, each in rows.items() if content in missing]
    size = max(1, min(_CHUNK, _NUMBERS // int(np.prod(preparation.shape))))
    for start in range(0, len(new), size):
        show(start / len(new), f"{start:,} of {len(new):,} images through {backbone.name}")
        chosen = new[start : start + size]
        images = part[chosen].prepared(preparation)
        values = backbone.maps(images)
        require_finite(values)
        chunk = _Chunk([contents[row] for row in chosen], values, contrasts_of(unit_pixels(images)))
        fill(chunk)
        _keep(folder, key, chunk)
    return Maps(
        images=maps,
        labels=part.labels,
        names=part.names,
        groups=part.groups,
        source=part,
        backbone=backbone.digest,
        pixel_contrasts=contrasts,
    )


def require_finite(maps: NDArray[np.float32]) -> None:
    """Refuse maps that are no finite numbers.

    Raises
    ------
    InputError
    """
    if not np.isfinite(maps).all():
        raise InputError(
            "The network gives maps that are not finite numbers: use another network, or another "
            "cut."
        )


def _cached(
    folder: Path, key: str, map_shape: tuple[int, ...], missing: set[bytes]
) -> Iterator[_Chunk]:
    """Read the maps of a backbone that the cache has, as long as some are missing."""
    for path in sorted(folder.glob(f"{key}-*.safetensors")):
        if missing.isdisjoint(_known.get(path.name, missing)):
            continue
        try:
            _, arrays = tensor_file.read(path, _KIND)
            contents, maps, contrasts = (arrays[name] for name in _Chunk._fields)
            n = len(contents)
            shapes = contents.shape, maps.shape, contrasts.shape
            if shapes != ((n, 32), (n, *map_shape), (n,)):
                raise InputError(f"{path} holds maps of another shape.")
            os.utime(path)  # now it is one of those that were used last
        except (InputError, LookupError, OSError) as error:
            log.warning("Cached maps are not used, they are computed again: %s", error)
            continue
        chunk = _Chunk([each.tobytes() for each in contents], maps, contrasts)
        _known[path.name] = chunk.contents
        yield chunk


def _keep(folder: Path, key: str, chunk: _Chunk) -> None:
    """Write maps into the cache; where that is impossible, log a warning and go on."""
    joined = b"".join(chunk.contents)
    path = folder / f"{key}-{hashlib.sha256(joined).hexdigest()[:32]}.safetensors"
    arrays: dict[str, NDArray[Any]] = {
        **chunk._asdict(),
        "contents": np.frombuffer(joined, np.uint8).reshape(-1, 32),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tensor_file.write(path, tensor_file.pack(_KIND, {}, arrays))
        _known[path.name] = chunk.contents
        delete_oldest(path, _NAME, LIMIT)
    except OSError as error:
        log.warning("The maps cannot be cached (%s): the next run computes them again.", error)
