"""The disk: how much of it the app has, and what is deleted when that is too much."""

import errno
from dataclasses import dataclass
from pathlib import Path

from experiments.app import store
from experiments.app.job import Job, State
from experiments.app.jobs import Jobs

_AT_WORK = (State.QUEUED, State.RUNNING)


@dataclass
class Storage:
    """The folder of the app, and its quota.

    Attributes
    ----------
    folder : Path
    gigabytes : float
        The quota, in thousands of millions of bytes.
    used : int
        Bytes of all files, when they were counted last.
    """

    folder: Path
    gigabytes: float
    used: int = 0

    def removable(self, jobs: Jobs) -> list[Job]:
        """List the jobs that may be deleted, in the order in which they would be."""
        ended = [each for each in jobs.all() if each.state not in _AT_WORK]
        return sorted(ended, key=lambda each: each.ended or each.created)

    def tidy(self, jobs: Jobs) -> list[Job]:
        """Count the bytes; above the quota, delete jobs that have ended, the oldest first.

        Where even all of them would not suffice, none is deleted.

        Returns
        -------
        list of Job
            Those that were deleted.
        """
        self.used = store.size_of(self.folder)
        if not self.is_full:
            return []
        sizes = [(job, store.size_of(job.folder)) for job in self.removable(jobs)]
        if self.used - sum(size for _, size in sizes) > self.gigabytes * 1e9:
            return []
        deleted = []
        for job, size in sizes:
            if not self.is_full:
                break
            if jobs.delete_ended(job.id):
                self.used -= size
                deleted.append(job)
        return deleted

    @property
    def is_full(self) -> bool:
        """Whether it is above the quota."""
        return self.used > self.gigabytes * 1e9

    def require_room(self) -> None:
        """Refuse to take in more where the quota is reached.

        Raises
        ------
        OSError
        """
        if self.is_full:
            raise OSError(
                errno.EDQUOT,
                f"the server keeps {self.gigabytes:g} GB, which are used: delete data sets or jobs",
                str(self.folder),
            )
