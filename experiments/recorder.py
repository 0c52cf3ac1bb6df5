"""Record what a run does, in its folder, for people and programs that follow it.

``events.jsonl`` is a file of JSON objects, one a line, each added and flushed as it happens. Each
has a ``type`` and a ``time`` (UTC, ISO 8601); the others depend on the type:

``message``
    ``text``: what the run does now.
``task``
    ``name``, ``done``: a task begins, of which a part, 0 to 1, was done before.
``progress``
    ``task``, ``fraction``, ``text``: how far the task is; at most one a second.
``task_end``
    ``name``.
``generation``, ``block_end``
    The fields of :class:`evolve.events.Generation` and :class:`evolve.events.BlockEnd`; a block is
    its name. Numbers are finite or null.
``epoch``
    In the trials of a study: ``number``, from 1, and the fields of
    :class:`slicing.baselines.Epoch`.
``resumed``
    Another process resumes the run; what follows the last block that counts was removed.
``end``
    ``status``: ``finished``, ``interrupted`` (it can be resumed), ``failed`` or ``killed``. Of
    several, the last counts: a run may fail after its last event, where MLflow does not take its
    results. A process that was killed at once writes none.

``history.csv`` and ``blocks.csv`` are the generations and blocks as tables. A resumed run writes
them again from its state, even where they are damaged or gone.
"""

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from evolve.events import BlockEnd, Event, Generation
from experiments.history import History
from experiments.json_values import plain_values
from experiments.monitor import Silent
from experiments.secrets import masked
from slicing.files import naming, replacing

if TYPE_CHECKING:
    from slicing.baselines import Epoch

log = logging.getLogger(__name__)

EVENTS = "events.jsonl"

_TYPES: dict[type[Event], str] = {Generation: "generation", BlockEnd: "block_end"}
# Seconds between two lines of progress.
_PAUSE = 1.0


class Recorder(Silent):
    """A monitor that writes down what it is told.

    Parameters
    ----------
    folder : Path
    is_resumed : bool
        Whether an earlier process began the run; otherwise what lies there is replaced.
    """

    def __init__(self, folder: Path, is_resumed: bool = False) -> None:
        self._folder = folder
        self._path = folder / EVENTS
        self._earlier = _whole_lines(self._path) if is_resumed else []
        self._file: TextIO
        self._rewrite(self._earlier)
        self._history: History | None = None
        self._task, self._next = "", 0.0
        if is_resumed:
            self._add("resumed")

    @property
    def events(self) -> Sequence[Event]:
        """All generations and ends of blocks, with those of earlier processes that count."""
        return self._history.events if self._history else []

    def begin(self, events: Sequence[Event] = ()) -> None:
        """Begin the evolution, or resume it after its finished blocks.

        What earlier processes wrote after these is removed: it happens again. If events are
        missing, or there are others, they are written again.

        Parameters
        ----------
        events : sequence of Generation and BlockEnd
            Of the finished blocks.
        """
        self._history = History(self._folder, events)
        n_blocks = sum(isinstance(event, BlockEnd) for event in events)
        numbers = {line: json.loads(line).get("block_number") for line in self._earlier}
        kept = list(takewhile(lambda line: not _reaches(numbers[line], n_blocks), self._earlier))
        if sum(numbers[line] is not None for line in kept) != len(events):
            log.warning("%s had lost events: they are written again.", self._path)
            kept = [line for line in kept if numbers[line] is None]
            kept += [_line(*_described(event)) for event in events]
        if kept != self._earlier:
            self._file.close()
            self._rewrite(kept + _whole_lines(self._path)[len(self._earlier) :])

    def say(self, text: str) -> None:
        """See :meth:`.Monitor.say`."""
        self._add("message", text=masked(text))

    @contextmanager
    def task(self, name: str, done: float = 0.0) -> Iterator[None]:
        """See :meth:`.Monitor.task`."""
        self._task, self._next = name, 0.0
        self._add("task", name=name, done=done)
        try:
            yield
        finally:
            self._add("task_end", name=name)

    def show(self, fraction: float, text: str) -> None:
        """See :meth:`.Monitor.show`."""
        if fraction < 1.0 and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PAUSE
        self._add("progress", task=self._task, fraction=fraction, text=text)

    def event(self, event: Event) -> None:
        """See :meth:`.Monitor.event`; when this returns, killing the process does not lose it.

        The end of a block, and all before it, would survive a power failure, too.
        """
        assert self._history is not None, "begin() comes first"
        self._history.append(event)
        kind, values = _described(event)
        self._add(kind, **values)
        if isinstance(event, BlockEnd):
            os.fsync(self._file.fileno())

    def training(self, epochs: "Sequence[Epoch]") -> None:
        """Write down the epochs of a training, after it."""
        for number, epoch in enumerate(epochs, 1):
            self._add("epoch", number=number, **asdict(epoch))

    def end(self, status: str) -> None:
        """Write down how the run ended, and close the files; a second time, how it did after all.

        Raises
        ------
        OSError
            Where it cannot be written.
        """
        if self._history:
            self._history.close()
        if self._file.closed:
            self._file = self._path.open("a", encoding="utf-8")
        with naming(self._path), self._file:
            self._add("end", status=status)

    def _add(self, kind: str, **values: Any) -> None:
        with naming(self._path):
            self._file.write(_line(kind, values))
            self._file.flush()

    def _rewrite(self, lines: Sequence[str]) -> None:
        """Replace the file, and open it for more."""
        with replacing(self._path) as file:
            file.write("".join(lines).encode())
        self._file = self._path.open("a", encoding="utf-8")


def _described(event: Event) -> tuple[str, dict[str, Any]]:
    """Give the type of an event, and its values."""
    return _TYPES[type(event)], {**plain_values(event), "block": event.block.name}


def _line(kind: str, values: dict[str, Any]) -> str:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    whole = {"type": kind, "time": now, **plain_values(values)}
    return json.dumps(whole, allow_nan=False) + "\n"


def _whole_lines(path: Path) -> list[str]:
    """Read the lines of a file that are objects of JSON; others are left out, with a warning.

    A last line that is not whole is left out without one: a process was killed within it.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    whole = [line.decode(errors="replace") for line in lines if line.endswith(b"\n")]
    good = [line for line in whole if _is_object(line)]
    if len(good) < len(whole):
        log.warning("%s: %d damaged lines are left out.", path, len(whole) - len(good))
    return good


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _reaches(number: object, n_blocks: int) -> bool:
    """Whether a block number is none of the first ``n_blocks``."""
    return number is not None and not (isinstance(number, int) and number < n_blocks)
