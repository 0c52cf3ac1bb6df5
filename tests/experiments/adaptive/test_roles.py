import numpy as np
import pytest

from experiments.adaptive.roles import Roles
from slicing.data.dataset import Dataset, Images
from slicing.errors import InputError


def dataset(n, copies):
    """Images of two classes, each ``copies`` times, all of them held out but some."""
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.random((n, 3, 3, 1), np.float32), copies, axis=0)
    labels = np.repeat(np.arange(n) % 2, copies)
    images = Images(pixels, labels, groups=np.repeat(np.arange(n), copies))
    return Dataset("copies", ("a", "b"), images, lambda: images, calibration=images)


def test_of_copies_one_certifies():
    roles = Roles.of(dataset(200, 5), 0.5, 0)
    assert len(roles.certify) == len(np.unique(roles.certify.groups))
    assert 90 <= len(roles.certify) <= 110
    # All of them may choose, and none of these certifies.
    assert len(roles.select) > 400
    assert not set(roles.select.groups) & set(roles.certify.groups)


def test_too_few_that_are_no_copies_are_refused():
    with pytest.raises(InputError, match="of the images held out to certify are no copies"):
        Roles.of(dataset(40, 5), 0.5, 0)
