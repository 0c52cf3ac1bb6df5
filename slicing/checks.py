"""Checks of what a caller gives: each raises an `InputError` whose sentence is written here."""

import struct
import zipfile
from collections.abc import Sequence
from difflib import get_close_matches
from math import inf, isfinite
from pathlib import Path

from slicing.errors import InputError
from slicing.files import open_regular

# Bytes to which any archive may unpack, and how many times its own size beside them.
_UNPACKED, _RATIO = 2**26, 20


def at_least(option: str, value: float | None, least: float) -> None:
    """Refuse a number below ``least`` or not finite; None passes.

    Raises
    ------
    InputError
    """
    if value is not None and not least <= value < inf:
        raise InputError(f"{option}={value} is out of range: choose {least} or more.", option)


def whole(option: str, value: object) -> None:
    """Refuse what is not of the type int: True, 1.0 and "1" among others.

    Raises
    ------
    InputError
    """
    if type(value) is not int:
        raise InputError(f"{option}={value!r} is not a whole number.", option)


def between(option: str, value: float, low: float, high: float, of: str = "") -> None:
    """Refuse a number below ``low`` or above ``high``.

    Parameters
    ----------
    option : str
    value, low, high : float
    of : str
        Words after the range.

    Raises
    ------
    InputError
    """
    if not low <= value <= high:
        after = f" {of}" if of else ""
        raise InputError(
            f"{option}={value} is out of range: choose {low} to {high}{after}.", option
        )


def check_seed(seed: int) -> None:
    """Refuse a seed that not all libraries take: 0 to 2**32 - 1.

    Raises
    ------
    InputError
    """
    between("seed", seed, 0, 2**32 - 1)


def positive(option: str, value: float | None) -> None:
    """Refuse anything but a finite number above 0; None passes.

    Raises
    ------
    InputError
    """
    if value is not None and not (value > 0 and isfinite(value)):
        raise InputError(
            f"{option}={value} is out of range: choose a finite number above 0.", option
        )


def one_of(option: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a word that is none of the choices, and name the nearest.

    Raises
    ------
    InputError
    """
    if value not in choices:
        near = get_close_matches(str(value), choices, n=1)
        way_out = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(choices)}."
        raise InputError(f"{option}={value} is unknown: {way_out}", option)


def archive(option: str, path: Path) -> int:
    """Refuse what is no whole zip archive, or unpacks to far more than its size.

    Returns
    -------
    int
        Bytes to which it unpacks.

    Raises
    ------
    InputError
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as members:
            unpacked = sum(member.file_size for member in members.infolist())
            size = file.seek(0, 2)
    except OSError as error:
        raise InputError(
            f"{option}={path} cannot be read: {error.strerror or error}.", option
        ) from error
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        raise InputError(
            f"{option}={path} is no whole zip archive: give an intact copy.", option
        ) from error
    if unpacked > _UNPACKED + _RATIO * size:
        raise InputError(
            f"{option}={path} unpacks to {unpacked / 1e9:,.1f} GB, far more than its size: give "
            "one from a source that you trust.",
            option,
        )
    return unpacked
