"""Jobs: each is a folder and a process, and all that is known of it is in its folder.

``job.json`` says what it is to do; ``run/`` is the run folder of its command line, ``log.txt`` what
that says. While its process lives it holds ``lock``: a server that was started after it sees so.
"""

import fcntl
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Any

from experiments.app import store
from experiments.app.commands import KINDS, Kind, Options, argv_of, kind_of, later_words, words_of
from experiments.app.datasets import Datasets
from experiments.recorder import EVENTS
from slicing.errors import InputError
from slicing.names import shown

ENGINE = "engine.safetensors"
"""File in a run folder: the best classifier so far."""

_JOB, _LOCK, _LOG, _RUN = "job.json", "lock", "log.txt", "run"
# Letters of a log that are read for its last line.
_TAIL = 4096
# By how much the processes of jobs give way to others.
_NICE = 5
# Of the environment, what is the server's business alone.
_SECRETS = ("APP_TOKEN", "SMTP_")


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
    pid : int or None
        Of its last process.
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
    pid: int | None = None
    asked: str = ""

    @property
    def id(self) -> str:
        """Its id, 16 hexadecimal digits."""
        return store.id_of(self.folder)

    @property
    def run(self) -> Path:
        """The run folder of its command line."""
        return self.folder / _RUN

    @property
    def what(self) -> Kind:
        """What its kind is."""
        return KINDS[self.kind]

    @property
    def state(self) -> State:
        """What has become of it."""
        if self.started is None:
            return State.CANCELLED if self.asked else State.QUEUED
        if self.is_alive():
            return State.RUNNING
        if self.asked != "cancel" and _written_since(self.run / self.what.result, self.started):
            return State.FINISHED
        return State.CANCELLED if self.asked else State.FAILED

    def is_alive(self) -> bool:
        """Whether its process lives."""
        try:
            with (self.folder / _LOCK).open("rb") as file:
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
            with (self.folder / _LOG).open("rb") as file:
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
        """Give the figures of its result, as the command line wrote them; None: there are none."""
        path = self.run / self.what.result
        return store.read(path) if path.is_file() else None

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


class Jobs:
    """All jobs of the app.

    One server is at work on a folder: it alone writes ``job.json``.

    Parameters
    ----------
    folder : Path
        Of the jobs.
    datasets : Datasets
    study : tuple of str
        Words that are on the command line of every study, such as ``executor=ray``.
    threads : int
        That a job has where nobody has chosen others.
    """

    def __init__(
        self, folder: Path, datasets: Datasets, study: tuple[str, ...] = (), threads: int = 1
    ) -> None:
        self.folder, self.datasets = folder, datasets
        self._study, self._threads = study, threads
        self._lock = RLock()
        self._children = dict[str, subprocess.Popen[bytes]]()
        store.clear(folder)

    def all(self) -> list[Job]:
        """List all, the newest first."""
        found = [_read(each) for each in store.folders_in(self.folder)]
        return sorted(found, key=lambda each: -each.created)

    def get(self, identifier: str) -> Job:
        """Give one.

        Raises
        ------
        NotFoundError
        """
        return _read(store.folder_of(self.folder, identifier, "job"))

    def create(
        self, kind: str, dataset: str, options: Options, person: str = "", notify: str = ""
    ) -> Job:
        """Put a job into the queue; this takes a second.

        Parameters
        ----------
        kind : str
            ``study``, ``inspect`` or ``adaptive``.
        dataset : str
            Id of the data set.
        options : mapping of str to object
            See :data:`experiments.app.commands.KINDS` for those that there are.
        person, notify : str
            See :class:`Job`.

        Raises
        ------
        InputError
            For the first mistake, with its option.
        NotFoundError
            Where there is no such data set.
        """
        what, images = kind_of(kind), self.datasets.get(dataset)
        with store.new_folder(self.folder) as folder:
            final = self.folder / store.id_of(folder)
            table = images.write_table(folder)
            data = images.images if table is None else final / table.relative_to(folder)
            words = words_of(what, {"threads": self._threads, **options}, data, self._always(kind))
            words.append(f"output={final / _RUN}")
            now = time.time()
            job = Job(
                folder, kind, dataset, images.name, dict(options), shown(person), notify, now, now,
                argv_of(what, words),
            )  # fmt: skip
            _write(job)
        return self.get(job.id)

    def start(self, identifier: str, limits: Mapping[int, int] = MappingProxyType({})) -> Job:
        """Start the process of a job in the queue, in a session of its own.

        Parameters
        ----------
        identifier : str
        limits : mapping of int to int
            Of the process, by the names in :mod:`resource`.

        Raises
        ------
        InputError
            Where it does not wait.
        """
        with self._changing(identifier) as (job, change):
            if job.state != State.QUEUED:
                raise InputError(f"The job is {job.state}: only one in the queue can be started.")
            lock = os.open(job.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                with (job.folder / _LOG).open("ab") as log:
                    child = subprocess.Popen(
                        job.argv,
                        # The lock is the child's as long as it lives, and nobody else's.
                        pass_fds=[lock],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                        env=_environment(),
                    )
            finally:
                os.close(lock)
            self._children[identifier] = child
            with suppress(ProcessLookupError):
                # Whoever looks at a page goes before.
                os.setpriority(os.PRIO_PROCESS, child.pid, _NICE)
                for name, most in limits.items():
                    resource.prlimit(child.pid, name, (most, most))
            change(started=time.time(), ended=None, pid=child.pid, asked="")
        return self.get(identifier)

    def stop(self, identifier: str) -> Job:
        """Let a job finish with the best so far; one in the queue is cancelled."""
        return self._end(identifier, "stop")

    def cancel(self, identifier: str) -> Job:
        """End a job; what it has found so far stays in its folder."""
        return self._end(identifier, "cancel")

    def kill(self, identifier: str) -> None:
        """End the processes of a job at once; it can go on later."""
        job = self.get(identifier)
        if job.is_alive() and job.pid:
            os.killpg(job.pid, signal.SIGKILL)

    def go_on(self, identifier: str, options: Options) -> Job:
        """Put a job into the queue again, with more budget; what it has found is not lost.

        Parameters
        ----------
        identifier : str
        options : mapping of str to object
            ``budget.minutes`` and the like, from now on; none: what is left of the earlier budget.

        Raises
        ------
        InputError
        """
        with self._changing(identifier) as (job, change):
            if job.state in (State.QUEUED, State.RUNNING):
                raise InputError(f"The job is {job.state}: it goes on by itself.")
            argv = job.argv
            if job.what.later and (job.run / "study.json").exists():
                words = later_words(job.what, options, job.run, self._always(job.kind))
                argv = argv_of(job.what, words)
            elif options:
                raise InputError("It begins again, with the options that it had: give none.")
            change(started=None, ended=None, asked="", queued=time.time(), argv=argv)
        return self.get(identifier)

    def delete(self, identifier: str) -> None:
        """Delete a job that is not at work, with all that it has found.

        Raises
        ------
        InputError
        """
        with self._lock:
            job = self.get(identifier)
            if job.is_alive():
                raise InputError("The job is at work: cancel it first.")
            store.remove(job.folder)

    def delete_dataset(self, identifier: str) -> None:
        """Delete a data set that no job at work or in the queue reads.

        Raises
        ------
        InputError
        """
        with self._lock:
            at_work = (State.QUEUED, State.RUNNING)
            if any(each.dataset == identifier and each.state in at_work for each in self.all()):
                raise InputError("A job reads the data set: cancel it first.")
            self.datasets.delete(identifier)

    def end_noticed(self) -> list[Job]:
        """Write down which processes have ended since the last call; give their jobs."""
        found = []
        with self._lock:
            for identifier, child in [*self._children.items()]:
                if child.poll() is not None:
                    del self._children[identifier]
            for job in self.all():
                if job.started and not job.ended and not job.is_alive():
                    with self._changing(job.id) as (_, change):
                        change(ended=time.time())
                    found.append(self.get(job.id))
        return found

    def _end(self, identifier: str, how: str) -> Job:
        with self._changing(identifier) as (job, change):
            if job.state == State.RUNNING and job.pid:
                # Asked twice, it would end at once.
                if not job.asked:
                    os.kill(job.pid, signal.SIGINT)
                change(asked=how)
            elif job.state == State.QUEUED:
                change(asked="cancel")
        return self.get(identifier)

    def _always(self, kind: str) -> tuple[str, ...]:
        return self._study if kind == "study" else ()

    @contextmanager
    def _changing(self, identifier: str) -> Iterator[tuple[Job, Any]]:
        """Read a job, and give what writes changes of it; nobody else changes it meanwhile."""
        with self._lock:
            job = self.get(identifier)

            def change(**values: Any) -> None:
                _write(Job(**{**vars(job), **values}))

            yield job, change


def _read(folder: Path) -> Job:
    return Job(folder=folder, **store.read(folder / _JOB))


def _write(job: Job) -> None:
    values = {name: value for name, value in vars(job).items() if name != "folder"}
    store.write(job.folder / _JOB, values)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}


def _written_since(path: Path, when: float) -> bool:
    try:
        # Clocks of files may be coarser.
        return path.stat().st_mtime >= when - 0.1
    except FileNotFoundError:
        return False
