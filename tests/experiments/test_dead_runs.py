"""Runs that a killed process left as running in MLflow."""

import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest
from mlflow import MlflowClient

from experiments import dead_runs
from experiments.dead_runs import PROCESS, has_ended, mark_dead, this_process
from experiments.mlflow_store import connect
from tests.experiments.runs import give_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    give_store(folder)
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture
def begin(store, request):
    client = MlflowClient(store)
    experiment = client.create_experiment(request.node.name)
    return client, lambda tags: client.create_run(experiment, tags=tags).info.run_id


HOST, NUMBER, BEGIN = this_process().split(" ", 2)


@pytest.mark.parametrize(
    ("process", "status"),
    [
        (f"{HOST} {NUMBER} {BEGIN}", "RUNNING"),
        (f"{HOST} {NUMBER} earlier", "KILLED"),  # the number has come again
        (f"{HOST} 99999999 {BEGIN}", "KILLED"),
        (f"{HOST}x 99999999 {BEGIN}", "RUNNING"),  # another machine
        (None, "RUNNING"),  # another program
    ],
    # Not the values, which are others in each process of the tests.
    ids=["this process", "its number again", "dead", "another machine", "another program"],
)
def test_only_runs_of_this_machine_whose_process_is_gone(process, status, begin, store, request):
    client, run = begin
    tags = {"status": "running"} | ({PROCESS: process} if process else {})
    identity = run(tags)
    connect(store, request.node.name)
    found = client.get_run(identity)
    assert found.info.status == status
    assert found.data.tags["status"] == status.lower()


@pytest.mark.parametrize("proc", [True, False])
def test_a_run_is_dead_when_its_process_has_ended(proc, begin, monkeypatch):
    """As the kernel says, and, where it has no /proc, as ``ps`` does."""
    if not proc:
        if which("ps") is None:
            pytest.skip("needs ps")
        exists = Path.exists
        monkeypatch.setattr(Path, "exists", lambda path: str(path)[:5] != "/proc" and exists(path))
    client, run = begin
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = run({PROCESS: f"{HOST} {process.pid} {dead_runs._begin(process.pid)}"})
    experiment = client.get_run(identity).info.experiment_id
    mark_dead(client, experiment)
    assert client.get_run(identity).info.status == "RUNNING"
    process.kill()
    process.communicate()
    mark_dead(client, experiment)
    assert client.get_run(identity).info.status == "KILLED"


def test_a_process_of_this_machine_has_ended_once_its_number_is_free_or_another_s():
    name = this_process()
    machine, number, begin = name.split(" ", 2)
    assert not has_ended(name)
    assert has_ended(f"{machine} {number} {begin}9")
    assert has_ended(f"{machine} {2**22 + 1} {begin}")
    assert not has_ended(f"other-{machine} {number} {begin}9")
