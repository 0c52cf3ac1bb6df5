"""Wherever candidates are evaluated, and whatever dies meanwhile: the same network."""

import os
import pickle
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from evolve.evaluation import Evaluator, NetworkExecutor, Task
from evolve.executors import ProcessExecutor, RayExecutor, SerialExecutor
from evolve.optimizers import CMAES
from evolve.schedule import Parallel, Serial
from slicing.errors import InputError, installing
from tests.evolve.blocks import make_blocks
from tests.evolve.test_checkpoint import make, make_fitness, outcome
from tests.evolve.work import Deadly, half

OPTIONS = {"passes": 2, "hand_over": "best", "order": "importance", "max_evaluations": 250}


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
    place = Path(f"/proc/{pid}")
    try:
        is_zombie = (place / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
        # Its parent is not told before all of its threads have ended.
        return not is_zombie or len([*(place / "task").iterdir()]) > 1
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


PARENT = """
import os, sys, time
from evolve.executors import ProcessExecutor

if __name__ == "__main__":
    executor = ProcessExecutor(1)
    executor.start(time.sleep, 1)
    executor.submit(0, 600.0)
    print(executor._workers[0]._process.pid, flush=True)
    if sys.argv[1] == "killed":
        os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_a_worker_dies_with_its_parent_in_the_middle_of_a_task(how, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    root = Path(__file__).parents[2]
    found = subprocess.run(
        [sys.executable, str(script), how],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert found.returncode == {"killed": -signal.SIGKILL, "ended": 0}[how]
    assert_gone([int(found.stdout)])


def test_signals_to_all_processes_leave_workers_to_their_parent():
    """At once, before it is there, and when it has done something."""
    with ProcessExecutor(1) as executor:
        executor.start(abs, 1)
        [pid] = processes_of(executor)
        for task in (-3, -4):
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(pid, number)
            executor.submit(0, task)
            assert executor.wait() == (0, -task)
        assert processes_of(executor) == [pid]


@pytest.mark.parametrize("executor", [SerialExecutor(), ProcessExecutor(1)])
def test_an_executor_does_any_work_and_raises_its_errors_here(executor):
    with executor:
        executor.start(half, 1)
        executor.submit(0, 3)
        assert executor.wait() == (0, 1.5)
        executor.submit(0, "three")
        with pytest.raises(TypeError):
            executor.wait()


def test_a_task_over_which_every_worker_dies_ends_the_run():
    executor = ProcessExecutor(1)
    with executor:
        executor.start(half, 1)
        executor.submit(0, "deadly")
        with pytest.raises(InputError, match=r"died 3 times .*exit code 7.*give fewer workers"):
            executor.wait()


def test_deaths_count_across_the_question_for_the_network(tmp_path):
    deaths = tmp_path / "deaths"
    deaths.write_text("")
    stack = make_fitness().stack
    task = Task(make_blocks(stack)[0], stack.digest, np.zeros((1, 1)))
    executor = NetworkExecutor(ProcessExecutor(1), lambda: stack)
    with executor:
        executor.start(Deadly(deaths), 1)
        executor.submit(0, task)
        with pytest.raises(InputError, match="died 3 times over the same task"):
            executor.wait()
    assert deaths.read_text().count("died") == 3


class Recording(SerialExecutor):
    """Notes which tasks bring a network; its worker holds a copy of the fitness."""

    def start(self, work, max_workers):
        self.networks = []
        super().start(pickle.loads(pickle.dumps(work)), max_workers)

    def submit(self, slot, task):
        self.networks.append(None if task.stack is None else task.network)
        super().submit(slot, task)


def test_a_network_travels_once():
    fitness, recording = make_fitness(), Recording()
    block = make_blocks(fitness.stack)[0]
    candidates = block.read(fitness.stack)[None] * 1.5
    executor = NetworkExecutor(recording, lambda: fitness.stack)
    with executor:
        executor.start(Evaluator(fitness), 1)
        for step in (0.0, 1.0, 1.0, 2.0):
            fitness.adopt(block.write(fitness.stack, step + candidates[0]), np.nan)
            fitness.bind(block)
            executor.submit(0, Task(block, fitness.stack.digest, candidates))
            slot, result = executor.wait()
            assert slot == 0
            np.testing.assert_array_equal(result.losses, fitness.losses(candidates))
    sent = [network for network in recording.networks if network]
    # Four tasks, of three networks that the worker does not have yet.
    assert len(recording.networks) == 4 + 3
    assert len(set(sent)) == len(sent) == 3


def test_a_serial_schedule_has_nothing_for_workers():
    with pytest.raises(InputError, match="Serial evaluates one block at a time; choose Parallel"):
        make(Serial, CMAES, executor=ProcessExecutor(2))


@pytest.mark.parametrize("kind", [ProcessExecutor, RayExecutor])
def test_less_than_one_worker_is_refused(kind):
    with pytest.raises(InputError, match="workers=0 is out of range"):
        kind(workers=0)


def test_no_more_workers_than_tasks():
    executor = ProcessExecutor(workers=9)
    with executor:
        executor.start(half, 2)
        assert executor.n_slots == len(executor._workers) == 2
        for slot in (1, 0):
            executor.submit(slot, slot + 10)
        assert sorted(executor.wait() for _ in range(2)) == [(0, 5.0), (1, 5.5)]


def test_a_cluster_that_is_not_there_is_one_sentence():
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    executor = RayExecutor(address="127.0.0.1:1")
    with pytest.raises(InputError, match=r"address=127.0.0.1:1 .*ray start --head"):
        executor.start(half, 2)


def test_ray_is_optional(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=re.escape(installing("ray"))):
        RayExecutor()
