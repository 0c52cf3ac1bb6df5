"""Monitors of a run: the contract, and several as one.

A run tells its monitor what it does, how far it is and what evolution yields, and asks it whether
to stop. :class:`~experiments.progress.Terminal` shows it to a person,
:class:`~experiments.recorder.Recorder` writes it down, :class:`~experiments.mlflow_run.MLflowRun`
logs it.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from experiments.signals import heard

if TYPE_CHECKING:
    # Not at run time: a run says its first line before it imports what computes.
    from evolve.events import Event


class Monitor(Protocol):
    """Looks on; all methods return soon.

    A monitor that cannot write raises OSError, which ends the run.
    """

    def say(self, text: str) -> None:
        """Take note of what the run does from now on, in one sentence."""

    def task(self, name: str, done: float = 0.0) -> AbstractContextManager[None]:
        """Treat the body of a ``with`` statement as one task; ``done`` is its finished part."""

    def show(self, fraction: float, text: str) -> None:
        """Take note of how far the task is, 0 to 1, and of what is under way."""

    def event(self, event: "Event") -> None:
        """Take note of the end of a generation or block."""

    def stop_reason(self) -> str | None:
        """Return a reason to stop after this generation, or None.

        A stopped run is still evaluated and saved, and can be resumed.
        """


class Silent:
    """A monitor that does nothing; others change what they need."""

    def say(self, text: str) -> None:
        """See :meth:`Monitor.say`."""

    @contextmanager
    def task(self, name: str, done: float = 0.0) -> Iterator[None]:
        """See :meth:`Monitor.task`."""
        yield

    def show(self, fraction: float, text: str) -> None:
        """See :meth:`Monitor.show`."""

    def event(self, event: "Event") -> None:
        """See :meth:`Monitor.event`."""

    def stop_reason(self) -> str | None:
        """See :meth:`Monitor.stop_reason`."""
        return None


class Monitors:
    """Several monitors as one; the first that gives a reason stops the run.

    Parameters
    ----------
    *monitors : Monitor
    """

    def __init__(self, *monitors: Monitor) -> None:
        self._monitors = monitors

    def say(self, text: str) -> None:
        """See :meth:`Monitor.say`."""
        for monitor in self._monitors:
            monitor.say(text)

    @contextmanager
    def task(self, name: str, done: float = 0.0) -> Iterator[None]:
        """See :meth:`Monitor.task`."""
        with ExitStack() as stack:
            for monitor in self._monitors:
                stack.enter_context(monitor.task(name, done))
            yield

    def show(self, fraction: float, text: str) -> None:
        """See :meth:`Monitor.show`."""
        for monitor in self._monitors:
            monitor.show(fraction, text)

    def event(self, event: "Event") -> None:
        """See :meth:`Monitor.event`."""
        for monitor in self._monitors:
            monitor.event(event)

    def stop_reason(self) -> str | None:
        """See :meth:`Monitor.stop_reason`."""
        reasons = (monitor.stop_reason() for monitor in self._monitors)
        return next((reason for reason in reasons if reason), None)


class Interrupts(Silent):
    """Stops a run with the first Ctrl-C, SIGTERM or SIGHUP; the second ends it at once.

    It listens for as long as the block of its ``with`` statement.

    Parameters
    ----------
    stop : callable
        Is given the reason at once, within the signal handler: there may be no event for long.
    """

    def __init__(self, stop: Callable[[str], None]) -> None:
        self._tell = stop
        self._reason: str | None = None
        self._heard = heard(self._stop)

    def __enter__(self) -> "Interrupts":
        self._heard.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._heard.__exit__(*error)

    def stop_reason(self) -> str | None:
        """See :meth:`Monitor.stop_reason`."""
        return self._reason

    def _stop(self) -> None:
        if self._reason is not None:
            raise KeyboardInterrupt
        self._reason = "interrupted"
        self._tell(self._reason)
        # Not print: the signal may have come in the middle of one.
        with suppress(OSError):
            os.write(
                2,
                b"\nStopping after this generation, then the engine and the report are made. "
                b"Ctrl-C again ends at once, and nothing is lost.\n",
            )
