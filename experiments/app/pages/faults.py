"""What a look at the photos found, with the photos that it is about."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.app.datasets import Dataset, Photo


@dataclass(frozen=True)
class Fault:
    """Photos that deserve a look, for one reason.

    Attributes
    ----------
    title, advice : str
    photos : tuple of (Photo, str)
        Each with what is said of it.
    is_certain : bool
        Whether all of them may be left out without a look at each.
    """

    title: str
    advice: str
    photos: tuple[tuple[Photo, str], ...]
    is_certain: bool = True


def faults_of(dataset: Dataset, figures: Mapping[str, Any]) -> list[Fault]:
    """List what was found, the worst first.

    Parameters
    ----------
    dataset : Dataset
    figures : mapping of str to object
        The file ``inspect.json``, see :class:`slicing.data.quality.Quality`.
    """
    root = Path(figures["root"])
    known = {each.path: each for each in dataset.photos()}

    def found(path: str, note: str) -> Iterator[tuple[Photo, str]]:
        photo = known.get(root / path)
        if photo is not None:
            yield photo, note

    unreadable = [
        each for path, reason in figures["unreadable"].items() for each in found(path, reason)
    ]
    errors = [
        each
        for error in figures["label_errors"]
        for each in found(
            error["image"]["path"], f"is in {error['image']['label']}, rather {error['probable']}"
        )
    ]
    copies = [
        each
        for some in figures["copies"]
        if len({image["label"] for image in some["images"]}) > 1
        for image in some["images"]
        for each in found(image["path"], f"is in {image['label']}")
    ]
    all_faults = [
        Fault("Cannot be read", "These files are damaged: leave them out.", tuple(unreadable)),
        Fault(
            "The same photo in two classes",
            "It cannot be both: leave out those that are in the wrong class.",
            tuple(copies),
        ),
        Fault(
            "Perhaps in the wrong class",
            "Many of these are right: look at each, and press those that are wrong.",
            tuple(errors),
            is_certain=False,
        ),
    ]
    return [each for each in all_faults if each.photos]
