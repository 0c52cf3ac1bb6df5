"""Lines for whoever looks on, as long as there is somebody."""

import os
import sys
from typing import TextIO


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line.

    Parameters
    ----------
    text : str
    stream : text stream, optional
        Standard error by default. Where nobody reads it any more, it is silent from now on: Ctrl-C
        ends what a run is piped into (``| tee log``) before the run itself.
    """
    stream = sys.stderr if stream is None else stream
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, stream.fileno())
        os.close(nobody)


def no_access(error: OSError) -> str:
    """Say in a sentence which file the system refuses, and why."""
    what = error.filename or "A file"
    return f"{what} cannot be read or written: {error.strerror or error}."
