"""Whatever happens to the process of a task, it is one sentence, and the next task is done."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest

from evolve.executors import ProcessExecutor
from evolve.executors.supervised import Supervised
from slicing.errors import InputError
from tests.evolve.executors.work import Unborn, work
from tests.evolve.test_executors import assert_gone, is_alive


@pytest.fixture
def make():
    made = []

    def make(function=work, **options):
        made.append(Supervised(function, lambda fallen: (fallen.kind, fallen.reason), **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_process_stays_from_task_to_task(make):
    supervised = make()
    (half, pid), (quarter, same) = supervised("half 4"), supervised("half 1")
    assert (half, quarter) == (2.0, 0.5)
    assert pid == same != os.getpid()
    supervised.close()
    assert_gone([pid])


@pytest.mark.parametrize(
    ("task", "kind", "reason"),
    [
        ("signal SIGKILL", "killed", "Its process ended by SIGKILL, perhaps for want of memory."),
        ("signal SIGSEGV", "killed", "Its process ended by SIGSEGV."),
        ("exit 3", "killed", "Its process ended with exit code 3."),
        ("exit 0", "killed", "Its process ended with exit code 0."),
        ("raise ValueError", "failed", "ValueError: It is odd."),
        ("raise MemoryError", "memory", "There was not enough memory."),
    ],
)
def test_what_happens_to_it_is_a_sentence(make, task, kind, reason):
    supervised = make()
    assert supervised(task) == (kind, reason)
    assert supervised("half 4")[0] == 2


def test_a_result_that_cannot_be_sent_is_a_failure(make):
    supervised = make()
    kind, reason = supervised("lambda")
    assert kind == "failed"
    assert "lambda" in reason
    assert supervised("half 4")[0] == 2


def test_an_exception_does_not_cost_the_process(make):
    supervised = make()
    _, pid = supervised("half 4")
    supervised("raise ValueError")
    assert supervised("half 4") == (2, pid)


def test_one_that_hangs_is_ended(make):
    supervised = make(seconds=lambda task: 1 if task == "hang" else None)
    _, pid = supervised("half 4")
    assert supervised("hang") == ("time", "It took more than 1 s.")
    assert_gone([pid])
    assert supervised("half 4")[0] == 2


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell")
def test_one_that_takes_too_much_memory_is_ended(make):
    supervised = make(max_bytes=600 * 10**6)
    assert supervised("half 4")[0] == 2
    assert supervised(f"memory {800 * 10**6}") == ("memory", "It took more than 0.6 GB of memory.")


def test_one_that_died_idle_fails_no_task(make):
    supervised = make()
    _, pid = supervised("half 4")
    os.kill(pid, signal.SIGKILL)
    assert_gone([pid])
    half, other = supervised("half 4")
    assert (half, other != pid) == (2, True)


def test_work_that_no_process_survives_is_a_mistake_of_the_user(make, tmp_path):
    births, log = tmp_path / "births", tmp_path / "log"
    supervised = make(Unborn(births), log=log)
    with pytest.raises(InputError, match=r"ended 3 times .* \(with exit code 5\): .*log may say"):
        supervised("anything")
    assert births.read_text() == "born\n" * 3


def test_what_it_prints_goes_to_a_file_or_nowhere(make, tmp_path, capfd):
    log = tmp_path / "log"
    log.write_text("before\n")
    make(log=log)("print")
    make()("print")
    assert log.read_text().startswith("before\n")
    assert {"to stdout", "to stderr"} <= set(log.read_text().splitlines())
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_ends_it(make):
    supervised = make()
    Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        supervised("hang")
    assert supervised._child is None


def test_it_is_pickled_without_its_process(make):
    supervised = make(work)
    supervised._fallen = print
    _, pid = supervised("half 4")
    copy = pickle.loads(pickle.dumps(supervised))
    assert copy._child is None
    assert is_alive(pid)


PARENT = """
import sys
from evolve.executors.supervised import Supervised
from tests.evolve.executors.work import work
supervised = Supervised(work, print)
print(supervised("half 4")[1], flush=True)
supervised("hang")
"""


def test_it_ends_with_who_started_it():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    assert_gone([child])


def test_a_worker_of_an_executor_may_supervise():
    with ProcessExecutor(workers=1) as executor:
        executor.start(Supervised(work, tuple), 1)
        executor.submit(0, "half 4")
        _, (half, pid) = executor.wait()
        assert half == 2
    assert_gone([pid])
