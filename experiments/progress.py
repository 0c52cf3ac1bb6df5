"""Show a run on standard error: a bar on a terminal, elsewhere a line every few seconds."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from experiments.console import printable, say
from experiments.monitor import Silent
from slicing.names import shown

# Seconds between two refreshments of the bar, and between two lines where there is no terminal.
_REFRESH, _LINE = 0.1, 4.0
# Seconds between two looks at whether something was said lately.
_LOOK = 0.2
# Part of a task from which the remaining time can be estimated: its beginning compiles.
_ENOUGH = 0.01


class Terminal(Silent):
    """A monitor that prints to a stream, standard error by default.

    As a context manager it is never silent for long: where nothing new was said for
    ``line_seconds``, it repeats what is being done, and for how long. It then has a file descriptor
    of its own for standard error, since that of the process is withheld while TensorFlow starts.

    Parameters
    ----------
    stream : text stream, optional
    line_seconds : float
        Without a terminal, the steps of a task are printed at most so often.
    """

    def __init__(self, stream: TextIO | None = None, line_seconds: float = _LINE) -> None:
        self._given, self._stream = stream, stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._line_seconds = line_seconds
        self._wait = _REFRESH if self._terminal else line_seconds
        self._bar: Any = None
        # What the bar says, without a time.
        self._described = ""
        self._task = ""
        self._begun = self._shown = self._printed = 0.0
        self._done = 0.0
        # What is being done, and since when.
        self._doing, self._since = "", 0.0
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Terminal":
        if self._given is None:
            # Where a notebook or a test has put something else there, it has no descriptor.
            with suppress(OSError, ValueError, AttributeError):
                self._stream = os.fdopen(
                    os.dup(sys.stderr.fileno()), "w", errors="backslashreplace"
                )
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._stream not in (self._given, sys.stderr):
            self._stream.close()
            self._stream = sys.stderr

    def say(self, text: str) -> None:
        """Print a line of its own, above the bar if there is one."""
        # Names in it do not begin other lines.
        text = shown(text)
        with self._lock:
            self._do(text)
            self._print(text)

    @contextmanager
    def task(self, name: str, done: float = 0.0) -> Iterator[None]:
        """Show what happens inside as the task ``name``, of which a part was done before."""
        self._task = name
        self._begun = time.monotonic()
        self._done = done
        # The first line comes at once, so that the user sees that it has begun.
        self._shown = -float("inf")
        if self._terminal:
            # Here, not above: it takes a while, and elsewhere there is no bar.
            from tqdm import tqdm

            self._described = ""
            self._bar = tqdm(
                total=1.0,
                file=self._stream,
                leave=False,
                dynamic_ncols=True,
                bar_format=name + " {percentage:3.0f}% |{bar:10}| {desc}",
            )
        try:
            yield
        finally:
            with self._lock:
                # What comes next says so itself.
                self._do("")
                if self._bar is not None:
                    self._bar.close()
                    self._bar = None

    def show(self, fraction: float, text: str) -> None:
        """Show how far the task is.

        Parameters
        ----------
        fraction : float
            Done of the whole, 0 to 1; the remaining time is estimated from it.
        text : str
            What is under way.
        """
        with self._lock:
            now = time.monotonic()
            added = fraction - self._done
            if added > _ENOUGH:
                left = _clock((now - self._begun) * (1.0 - fraction) / added)
                text = f"{left} left, {text}"
            line = f"{self._task} {fraction:4.0%}: {text}"
            self._do(line)
            if now - self._shown < self._wait and fraction < 1.0:
                return
            self._shown = now
            if self._bar is not None:
                self._bar.n = fraction
                self._described = text = printable(text)
                self._bar.set_description_str(text)
            else:
                self._print(line)

    def repeat(self) -> None:
        """Say again what is being done, and for how long, if nothing was said lately."""
        with self._lock:
            now = time.monotonic()
            # What has just been said for the first time has no time of its own yet.
            so_far = f" ({_clock(now - self._since)} so far)" if now - self._since > 1 else ""
            if self._bar is not None:
                if now - self._since >= self._line_seconds:
                    self._bar.set_description_str(f"{self._described}{so_far}".strip())
            elif self._doing and now - self._printed >= self._line_seconds:
                self._print(f"{self._doing}{so_far}")

    def _do(self, text: str) -> None:
        self._doing, self._since = text, time.monotonic()

    def _print(self, text: str) -> None:
        self._printed = time.monotonic()
        if self._bar is None:
            say(text, self._stream)
        else:
            with self._bar.external_write_mode(file=self._stream):
                say(text, self._stream)

    def _beat(self) -> None:
        while not self._ended.wait(_LOOK):
            self.repeat()


def _clock(seconds: float) -> str:
    """Write a time as 1:23:45 or 2:05."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
