"""A job, as its folder says: what it is to do, what has become of it, and what it has found.

``job.json`` says what it is to do; ``run/`` is the run folder of its command line, ``log.txt`` what
that says. While its process lives it holds ``lock``, which has its number: a server that was
started after it sees so.
"""

import fcntl
import json
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from experiments.app import store
from experiments.app.commands import KINDS, Kind
from experiments.recorder import EVENTS
from slicing.names import shown

ENGINE = "engine.safetensors"
"""File in a run folder: the best classifier so far."""

RUN = "run"
"""Folder of a job: the run folder of its command line."""

_JOB, _LOCK, _LOG = "job.json", "lock", "log.txt"
# Letters of a log that are read for its last line.
_TAIL = 4096


class State(StrEnum):
    """What has become of a job."""

    QUEUED = "queued"
    """It waits for a free slot."""
    RUNNING = "running"
    """Its process is at work; where :attr:`Job.asked` is not empty, it is about to end."""
    FINISHED = "finished"
    """It came to its end, or was stopped, and there is a result."""
    CANCELLED = "cancelled"
    """Somebody ended it, and there is no result that it would stand for."""
    FAILED = "failed"
    """Its process has ended without a result: :attr:`Job.reason` says why. It can go on."""


@dataclass(frozen=True)
class Job:
    """A job, as its files were when it was read; its state and its results are read when asked.

    Attributes
    ----------
    folder : Path
    kind : str
        ``study``, ``inspect`` or ``adaptive``.
    dataset : str
        Id of its data set.
    dataset_name : str
    options : dict
        That somebody chose.
    person : str
        Who began it; empty: nobody said so.
    notify : str
        Address that gets a mail when it ends; empty: none.
    created, queued : float
        When it was made, and when it was last put into the queue, in seconds since 1970.
    started, ended : float or None
        When its process was last started, and when that was seen to have ended.
    argv : list of str
        Its command line.
    asked : str
        What somebody asked a running one for: ``stop``, ``cancel``, or nothing.
    """

    folder: Path
    kind: str
    dataset: str
    dataset_name: str
    options: dict[str, Any]
    person: str
    notify: str
    created: float
    queued: float
    argv: list[str]
    started: float | None = None
    ended: float | None = None
    asked: str = ""

    @property
    def id(self) -> str:
        """Its id, 16 hexadecimal digits."""
        return store.id_of(self.folder)

    @property
    def run(self) -> Path:
        """The run folder of its command line."""
        return self.folder / RUN

    @property
    def what(self) -> Kind:
        """What its kind is."""
        return KINDS[self.kind]

    @property
    def state(self) -> State:
        """What has become of it."""
        if self.is_alive():
            return State.RUNNING
        # Where the server ended before there was a process, it did not begin.
        if self.started is None or self.pid is None:
            return State.CANCELLED if self.asked else State.QUEUED
        if self.asked != "cancel" and _written_since(self.run / self.what.result, self.started):
            return State.FINISHED
        return State.CANCELLED if self.asked else State.FAILED

    @property
    def lock(self) -> Path:
        """The file whose lock its process holds."""
        return self.folder / _LOCK

    @property
    def pid(self) -> int | None:
        """Number of its last process, which that has written down itself."""
        try:
            return int(self.lock.read_text())
        except (FileNotFoundError, ValueError):
            return None

    @property
    def log_file(self) -> Path:
        """What its command line has said."""
        return self.folder / _LOG

    def is_alive(self) -> bool:
        """Whether its process lives."""
        try:
            with self.lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @property
    def reason(self) -> str:
        """The last line of its log: where it has failed, why."""
        lines = [line for line in self.log(_TAIL).splitlines() if line.strip()]
        return lines[-1].strip() if lines else "Its process was ended from outside."

    def log(self, most: int = 1_000_000) -> str:
        """Give what its command line has said, the last ``most`` bytes of it, safe to show."""
        try:
            with self.log_file.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - most))
                return shown(file.read(most).decode(errors="replace"), keep="\n\t")
        except FileNotFoundError:
            return ""

    @property
    def engine(self) -> Path | None:
        """The best classifier so far, whole at any time; None: there is none yet."""
        name = "system.safetensors" if self.kind == "adaptive" else ENGINE
        path = self.run / name
        return path if path.is_file() else None

    @property
    def report(self) -> Path | None:
        """The page that it wrote, one file that needs no other."""
        path = self.run / self.what.report
        return path if path.is_file() else None

    def summary(self) -> dict[str, Any] | None:
        """Give the figures of its result, as the command line wrote them; None: there are none.

        Nor are there where the classifier is newer: they are of another, which was tested.
        """
        path, engine = self.run / self.what.result, self.engine
        if not path.is_file() or (engine and engine.stat().st_mtime > path.stat().st_mtime):
            return None
        return store.read(path)

    def events(self, since: int = 0) -> tuple[list[dict[str, Any]], int]:
        """Give what has happened: see :mod:`experiments.recorder` for the types of events.

        Parameters
        ----------
        since : int
            What the last call gave for the next one; 0: from the beginning.

        Returns
        -------
        events : list of dict
        next : int
        """
        try:
            with (self.run / EVENTS).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                # One that began again has another file.
                begin = since if since <= size else 0
                file.seek(begin)
                data = file.read(size - begin)
        except FileNotFoundError:
            return [], 0
        whole = data[: data.rfind(b"\n") + 1]
        found = []
        for line in whole.splitlines():
            try:
                found.append(dict(json.loads(line)))
            except (ValueError, TypeError, RecursionError):
                continue
        return found, begin + len(whole)


def read(folder: Path) -> Job:
    """Read a job from its folder."""
    return Job(folder=folder, **store.read(folder / _JOB))


def write(job: Job) -> None:
    """Write down what a job is; what it has found is written by its process."""
    values = {name: value for name, value in vars(job).items() if name != "folder"}
    store.write(job.folder / _JOB, values)


def _written_since(path: Path, when: float) -> bool:
    try:
        # Clocks of files may be coarser.
        return path.stat().st_mtime >= when - 0.1
    except FileNotFoundError:
        return False
