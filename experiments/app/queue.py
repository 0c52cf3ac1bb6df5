"""The queue: which job begins next, and what happens when one ends."""

import logging
import resource
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from experiments.app.job import Job, State
from experiments.app.jobs import Jobs
from experiments.app.storage import Storage
from slicing.errors import InputError

log = logging.getLogger(__name__)

# Seconds until a job that was cancelled is ended for good, and one that was out of time.
_CANCEL, _STOP = 15.0, 600.0
# Seconds between two looks at the disk.
_TIDY = 60.0
# No job leaves an image of its memory.
_LIMITS = {resource.RLIMIT_CORE: 0}
# Looks at images take seconds: they have a slot of their own, and do not wait for hours.
_QUICK = "inspect"


@dataclass
class Queue:
    """Starts jobs as slots become free, in their order, and people in turn.

    All that it knows of jobs is in their folders, so that it may end at any time.

    Attributes
    ----------
    jobs : Jobs
    storage : Storage
    slots : int
        Jobs at once.
    hours : float
        That a job may take.
    ended : callable
        Is told of each job that has ended.
    """

    jobs: Jobs
    storage: Storage
    slots: int = 1
    hours: float = 24.0
    ended: Callable[[Job], None] = lambda job: None
    _asked: dict[str, float] = field(default_factory=dict)
    _tidied: float = float("-inf")

    def tick(self) -> None:
        """Do what is due: call it every second; it takes milliseconds, or a start."""
        for job in self.jobs.end_noticed():
            self._asked.pop(job.id, None)
            self.ended(job)
        everything = self.jobs.all()
        running = [each for each in everything if each.state == State.RUNNING]
        for job in running:
            self._watch(job)
        if time.monotonic() - self._tidied > _TIDY:
            self._tidied = time.monotonic()
            for job in self.storage.tidy(self.jobs):
                log.warning("Job %s was deleted: the quota is reached.", job.id)
        if self.storage.is_full:
            return
        n_slow = sum(each.kind != _QUICK for each in running)
        n_quick = len(running) - n_slow
        for job in waiting(everything):
            is_quick = job.kind == _QUICK
            if (n_quick if is_quick else n_slow) < (1 if is_quick else self.slots):
                self._start(job)
                n_quick, n_slow = n_quick + is_quick, n_slow + (not is_quick)

    def _start(self, job: Job) -> None:
        try:
            self.jobs.start(job.id, _LIMITS)
        except InputError as error:  # somebody was faster
            log.info("Job %s is not started: %s", job.id, error)

    def _watch(self, job: Job) -> None:
        """Stop a job that takes too long, and end one that was asked and does not."""
        now = time.time()
        if not job.asked and job.started and now - job.started > 3600 * self.hours:
            self.jobs.stop(job.id)
        elif job.asked:
            # From when this server saw it: after a restart, from then.
            asked = self._asked.setdefault(job.id, now)
            if now - asked > (_CANCEL if job.asked == "cancel" else _STOP):
                self.jobs.kill(job.id)


def waiting(jobs: list[Job]) -> list[Job]:
    """List the jobs in the queue, in the order in which they begin.

    Whose jobs have the fewest at work comes first, then who was served longest ago; the jobs of a
    person keep their order.
    """
    n_running = Counter(each.person for each in jobs if each.state == State.RUNNING)
    served = dict[str, float]()
    for each in jobs:
        served[each.person] = max(served.get(each.person, 0.0), each.started or 0.0)
    left = sorted((each for each in jobs if each.state == State.QUEUED), key=lambda j: j.queued)
    ordered = list[Job]()
    while left:
        job = min(left, key=lambda each: (n_running[each.person], served[each.person], each.queued))
        ordered.append(job)
        left.remove(job)
        n_running[job.person] += 1
    return ordered
