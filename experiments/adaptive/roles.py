"""Which images make, choose, certify and test a system: no image has two of these roles."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicing.checks import between
from slicing.data.dataset import Dataset, Part
from slicing.data.sampling import held_out
from slicing.engine.engine import Engine
from slicing.errors import InputError

# Images of a role, at least.
_LEAST = 50
# Images that are prepared at a time.
_CHUNK = 256


@dataclass(frozen=True)
class Roles:
    """The images, by what they are for.

    Attributes
    ----------
    train, select, certify : Part
    read_test : callable
        Reads the test images.
    """

    train: Part
    select: Part
    certify: Part
    read_test: Callable[[], Part]

    @classmethod
    def of(cls, dataset: Dataset[Any], certify_fraction: float, seed: int) -> "Roles":
        """Divide the images that are held out for calibration.

        Of copies, one certifies: a bound counts independent images.

        Raises
        ------
        InputError
            Where they are too few.
        """
        between("certify_fraction", certify_fraction, 0.1, 0.9)
        calibration = dataset.calibration
        n = 0 if calibration is None else len(calibration)
        n_certify = round(certify_fraction * n)
        if calibration is None or min(n_certify, n - n_certify) < _LEAST:
            raise InputError(
                f"{n:,} images are held out to choose and to certify, and each takes {_LEAST:,}: "
                "give more images, or a larger data.calibration_fraction."
            )
        groups = calibration.groups
        select, certify = held_out(calibration.labels, n_certify, seed, groups)
        if groups is not None:
            certify = certify[np.sort(np.unique(groups[certify], return_index=True)[1])]
            if len(certify) < _LEAST:
                raise InputError(
                    f"{len(certify):,} of the images held out to certify are no copies of others, "
                    f"and {_LEAST:,} are needed: give more images, or a larger "
                    "data.calibration_fraction."
                )
        return cls(
            dataset.train,
            calibration[select],
            calibration[certify],
            dataset.read_test_all or dataset.read_test,
        )

    @property
    def sizes(self) -> dict[str, int]:
        """Images of each role but the test, which is not read for it."""
        return {name: len(getattr(self, name)) for name in ("train", "select", "certify")}


def pixels_of(part: Part, engine: Engine) -> NDArray[Any]:
    """Give the images of a part as an engine takes them.

    Returns
    -------
    ndarray of shape (n, height, width, channels), uint8 or float32
    """
    if engine.preparation is None and hasattr(part, "images"):
        images: NDArray[np.float32] = part.images
        return images
    preparation = engine.for_files()
    chunks = [
        part[start : start + _CHUNK].prepared(preparation) for start in range(0, len(part), _CHUNK)
    ]
    return np.concatenate(chunks)
