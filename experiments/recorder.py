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
``resumed``
    Another process resumes the run; what follows the last block that counts was removed.
``end``
    ``status``: ``finished``, ``interrupted`` (it can be resumed), ``failed`` or ``killed``. Of
    several, the last counts: a run may fail after its last event, where MLflow does not take its
    results. A process that was killed at once writes none.

``history.csv`` and ``blocks.csv`` are the generations and blocks as tables.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from evolve.block import Block
from evolve.events import BlockEnd, Generation
from experiments.history import Event, History
from experiments.json_values import plain_values
from experiments.monitor import Silent
from experiments.secrets import masked
from slicing.files import naming, replacing

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
        self._write_all(self._earlier)
        self._file = self._path.open("a", encoding="utf-8")
        self._history: History | None = None
        self._task, self._next = "", 0.0
        if is_resumed:
            self._add("resumed")

    @property
    def events(self) -> Sequence[Event]:
        """All generations and ends of blocks, with those of earlier processes that count."""
        return self._history.events if self._history else []

    def begin(self, blocks: Sequence[Block], n_kept: int) -> None:
        """Begin the evolution, or resume it after its first ``n_kept`` blocks.

        What earlier processes wrote after these blocks is removed: it happens again.
        """
        self._history = History(self._folder, blocks, n_kept)
        kept = []
        for line in self._earlier:
            if json.loads(line).get("block_number", -1) >= n_kept:
                break
            kept.append(line)
        if len(kept) < len(self._earlier):
            self._file.close()
            self._write_all(kept + _whole_lines(self._path)[len(self._earlier) :])
            self._file = self._path.open("a", encoding="utf-8")

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
        block = {"block": event.block.name}
        self._add(_TYPES[type(event)], **{**plain_values(event), **block})
        if isinstance(event, BlockEnd):
            os.fsync(self._file.fileno())

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
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"type": kind, "time": now, **plain_values(values)}, allow_nan=False)
        with naming(self._path):
            self._file.write(line + "\n")
            self._file.flush()

    def _write_all(self, lines: Sequence[str]) -> None:
        with replacing(self._path) as file:
            file.write("".join(lines).encode())


def _whole_lines(path: Path) -> list[str]:
    """Read the lines of a file, but for a last one that is not whole."""
    lines = path.read_text("utf-8").splitlines(keepends=True) if path.exists() else []
    return [line for line in lines if line.endswith("\n")]
