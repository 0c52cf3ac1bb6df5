"""Answers to photos, by the engines of jobs: one at a time, in a thread that keeps the last few."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from experiments.predict import predict
from slicing.adaptive import System, load
from slicing.data.image_file import UnreadableImageError
from slicing.engine.engine import Engine
from slicing.errors import InputError

MEGAPIXELS = 50.0
"""Pixels of a photo, in millions, above which it is not decoded."""

# Engines in memory, and photos that are looked at at a time.
_KEPT, _BATCH = 4, 16
# Of the distance to the last neighbor, what rounding makes of none.
_EQUAL = 1e-4


@dataclass(frozen=True)
class Neighbor:
    """A reference that voted: its class, how far it is from the photo, and its number."""

    label: str
    distance: float
    reference: int


@dataclass(frozen=True)
class Answer:
    """The answer to a photo.

    Attributes
    ----------
    label : str
        The class.
    confidence : float or None
        How likely that is right; None: the engine gives none, or it is an outlier.
    is_outlier : bool or None
        Whether the photo is unlike all that the engine has learned from; None: it does not know.
    shares : dict of str to float
        Each class's share of the votes.
    neighbors : tuple of Neighbor
        Those that voted, the nearest first; none where several engines are one.
    milliseconds : float
        That the answer took, from the file on.
    """

    label: str
    confidence: float | None
    is_outlier: bool | None
    shares: dict[str, float]
    neighbors: tuple[Neighbor, ...]
    milliseconds: float


class Predictions:
    """Classifies photos with engines, of which it keeps the last few."""

    def __init__(self) -> None:
        # One thread: parallel loops of two would wait for each other.
        self._thread = ThreadPoolExecutor(1)

    def answer(self, engine: Path, photos: Sequence[Path]) -> list[Answer]:
        """Classify photos; it blocks.

        Raises
        ------
        UnreadableImageError
        InputError
        """
        return self._thread.submit(_answers, engine, tuple(photos)).result()

    def references(self, engine: Path, photos: Sequence[Path]) -> dict[int, int]:
        """Find out which photos the references of an engine are; it blocks.

        Returns
        -------
        dict of int to int
            Places in ``photos`` by the numbers of references. Those of other photos, and those that
            were made, such as mirrored ones, are missing.
        """
        found = dict[int, int]()
        for begin in range(0, len(photos), _BATCH):
            # One batch after the other: answers come between.
            some = tuple(photos[begin : begin + _BATCH])
            for place, references in enumerate(self._thread.submit(_same, engine, some).result()):
                found |= dict.fromkeys(references, begin + place)
        return found

    def teach(self, engine: Path, name: str, photos: Sequence[Path], taught: Path) -> None:
        """Write an engine that knows a class more, from a few photos of it; it blocks.

        Raises
        ------
        UnreadableImageError
        InputError
        """
        self._thread.submit(_teach, engine, name, tuple(photos), taught).result()


def _answers(path: Path, photos: tuple[Path, ...]) -> list[Answer]:
    engine = _loaded(path, path.stat().st_mtime_ns)
    answers = []
    for photo in photos:
        begun = time.perf_counter()
        [found] = predict(engine, [photo], max_megapixels=MEGAPIXELS)
        took = 1000 * (time.perf_counter() - begun)
        shares = dict(zip(engine.classes, found.shares.tolist(), strict=True))
        answers.append(
            Answer(
                found.name,
                found.confidence,
                found.is_outlier,
                shares,
                _neighbors(engine, photo),
                took,
            )
        )
    return answers


def _neighbors(engine: Engine | System, photo: Path) -> tuple[Neighbor, ...]:
    if not isinstance(engine, Engine):
        return ()
    pixels = engine.for_files(MEGAPIXELS).of_file(photo, MEGAPIXELS)
    [distances], [indices] = engine.kneighbors(pixels[None])
    return tuple(
        Neighbor(engine.classes[engine.labels[index]], float(distance), int(index))
        for distance, index in zip(distances, indices, strict=True)
    )


def _same(path: Path, photos: tuple[Path, ...]) -> list[list[int]]:
    """List, for each photo, the references that it is."""
    engine = _loaded(path, path.stat().st_mtime_ns)
    if not isinstance(engine, Engine):
        return []
    preparation, found = engine.for_files(MEGAPIXELS), list[list[int]]()
    for photo in photos:
        try:
            pixels = preparation.of_file(photo, MEGAPIXELS)
        except UnreadableImageError:
            found.append([])
            continue
        [distances], [indices] = engine.kneighbors(pixels[None])
        found.append(indices[distances <= _EQUAL * distances[-1]].tolist())
    return found


def _teach(path: Path, name: str, photos: tuple[Path, ...], taught: Path) -> None:
    engine = _loaded(path, path.stat().st_mtime_ns)
    if not isinstance(engine, Engine):
        raise InputError("Several engines as one learn no class: teach the engine of a study.")
    preparation = engine.for_files(MEGAPIXELS)
    pixels = np.stack([preparation.of_file(each, MEGAPIXELS) for each in photos])
    engine.add_class(pixels, name).save(taught)


@lru_cache(_KEPT)
def _loaded(path: Path, changed: int) -> Engine | System:
    """Read an engine, once for each state of its file."""
    return load(path)
