"""Progress is reported by calling a function with the part that is done, and what it is."""

from collections.abc import Callable

Show = Callable[[float, str], None]
"""Takes the part that is done, 0 to 1, and what is being done."""


def silent(fraction: float, text: str) -> None:
    """Report nothing."""
