"""What a pretrained network refuses before anything is read."""

import pytest

from slicing import memory
from slicing.backbones.named import named
from slicing.baselines import Pretrained
from slicing.errors import InputError


@pytest.mark.parametrize(
    ("given", "option", "sentence"),
    [
        ({"pixels": (0, 255)}, "pixels", "is for path=..., a network of one's own"),
        # None of these files is there: what is wrong with the options comes first.
        ({"path": "mine.keras", "pixels": (0, 0)}, "pixels", "is no range"),
        ({"path": "mine.keras", "image_size": (64, 64)}, "image_size", "is not possible with path"),
        ({"path": "mine.keras", "weights": "w.h5"}, "weights", "is not possible with path"),
        ({"weights": "w.h5"}, "weights", "is not possible with efficientnet_lite0"),
        ({"name": "MobileNet", "weights": "w.h5"}, "weights", "cannot be read"),
    ],
)
def test_options_that_do_not_fit_are_refused(given, option, sentence):
    with pytest.raises(InputError) as caught:
        Pretrained(**given)
    assert caught.value.option == option
    assert sentence in str(caught.value)


def test_a_file_of_weights_that_does_not_fit_into_memory_is_not_read(tmp_path):
    path = tmp_path / "w_notop.h5"
    with path.open("wb") as file:
        file.write(b"\x89HDF\r\n\x1a\n")
        file.truncate(10**12)  # it takes no room on the disk
    memory.set_bound(1)
    try:
        for make in (Pretrained, named):
            with pytest.raises(memory.TooLargeError, match=r"takes at least 1,?000.* of memory"):
                make(name="VGG16", weights=path)
    finally:
        memory.set_bound(None)
