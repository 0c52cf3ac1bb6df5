import random
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import damage, fault_runs, faults
from benchmarks.readers import READERS
from evolve.optimizers import BY_NAME


@pytest.mark.parametrize("name", damage.DAMAGES)
def test_a_damage_changes_a_file_and_repeats(name):
    content = random.Random(0).randbytes(3000) + b'{"shape": [3, 4]}'
    found = [damage.DAMAGES[name](content, random.Random(seed)) for seed in range(20)]
    assert sum(each != content for each in found) >= 18
    assert found == [damage.DAMAGES[name](content, random.Random(seed)) for seed in range(20)]


def test_hostile_content_executes_where_it_is_unpickled(tmp_path):
    for seed in range(100):
        content = damage.DAMAGES["something else"](b"x", random.Random(seed))
        (tmp_path / "file").write_bytes(content)
        code = "import pickle; pickle.load(open('file', 'rb'))"
        if content.startswith(b"\x80"):
            subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
            break
    assert (tmp_path / damage.EXECUTED).exists()


@pytest.fixture
def read(monkeypatch, tmp_path):
    """A reader whose process does what a line of code says with each path."""

    def make(code):
        program = (
            "import sys, time\n"
            "for line in sys.stdin:\n"
            "    path = line.strip()\n"
            "    if path.endswith('whole'): print('read', flush=True); continue\n"
            f"    {code}\n"
            "    print('sentence', flush=True)\n"
        )
        start = subprocess.Popen

        def popen(command, **options):
            return start([sys.executable, "-c", program], **options)

        monkeypatch.setattr(subprocess, "Popen", popen)
        reader = faults.Reader("engine", Path("whole"), tmp_path)
        outcome = reader.read(Path("damaged"))
        reader.close()
        return outcome

    return make


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        ("pass", "sentence"),
        (f"open({damage.EXECUTED!r}, 'w')", "executed"),
        ("sys.exit(1)", "hang or death"),
        ("print('KeyError', flush=True)", "KeyError"),
    ],
)
def test_a_reader_says_what_came_of_a_file(code, outcome, read):
    assert read(code) == outcome


def test_a_reader_that_hangs_is_ended(read, monkeypatch):
    monkeypatch.setattr(faults, "SECONDS", 1.0)
    assert read("time.sleep(1000)") == "hang or death"


def test_damaged_engines_are_read_or_refused():
    data = faults.mnist5k(train_size=100, test_size=10).train
    outcomes = faults.fuzz_readers("engine", 12, Path(), data, 0)
    assert outcomes.total() == 12
    assert set(outcomes) <= {"read", "sentence"}


@pytest.mark.parametrize("kind", ["table", "archive"])
def test_damaged_tables_and_archives_are_read_or_refused(kind):
    data = faults.mnist5k(train_size=10, test_size=10).train
    outcomes = faults.fuzz_readers(kind, 20, Path(), data, 0)
    assert outcomes.total() == 20
    assert set(outcomes) <= {"read", "sentence"}


def test_what_is_left_in_a_folder_is_a_fault(tmp_path):
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "history.csv.part").touch()
    (tmp_path / damage.EXECUTED).touch()
    found = set(fault_runs.faults_of_folder(tmp_path))
    assert found == {"a file .part", "a checkpoint", "executed"}


def test_a_process_that_is_left_is_a_fault(tmp_path):
    with subprocess.Popen(["sleep", "100"], cwd=tmp_path) as process:
        assert list(fault_runs.faults_of_folder(tmp_path, grace=0.0)) == ["a process"]
        process.kill()


def test_all_optimizers_are_killed_with_all_strategies():
    cases = fault_runs.cases()
    assert {case.optimizer for case in cases} == set(BY_NAME)
    assert {case.executor for case in cases} == set(fault_runs.EXECUTORS)
    assert all(case.reference in cases for case in cases)


def test_every_reader_gets_files():
    assert set(faults._SUFFIXES) == set(READERS)
