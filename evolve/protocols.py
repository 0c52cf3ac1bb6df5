"""Protocols: which images are the references of the k-NN, and which are its queries."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evolve.roles import Roles
from slicing.data.dataset import Dataset, Images
from slicing.data.sampling import held_out
from slicing.errors import InputError


@dataclass(frozen=True, eq=False)
class Split:
    """The images that a fitness sees.

    Attributes
    ----------
    references : Images
        The references; the baseline is trained on these alone.
    queries : Images or None
        The queries; None where every reference is a query against the others (leave-one-out).
    protocol : str
        Name of the protocol.
    leaks : bool
        Whether the test images are among them: the test accuracy then flatters the network.
    """

    references: Images
    queries: Images | None
    protocol: str = "own"
    leaks: bool = False

    @property
    def roles(self) -> Roles:
        """The roles of the images in :meth:`stacked`."""
        n_references = len(self.references)
        if self.queries is None:
            return Roles(n_references, n_references, leave_one_out=True)
        return Roles(n_references, len(self.queries), leave_one_out=False)

    def stacked(self) -> tuple[NDArray[np.float32], NDArray[np.int64], Roles]:
        """Put references and queries into one array.

        Returns
        -------
        images : ndarray of shape (n_images, height, width, channels), float32
        labels : ndarray of shape (n_images,), int64
        roles : Roles
        """
        if self.queries is None:
            return self.references.images, self.references.labels, self.roles
        parts = (self.references, self.queries)
        images = np.concatenate([part.images for part in parts])
        return images, np.concatenate([part.labels for part in parts]), self.roles


def leave_one_out(dataset: Dataset[Images], seed: int = 0) -> Split:
    """Compare each training image with all others.

    Parameters
    ----------
    dataset : Dataset
    seed : int
        Not used: nothing is drawn.
    """
    return Split(dataset.train, None, "leave_one_out")


def validation(dataset: Dataset[Images], seed: int = 0, fraction: float = 0.2) -> Split:
    """Hold out a stratified part of the training images: it queries the rest.

    Copies of an image stay on one side.

    Parameters
    ----------
    dataset : Dataset
    seed : int
        Of the part.
    fraction : float
        Size of the part.

    Raises
    ------
    InputError
        For a fraction that leaves too few references or queries for every class.
    """
    train, n_classes = dataset.train, len(dataset.classes)
    n_held_out = round(fraction * len(train)) if 0 < fraction < 1 else 0
    if not n_classes <= n_held_out <= len(train) - n_classes:
        raise InputError(
            f"fraction={fraction} of {len(train)} training images leaves too few for {n_classes} "
            "classes: choose a fraction nearer to 0.2, or more images.",
            "fraction",
        )
    if train.groups is not None and len(np.unique(train.groups)) < len(train):
        left, queries = held_out(train.labels, n_held_out, seed, train.groups)
        return Split(train[left], train[queries], "validation")
    # Here, not above: it takes seconds, and the other protocols hold nothing out.
    from sklearn.model_selection import train_test_split

    left, queries = train_test_split(
        range(len(train)), test_size=n_held_out, stratify=train.labels, random_state=seed
    )
    return Split(train[sorted(left)], train[sorted(queries)], "validation")


def test_set(dataset: Dataset[Images], seed: int = 0) -> Split:  # noqa: PT028
    """Compare the test images with the training images, as the slides most likely did.

    It LEAKS: the network is chosen on the test images, and its test accuracy flatters it.

    Parameters
    ----------
    dataset : Dataset
    seed : int
        Not used: nothing is drawn.
    """
    return Split(dataset.train, dataset.read_test(), "test", leaks=True)


# Not a test of pytest's.
test_set.__test__ = False  # type: ignore[attr-defined]
