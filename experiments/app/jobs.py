"""All jobs of the app: made, started, stopped, and gone on with. See :mod:`experiments.app.job`."""

import fcntl
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Any

from experiments.app import store
from experiments.app.commands import (
    Options,
    argv_of,
    environment,
    kind_of,
    later_words,
    words_of,
)
from experiments.app.datasets import Datasets
from experiments.app.job import RUN, Job, State, read, write
from experiments.words import quoted
from slicing.errors import InputError
from slicing.names import shown

# By how much the processes of jobs give way to others.
_NICE = 5


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
        found = store.records(self.folder, read)
        return sorted(found, key=lambda each: -each.created)

    def get(self, identifier: str) -> Job:
        """Give one.

        Raises
        ------
        NotFoundError
        """
        return read(store.folder_of(self.folder, identifier, "job"))

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
            words = words_of(
                what, {"threads": self._threads, **options}, data, self._always(kind, final.name)
            )
            words.append(f"output={quoted(final / RUN)}")
            now = time.time()
            job = Job(
                folder, kind, dataset, images.name, dict(options), shown(person), notify, now, now,
                argv_of(what, words),
            )  # fmt: skip
            write(job)
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
            lock = os.open(job.lock, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                # That of an earlier process.
                os.ftruncate(lock, 0)
                change(started=time.time(), ended=None, asked="")
                with job.log_file.open("ab") as log:
                    child = subprocess.Popen(
                        # Words of the server's own may hold passwords: they stand in no file.
                        [*job.argv, *self._always(job.kind, job.id)],
                        # The lock is the child's as long as it lives, and nobody else's. Its
                        # number is there before anything can end the server.
                        pass_fds=[lock],
                        preexec_fn=lambda: _write_pid(lock),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                        env=environment(),
                    )
            finally:
                os.close(lock)
            self._children[identifier] = child
            with suppress(ProcessLookupError):
                # Pages are answered before jobs.
                os.setpriority(os.PRIO_PROCESS, child.pid, _NICE)
                for name, most in limits.items():
                    resource.prlimit(child.pid, name, (most, most))
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
            # Its leader may have ended, and one of its processes not.
            with suppress(ProcessLookupError):
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
                words = later_words(job.what, options, job.run)
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

    def delete_ended(self, identifier: str) -> bool:
        """Delete a job unless it is at work, or in the queue again; tell whether it was."""
        with self._lock:
            if self.get(identifier).state in (State.QUEUED, State.RUNNING):
                return False
            self.delete(identifier)
            return True

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
                    with suppress(ProcessLookupError):
                        os.kill(job.pid, signal.SIGINT)
                change(asked=how)
            elif job.state == State.QUEUED:
                change(asked="cancel")
        return self.get(identifier)

    def _always(self, kind: str, identifier: str) -> tuple[str, ...]:
        """Give the words that the server adds: studies that share a database need names."""
        words = self._study if kind == "study" else ()
        shared = any(each.startswith("storage=") for each in words)
        return (*words, f"name={identifier}") if shared else words

    @contextmanager
    def _changing(self, identifier: str) -> Iterator[tuple[Job, Any]]:
        """Read a job, and give what writes changes of it; nobody else changes it meanwhile."""
        with self._lock:
            job = self.get(identifier)

            def change(**values: Any) -> None:
                write(Job(**{**vars(job), **values}))

            yield job, change


def _write_pid(lock: int) -> None:
    os.pwrite(lock, b"%d" % os.getpid(), 0)
