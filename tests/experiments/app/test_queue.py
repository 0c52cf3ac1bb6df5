"""Which job begins next, and what is deleted when the disk is full."""

import time

import pytest

from experiments.app.job import State
from experiments.app.jobs import Jobs
from experiments.app.queue import Queue, waiting
from experiments.app.storage import Storage
from slicing.files import replacing
from tests.experiments.app.conftest import until


@pytest.fixture
def busy(tmp_path, datasets, jobs):
    """Jobs that wait for Ctrl-C."""
    return Jobs(tmp_path / "jobs", datasets, ("wait",))


def states(jobs, *made):
    return [jobs.get(each.id).state for each in made]


def test_people_come_in_turn_and_restarts_forget_nothing(busy, pets, tmp_path):
    first, second = (busy.create("study", pets.id, {}, "ann") for _ in range(2))
    other = busy.create("study", pets.id, {}, "bob")
    storage = Storage(tmp_path, 1.0)
    Queue(busy, storage).tick()
    assert states(busy, first, second, other) == [State.RUNNING, State.QUEUED, State.QUEUED]
    # Another server, as after a restart.
    queue = Queue(busy, storage)
    queue.tick()
    assert states(busy, first, second, other) == [State.RUNNING, State.QUEUED, State.QUEUED]
    assert [each.id for each in waiting(busy.all())] == [other.id, second.id]
    while not busy.get(first.id).events()[0]:
        time.sleep(0.01)
    busy.stop(first.id)
    until(State.FINISHED, busy, first.id)
    queue.tick()
    assert states(busy, first, second, other) == [State.FINISHED, State.QUEUED, State.RUNNING]


def test_a_look_at_photos_does_not_wait_for_a_study(busy, pets, tmp_path):
    study, look = (busy.create(kind, pets.id, {}) for kind in ("study", "inspect"))
    Queue(busy, Storage(tmp_path, 1.0)).tick()
    assert busy.get(study.id).state == State.RUNNING
    assert busy.get(look.id).state != State.QUEUED


def test_a_job_that_takes_too_long_is_stopped_and_its_end_is_told(busy, pets, tmp_path):
    ended = []
    queue = Queue(busy, Storage(tmp_path, 1.0), hours=1e-9, ended=ended.append)
    job = busy.create("study", pets.id, {})
    queue.tick()
    while not busy.get(job.id).events()[0]:
        time.sleep(0.01)
    queue.tick()
    until(State.FINISHED, busy, job.id)
    queue.tick()
    assert [each.id for each in ended] == [job.id]


def test_the_oldest_jobs_that_have_ended_are_deleted_above_the_quota(jobs, pets, tmp_path):
    done = [jobs.create("study", pets.id, {}) for _ in range(3)]
    for each in done:
        jobs.start(each.id)
        until(State.FINISHED, jobs, each.id)
        with replacing(each.run / "large") as file:
            file.write(bytes(300_000))
        jobs.end_noticed()
    left = jobs.create("study", pets.id, {})
    storage = Storage(tmp_path, 0.0007)
    assert [each.id for each in storage.removable(jobs)] == [each.id for each in done]
    assert [each.id for each in storage.tidy(jobs)] == [done[0].id]
    assert not storage.is_full
    assert {each.id for each in jobs.all()} == {done[1].id, done[2].id, left.id}
    # Where all of them would not suffice, none is deleted; nor is one that waits again.
    assert Storage(tmp_path, 1e-6).tidy(jobs) == []
    jobs.go_on(done[1].id, {})
    assert not jobs.delete_ended(done[1].id)
