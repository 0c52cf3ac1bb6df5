"""Whether pixels lie in a range, in one compiled call."""

from numba import njit


@njit(cache=True)
def lie_between(pixels, low, high):  # type: ignore[no-untyped-def]
    """Whether all of an array of shape (n,) do: for one image, what numpy sets up takes longer.

    A NaN lies nowhere.
    """
    do = True
    for value in pixels:
        do &= value >= low and value <= high
    return do
