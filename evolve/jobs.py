"""Jobs of several tasks each, done side by side on an executor."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from evolve.executors.base import Executor

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)


class Job(Protocol[T_co, R_contra]):
    """Tasks of which each depends on the results of those before."""

    @property
    def done(self) -> bool:
        """Whether there is no further task."""

    def next_task(self) -> T_co:
        """Give the next task; call it once for each result."""

    def receive(self, result: R_contra) -> None:
        """Take the result of the task."""

    def end(self, reason: str) -> None:
        """End now, or after a few closing tasks; never called while a task runs."""


J = TypeVar("J", bound=Job)  # type: ignore[type-arg]


def run(jobs: Sequence[J], executor: Executor[T, R], stop: Callable[[], str | None]) -> Iterator[J]:
    """Do jobs side by side: they start in order, one in each slot that is free.

    Parameters
    ----------
    jobs : sequence of Job
    executor : Executor
        Has been started.
    stop : callable
        Gives the reason why no further task may start, if there is one: the jobs are then told to
        end.

    Yields
    ------
    Job
        Each job after each of its results, before its next task.
    """
    waiting, busy = deque(jobs), dict[int, J]()
    idle = list(range(executor.n_slots))

    def go_on(slot: int, job: J) -> None:
        reason = stop()
        if reason:
            job.end(reason)
        if job.done:
            idle.append(slot)
        else:
            busy[slot] = job
            executor.submit(slot, job.next_task())

    while True:
        while idle and waiting:
            go_on(idle.pop(0), waiting.popleft())
        if not busy:
            return
        slot, result = executor.wait()
        job = busy.pop(slot)
        job.receive(result)
        yield job
        go_on(slot, job)
