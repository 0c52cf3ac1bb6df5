"""Print lines, fall silent once the reader has closed the pipe, and end a program."""

import atexit
import gc
import io
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from experiments import signals
from experiments.secrets import masked
from slicing.errors import InputError
from slicing.files import naming
from slicing.names import shown

MISTAKE = 2
"""Exit code for a mistake that the user can correct."""


def printable(text: str) -> str:
    """Make a text safe for a terminal or a log: no control characters, and no passwords.

    Names of files and classes may hold anything; line feeds and tabs stay.
    """
    return masked(shown(text, keep="\n\t"))


class Formatter(logging.Formatter):
    """Formats records of the log that are safe to show."""

    def format(self, record: logging.LogRecord) -> str:
        """See :meth:`logging.Formatter.format`."""
        return printable(super().format(record))


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line, made :func:`printable`.

    Parameters
    ----------
    text : str
    stream : text stream, optional
        Standard error by default. Once nobody can be told, it is silent: Ctrl-C ends what a run
        is piped into (``| tee log``) before the run itself, a terminal is closed, a disk is full.
    """
    stream = sys.stderr if stream is None else stream
    # A stream may take fewer characters than a name has.
    encoding = stream.encoding or "utf-8"
    text = printable(text).encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(text, file=stream, flush=True)
    except OSError:
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """Let a stream write to nowhere, so that what it still holds does not fail at the exit."""
    nobody = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nobody, stream.fileno())
    os.close(nobody)


def no_access(error: OSError) -> str:
    """Say in a sentence which file the system refuses, and why."""
    # Of a copy, the second is the one that is written.
    what = error.filename2 or error.filename or _open_file(error) or "A file"
    return f"{what} cannot be read or written: {error.strerror or error}."


def _open_file(error: OSError) -> str | None:
    """Name the file that was written where an error was raised: that of a full disk names none."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        for value in frame.f_locals.values():
            if not isinstance(value, io.IOBase) or str(getattr(value, "mode", "")).startswith("r"):
                continue
            name = getattr(value, "name", None)
            if isinstance(name, str):
                return name
    return None


Sentences = Mapping[type[BaseException], Callable[[Any], str | None]]
"""Maps an exception type to the function that words it; "" prints nothing, None raises it again."""


def of_threads(error: ValueError) -> str | None:
    """Say that numba cannot start its threads, which it finds out at its first parallel loop."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    if frame.f_globals["__name__"] != "numba.np.ufunc.parallel":
        return None
    reason = " ".join(str(error).split()).rstrip(".")
    names = [name for name in sorted(os.environ) if re.match("NUMBA_(NUM_)?THREAD", name)]
    return f"Numba cannot start its threads ({reason}): unset or correct {' and '.join(names)}."


_SENTENCES: Sentences = {
    InputError: str,
    ValueError: of_threads,
    OSError: no_access,
    KeyboardInterrupt: lambda error: str(error) or "Interrupted.",
}


@contextmanager
def exit_on_mistake(more: Sentences | None = None) -> Iterator[None]:
    """End the program on an exception that a user can correct, or on a signal.

    It prints one sentence on standard error, without a traceback, and exits with 2, or with 128 and
    the number of the signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP. It serves as a
    decorator, too.

    Parameters
    ----------
    more : mapping of exception types to callables, optional
        Sentences for more exception types, or other ones for the usual; the most specific type
        wins.
    """
    # Else the end looks for cycles among all that TensorFlow, Numba and MLflow have made: seconds.
    atexit.register(gc.freeze)
    sentences = {**_SENTENCES, **(more or {})}
    kinds: tuple[type[BaseException], ...] = (*sentences, Exception)
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    try:
        with signals.heard(interrupt):
            yield
            # Here, so that a full disk is one sentence, too.
            with naming(Path("standard output")):
                sys.stdout.flush()
        signals.work_is_done()
    except kinds as error:
        if interrupted and not isinstance(error, KeyboardInterrupt):
            # Libraries raise errors of their own where Ctrl-C comes to them.
            error = KeyboardInterrupt()
        kind = next((kind for kind in type(error).__mro__ if kind in sentences), None)
        sentence = sentences[kind](error) if kind else None
        if sentence is None:
            raise
        if sentence:
            say(sentence)
        try:
            sys.stdout.flush()
        except OSError:
            _silence(sys.stdout)
        sys.exit(signals.exit_code() if isinstance(error, KeyboardInterrupt) else MISTAKE)
