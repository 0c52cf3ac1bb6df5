"""Signals that end a program: Ctrl-C, SIGTERM and SIGHUP.

SIGTERM comes from SLURM, Docker and Kubernetes, SIGHUP from a terminal that is closed. What they do
depends on how far the program is: before and after its work it ends at once (:func:`watch`), at
work it raises KeyboardInterrupt (:func:`experiments.console.exit_on_mistake`), and evolution stops
after its generation (:class:`experiments.monitor.Interrupts`).
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_last: int = signal.SIGINT
_done = False


def exit_code() -> int:
    """Return the exit code for the signal that came last: 128 and its number, 130 for Ctrl-C."""
    return 128 + _last


def watch() -> None:
    """From now on, end the process at a signal, with one sentence.

    For the start of a program, which imports, and for its end, which clears away.
    """
    global _act
    _act = _leave
    for number in _free():
        signal.signal(number, _receive)


def work_is_done() -> None:
    """Let a signal that comes after this end the process as if it had not come."""
    global _done
    _done = True


@contextmanager
def heard(act: Callable[[], None]) -> Iterator[None]:
    """Call a function at each of the signals, for the length of a ``with`` statement.

    Python gives signals to the main thread only. Those that are ignored (``nohup``), and those for
    which somebody else has a handler (a notebook, a cluster's launcher), are left alone.

    Parameters
    ----------
    act : callable
        Is called between any two steps of the program, and may raise.
    """
    global _act
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, handlers = _act, {}
    _act = act
    try:
        for number in _free():
            handlers[number] = signal.signal(number, _receive)
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _act = before


@contextmanager
def deferred() -> Iterator[None]:
    """Let a signal wait for the end of a ``with`` statement; a second one ends the process at once.

    For imports, and for libraries that raise other errors where Ctrl-C comes to them.
    """
    waiting = False

    def wait() -> None:
        nonlocal waiting
        if waiting:
            _leave()
        waiting = True

    with heard(wait):
        yield
    if waiting:
        _act()


def _interrupt() -> None:
    raise KeyboardInterrupt


def _leave() -> None:
    # Not print: the signal may have come in the middle of one.
    with suppress(OSError):
        os.write(2, b"Interrupted when all was done.\n" if _done else b"Interrupted.\n")
    os._exit(0 if _done else exit_code())


_act: Callable[[], None] = _interrupt


def _free() -> list[signal.Signals]:
    """List the signals that have no handler yet and are not ignored."""
    ours = (signal.SIG_DFL, signal.default_int_handler, _receive)
    return [number for number in _ENDING if signal.getsignal(number) in ours]


def _receive(signum: int, frame: FrameType | None) -> None:
    global _last
    # The system and the shell both say that a terminal is closed: that is one signal.
    if signum == signal.SIGHUP == _last:
        return
    _last = signum
    _act()
