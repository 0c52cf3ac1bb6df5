"""The memory that a run needs at least, and the memory that there is."""

import os
from collections.abc import Iterator
from pathlib import Path

from slicing.errors import InputError

_GROUPS = Path("/sys/fs/cgroup")


def demand(needed: int) -> str:
    """Say how much memory a run needs, of how much that is free.

    Parameters
    ----------
    needed : int
        Bytes that it needs at least.

    Raises
    ------
    InputError
        Where even the whole memory is less.
    """
    free, whole = available()
    if needed > whole:
        raise InputError(
            f"The features of the images take at least {_size(needed)} of memory, and there are "
            f"{_size(whole)}: take fewer images (data.train_size), a network with fewer or smaller "
            "feature maps, or a larger machine."
        )
    return f"at least {_size(needed)} of memory, {_size(free)} of {_size(whole)} are free"


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
