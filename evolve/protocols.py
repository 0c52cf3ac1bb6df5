"""Protocols: which images are the references of the k-NN, and which are its queries."""

from dataclasses import dataclass
from typing import Literal, get_args

from sklearn.model_selection import train_test_split

from slicing.data.dataset import Dataset, Images
from slicing.errors import InputError

Protocol = Literal["leave_one_out", "validation", "test"]


@dataclass(frozen=True, eq=False)
class Split:
    """The images that a fitness sees.

    Attributes
    ----------
    references : Images
        The references; the baseline is trained on them alone.
    queries : Images or None
        The queries; None where every reference is a query against the others (leave-one-out).
    """

    references: Images
    queries: Images | None


def split(
    protocol: Protocol, dataset: Dataset, validation_fraction: float = 0.2, seed: int = 0
) -> Split:
    """Give the images of a dataset their roles.

    Parameters
    ----------
    protocol : {"leave_one_out", "validation", "test"}
        ``leave_one_out``: each training image against all others. ``validation``: a stratified
        part of the training images is held out, from the baseline too, and queries the rest.
        ``test``: the test images query the training images, as the slides most likely did; what is
        chosen so has seen the test images, and its test accuracy flatters it.
    dataset : Dataset
    validation_fraction : float
        Part of the training images held out under ``validation``.
    seed : int
        Of the held-out part.

    Raises
    ------
    InputError
        An unknown protocol or a fraction that leaves a role without images of every class.
    """
    if protocol not in get_args(Protocol):
        raise InputError(f"protocol={protocol!r} is unknown: choose one of {get_args(Protocol)}.")
    train = dataset.train
    if protocol == "leave_one_out":
        return Split(train, None)
    if protocol == "test":
        return Split(train, dataset.read_test())
    n_queries = round(validation_fraction * len(train)) if 0 < validation_fraction < 1 else 0
    n_classes = len(dataset.classes)
    if not n_classes <= n_queries <= len(train) - n_classes:
        raise InputError(
            f"validation_fraction={validation_fraction} of {len(train)} training images leaves too "
            f"few for {n_classes} classes: choose a fraction nearer to 0.2, or more images."
        )
    references, queries = train_test_split(
        range(len(train)), test_size=n_queries, stratify=train.labels, random_state=seed
    )
    return Split(train[sorted(references)], train[sorted(queries)])
