"""Read what classifies from a file, whichever it is."""

import os
from pathlib import Path

from slicing import tensor_file
from slicing.adaptive import stored_system
from slicing.adaptive.system import System
from slicing.engine.engine import Engine


def load(path: str | os.PathLike[str]) -> Engine | System:
    """Read the file of an engine or of a system; nothing in it is executed.

    Raises
    ------
    InputError
        Where it is neither.
    """
    is_system = tensor_file.holds(Path(path), stored_system.KIND)
    return System.load(path) if is_system else Engine.load(path)
