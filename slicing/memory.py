"""The memory that there is, and whether it suffices."""

import os
from collections.abc import Iterator
from pathlib import Path

from slicing.checks import positive
from slicing.errors import InputError

_GROUPS = Path("/sys/fs/cgroup")

_bound: float | None = None


class TooLargeError(InputError):
    """Something needs more memory than there is, or than it may take; it is not damaged."""


def set_bound(max_gigabytes: float | None) -> None:
    """Let this process take less memory than there is, in all that :func:`demand` is asked for.

    Parameters
    ----------
    max_gigabytes : float or None
        None: what there is.

    Raises
    ------
    InputError
        For a number that is not above 0.
    """
    global _bound
    positive("max_gigabytes", max_gigabytes)
    _bound = max_gigabytes


def demand(needed: int, what: str, way_out: str, option: str | None = None) -> str:
    """Say how much memory something needs, of how much that is free, before it is taken.

    Parameters
    ----------
    needed : int
        Bytes that it needs at least.
    what : str
        Subject and verb of the error: ``The features of the images take``.
    way_out : str
    option : str, optional
        That the error is about.

    Raises
    ------
    TooLargeError
        Where even the whole memory, or its bound, is less.
    """
    free, whole = available()
    if needed > whole:
        there = f"there are {_size(whole)}"
        if _bound is not None and whole == int(_bound * 1e9):
            there, way_out = f"max_gigabytes is {_bound:g}", f"{way_out}, or raise that"
        sentence = f"{what} at least {_size(needed)} of memory, and {there}: {way_out}."
        raise TooLargeError(sentence, option)
    return f"at least {_size(needed)} of memory, {_size(free)} of {_size(whole)} are free"


def resident() -> int:
    """Give the bytes of memory that this process has now; 0 where the system does not say."""
    own = Path("/proc/self/statm")
    return int(own.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if own.exists() else 0


def available() -> tuple[int, int]:
    """Give the bytes of memory that are free, and that there are: for this process, if it has less.

    Containers and cluster jobs have less than their machine (Linux's control groups).
    """
    page = os.sysconf("SC_PAGE_SIZE")
    whole = page * os.sysconf("SC_PHYS_PAGES")
    free = whole
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        free = 1024 * int(lines["MemAvailable"].split()[0])
    for limit, used in _limits():
        whole, free = min(whole, limit), min(free, limit - used)
    if _bound is not None:
        whole, free = min(whole, int(_bound * 1e9)), min(free, int(_bound * 1e9))
    return max(free, 0), whole


def _limits() -> Iterator[tuple[int, int]]:
    """Give the limits of this process's control groups, and how much of each is used."""
    own = Path("/proc/self/cgroup")
    for line in own.read_text().splitlines() if own.exists() else ():
        _, controllers, name = line.split(":", 2)
        root, limit, used = _GROUPS, "memory.max", "memory.current"
        if controllers == "memory":
            root, limit, used = root / controllers, "memory.limit_in_bytes", "memory.usage_in_bytes"
        elif controllers:
            continue
        group = root / name.lstrip("/")
        # In a container, the name may be that outside, and the group is the root.
        for folder in (group, *group.parents):
            if folder == root or root in folder.parents:
                try:
                    yield int((folder / limit).read_text()), int((folder / used).read_text())
                except (OSError, ValueError):
                    continue  # no limit here


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{max(n_bytes // 10**6, 1)} MB"
