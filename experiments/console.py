"""Print lines, fall silent once the reader has closed the pipe, and end a program."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from slicing.errors import InputError
from slicing.names import shown

MISTAKE, INTERRUPTED = 2, 130
"""Exit codes: for a mistake that the user can correct, and for Ctrl-C."""


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line.

    Parameters
    ----------
    text : str
        Names of files and classes in it cannot steer the terminal: it is :func:`shown`.
    stream : text stream, optional
        Standard error by default. Once its reader has gone, it is silent: Ctrl-C ends what a run
        is piped into (``| tee log``) before the run itself.
    """
    stream = sys.stderr if stream is None else stream
    try:
        print(shown(text, keep="\n"), file=stream, flush=True)
    except BrokenPipeError:
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, stream.fileno())
        os.close(nobody)


def no_access(error: OSError) -> str:
    """Say in a sentence which file the system refuses, and why."""
    what = error.filename or "A file"
    return f"{what} cannot be read or written: {error.strerror or error}."


Sentences = Mapping[type[BaseException], Callable[[Any], str | None]]
"""Maps an exception type to the function that words it; "" prints nothing, None raises it again."""

_SENTENCES: Sentences = {InputError: str, OSError: no_access, KeyboardInterrupt: lambda error: ""}


@contextmanager
def exit_on_mistake(more: Sentences | None = None) -> Iterator[None]:
    """End the program on an exception that a user can correct, or on Ctrl-C.

    It prints one sentence on standard error, without a traceback, and exits with 2, or 130 for
    Ctrl-C. It serves as a decorator, too.

    Parameters
    ----------
    more : mapping of exception types to callables, optional
        Sentences for more exception types, or other ones for the usual; the most specific type
        wins.
    """
    sentences = {**_SENTENCES, **(more or {})}
    try:
        yield
    except tuple(sentences) as error:
        kind = next(kind for kind in type(error).__mro__ if kind in sentences)
        sentence = sentences[kind](error)
        if sentence is None:
            raise
        if sentence:
            say(sentence)
        sys.exit(INTERRUPTED if isinstance(error, KeyboardInterrupt) else MISTAKE)
