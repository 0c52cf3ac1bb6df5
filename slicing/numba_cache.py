"""A place for what numba compiles, also where it finds none by itself.

Numba keeps compiled functions beside their source or among the user's caches. Where it can write
to neither (a read-only installation, a container's user without a home), it would not even define
them.
"""

import atexit
import os
import shutil
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path


def find_place() -> None:
    """Set NUMBA_CACHE_DIR to a temporary folder of the user, where numba would find no place."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given and _is_writable(Path(given)):
        return
    if _is_writable(Path(__file__).parent / "__pycache__"):
        return
    # Here, not above: mostly it is not needed.
    from platformdirs import user_cache_path

    if _is_writable(user_cache_path("numba", appauthor=False)):
        return
    # For numba, and for the processes that this one starts.
    os.environ["NUMBA_CACHE_DIR"] = str(_temporary())
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = os.environ["NUMBA_CACHE_DIR"]


def _is_writable(folder: Path) -> bool:
    """Whether a folder is there, or can be made, and takes files; it is tried, as numba does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _temporary() -> Path:
    """Make a folder for this user alone: numba executes what it finds there."""
    folder = Path(tempfile.gettempdir()) / f"knn-slicing-{os.getuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid == os.getuid() and found.st_mode == stat.S_IFDIR | 0o700:
            return folder
    # Somebody else has made it.
    folder = Path(tempfile.mkdtemp(prefix="knn-slicing-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
