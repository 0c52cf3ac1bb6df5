"""Protocols: which images are the references of the k-NN, and which are its queries."""

from dataclasses import dataclass
from typing import Literal, get_args

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
    selection : Images or None
        Further queries, which decide what a block hands over; None where nothing asks them.
    """

    references: Images
    queries: Images | None
    selection: Images | None = None


def split(
    protocol: Protocol,
    dataset: Dataset,
    validation_fraction: float = 0.2,
    seed: int = 0,
    selection_fraction: float | None = None,
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
        Of the held-out parts.
    selection_fraction : float, optional
        Part of the training images held out as selection queries, under every protocol: they are
        neither references nor queries of the fitness, and the baseline does not see them. By
        default there are none.

    Raises
    ------
    InputError
        An unknown protocol or a fraction that leaves a role without images of every class.
    """
    if protocol not in get_args(Protocol):
        raise InputError(f"protocol={protocol!r} is unknown: choose one of {get_args(Protocol)}.")
    train, n_classes = dataset.train, len(dataset.classes)
    selection = None
    if selection_fraction is not None:
        train, selection = _hold_out(
            train, "selection_fraction", selection_fraction, n_classes, seed
        )
    if protocol == "leave_one_out":
        return Split(train, None, selection)
    if protocol == "test":
        return Split(train, dataset.read_test(), selection)
    references, queries = _hold_out(
        train, "validation_fraction", validation_fraction, n_classes, seed
    )
    return Split(references, queries, selection)


def _hold_out(
    images: Images, name: str, fraction: float, n_classes: int, seed: int
) -> tuple[Images, Images]:
    """Divide images into those that are left and a stratified part."""
    n_held_out = round(fraction * len(images)) if 0 < fraction < 1 else 0
    if not n_classes <= n_held_out <= len(images) - n_classes:
        raise InputError(
            f"{name}={fraction} of {len(images)} training images leaves too "
            f"few for {n_classes} classes: choose a fraction nearer to 0.2, or more images."
        )
    # Here, not above: it takes seconds, and leave-one-out holds nothing out.
    from sklearn.model_selection import train_test_split

    left, held_out = train_test_split(
        range(len(images)), test_size=n_held_out, stratify=images.labels, random_state=seed
    )
    return images[sorted(left)], images[sorted(held_out)]
