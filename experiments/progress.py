"""What is shown while an experiment runs: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm import tqdm

from experiments.console import say

# Seconds between two refreshments of the bar, and between two lines where there is no terminal.
_REFRESH, _LINE = 0.1, 10.0
# Part of a task from which the remaining time can be reckoned: its beginning compiles.
_RECKONED = 0.01


class Progress:
    """Reports to a stream, standard error by default.

    Parameters
    ----------
    stream : text stream, optional
    line_seconds : float
        At most one line in this time where the stream is no terminal.
    """

    def __init__(self, stream: TextIO | None = None, line_seconds: float = _LINE) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._wait = _REFRESH if self._terminal else line_seconds
        self._bar: Any = None
        self._task = ""
        self._start = self._shown = 0.0
        self._done = 0.0

    def say(self, text: str) -> None:
        """Print a line of its own, above the bar if there is one."""
        if self._bar is None:
            say(text, self._stream)
        else:
            tqdm.write(text, file=self._stream)

    @contextmanager
    def task(self, name: str, done: float = 0.0) -> Iterator["Progress"]:
        """Report what happens inside as the task ``name``, of which a part was done before."""
        self._task = name
        self._start = time.monotonic()
        self._done = done
        # The first line comes at once, so that nobody waits in the dark.
        self._shown = -float("inf")
        if self._terminal:
            self._bar = tqdm(
                total=1.0,
                file=self._stream,
                leave=False,
                dynamic_ncols=True,
                bar_format=name + " {percentage:3.0f}% |{bar:10}| {desc}",
            )
        try:
            yield self
        finally:
            if self._bar is not None:
                self._bar.close()
                self._bar = None

    @property
    def seconds(self) -> float:
        """Time since the task began."""
        return time.monotonic() - self._start

    def show(self, fraction: float, text: str) -> None:
        """Show how far the task is.

        Parameters
        ----------
        fraction : float
            Done of the whole, 0 to 1; the remaining time is reckoned from it.
        text : str
            What is under way.
        """
        now = time.monotonic()
        if now - self._shown < self._wait and fraction < 1.0:
            return
        self._shown = now
        added = fraction - self._done
        if added > _RECKONED:
            text = f"{_clock(self.seconds * (1.0 - fraction) / added)} left, {text}"
        if self._bar is not None:
            self._bar.n = fraction
            self._bar.set_description_str(text)
        else:
            say(f"{self._task} {fraction:4.0%}: {text}", self._stream)


def _clock(seconds: float) -> str:
    """Write a time as 1:23:45 or 2:05."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
