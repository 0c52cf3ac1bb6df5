"""Wherever candidates are evaluated, and whatever dies meanwhile: the same network."""

import os
import signal
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from evolve.block import make_blocks
from evolve.executors import ProcessExecutor, RayExecutor, SerialExecutor, Task
from evolve.optimizers import CMAES
from evolve.schedule import Parallel, Serial
from slicing.errors import InputError
from tests.evolve.test_checkpoint import make, make_fitness, outcome

OPTIONS = {"passes": 2, "hand_over": "selection", "order": "importance", "max_evaluations": 250}


def make_executor(kind, workers):
    if kind is RayExecutor and find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    return kind(workers=workers)


@pytest.fixture(scope="module")
def in_this_process():
    schedule = make(Parallel, CMAES, **OPTIONS)
    return list(schedule), outcome(schedule)


def processes_of(executor):
    if isinstance(executor, ProcessExecutor):
        return [worker._process.pid for worker in executor._workers]
    pids = []
    for worker in executor._workers:
        # One that was killed is replaced when its answer is waited for, not before.
        with suppress(executor._ray.exceptions.RayActorError):
            pids.append(executor._ray.get(worker.__ray_call__.remote(lambda _: os.getpid())))
    return pids


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def assert_gone(pids):
    deadline = time.monotonic() + 10
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(is_alive, pids))


@pytest.mark.parametrize(
    ("kind", "workers", "kills"), [(ProcessExecutor, 3, ()), (ProcessExecutor, 2, (2, 9)),
                                   (RayExecutor, 2, (2, 9))],
)  # fmt: skip
def test_neither_workers_nor_their_deaths_change_anything(kind, workers, kills, in_this_process):
    executor = make_executor(kind, workers)
    schedule = make(Parallel, CMAES, executor=executor, **OPTIONS)
    events, seen = [], set()
    for event in schedule:
        events.append(event)
        pids = processes_of(executor)
        if len(events) in kills:
            os.kill(pids[-1], signal.SIGKILL)
        seen |= {*pids}
    assert len(seen) == workers + len(kills)
    assert (events, outcome(schedule)) == in_this_process
    assert_gone(seen)


def test_discriminants_are_the_same_in_other_processes():
    found = []
    for executor in (SerialExecutor(), ProcessExecutor(2)):
        schedule = make(Parallel, CMAES, executor=executor, discriminants=True, **OPTIONS)
        found.append((list(schedule), outcome(schedule)))
    assert found[0] == found[1]


def test_no_worker_outlives_a_run_that_is_broken_off():
    executor = ProcessExecutor(2)
    run = iter(make(Parallel, CMAES, executor=executor))
    next(run)
    workers = processes_of(executor)
    assert all(map(is_alive, workers))
    run.close()
    assert_gone(workers)


def task(fitness, **options):
    block = make_blocks(fitness.stack)[0]
    return Task(fitness.stack, block, block.read(fitness.stack)[None], **options)


@pytest.mark.parametrize("executor", [SerialExecutor(), ProcessExecutor(1)])
def test_an_error_in_a_worker_is_raised_here(executor):
    fitness = make_fitness()
    with executor:
        executor.start(fitness, None, 1)
        executor.submit(0, task(fitness, selects=True))  # and there are no selection queries
        with pytest.raises(AssertionError):
            executor.wait()


class Deadly:
    """Candidates over which every worker dies."""

    def __reduce__(self):
        return os._exit, (7,)


def test_a_task_over_which_every_worker_dies_ends_the_run():
    executor = ProcessExecutor(1)
    fitness = make_fitness()
    with executor:
        executor.start(fitness, None, 1)
        executor.submit(0, Task(fitness.stack, None, Deadly()))
        with pytest.raises(InputError, match=r"died 3 times .*exit code 7.*give fewer workers"):
            executor.wait()


def test_a_serial_schedule_has_nothing_for_workers():
    with pytest.raises(InputError, match="choose strategy=parallel"):
        make(Serial, CMAES, executor=ProcessExecutor(2))


@pytest.mark.parametrize("kind", [ProcessExecutor, RayExecutor])
def test_less_than_one_worker_is_refused(kind):
    with pytest.raises(InputError, match="workers=0"):
        kind(workers=0)


def test_no_more_workers_than_blocks():
    executor = ProcessExecutor(workers=9)
    fitness = make_fitness()
    with executor:
        executor.start(fitness, None, 2)
        assert executor.n_slots == len(executor._workers) == 2
        for slot in (1, 0):
            executor.submit(slot, task(fitness))
        results = [executor.wait() for _ in range(2)]
    assert sorted(slot for slot, *_ in results) == [0, 1]
    for _, losses, _ in results:
        np.testing.assert_allclose(losses, fitness.loss, rtol=1e-6)


def test_a_cluster_that_is_not_there_is_one_sentence():
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    executor = RayExecutor(address="127.0.0.1:1")
    fitness = make_fitness()
    with pytest.raises(InputError, match=r"executor.address=127.0.0.1:1 .*ray start --head"):
        executor.start(fitness, None, 2)


def test_ray_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install -e '\.\[ray\]'"):
        RayExecutor()
