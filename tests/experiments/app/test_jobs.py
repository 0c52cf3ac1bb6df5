"""Jobs: what becomes of them is read from their folders and from who holds their locks."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from experiments.app import commands
from experiments.app.commands import KINDS
from experiments.app.datasets import Datasets
from experiments.app.job import State
from experiments.app.jobs import Jobs
from experiments.overrides import check
from experiments.schema.run import plain
from slicing.errors import InputError
from tests.experiments.app.conftest import archive, sent, until


def waiting_jobs(tmp_path, datasets):
    return Jobs(tmp_path / "jobs", datasets, ("wait",))


def test_a_job_runs_in_its_folder_and_ends_with_a_result(jobs, pets):
    job = jobs.create("study", pets.id, {}, "ann")
    assert job.state == State.QUEUED
    assert jobs.start(job.id).state in (State.RUNNING, State.FINISHED)
    job = until(State.FINISHED, jobs, job.id)
    [ended] = jobs.end_noticed()
    assert ended.id == job.id
    assert ended.ended >= ended.started
    assert jobs.end_noticed() == []
    assert job.summary() == {}
    assert job.report.read_text() == "<p>found</p>"


def test_events_are_read_once_and_whole(jobs, pets):
    job = jobs.create("study", pets.id, {})
    assert job.events() == ([], 0)
    jobs.start(job.id)
    job = until(State.FINISHED, jobs, job.id)
    found, after = job.events()
    assert [each["type"] for each in found] == ["message", "end"]
    with (job.run / "events.jsonl").open("a") as file:
        file.write('damaged\n{"type": "resumed"}\n{"type": "mess')
    found, later = job.events(after)
    assert [each["type"] for each in found] == ["resumed"]
    assert job.events(later) == ([], later)


def test_a_job_that_fails_says_why(tmp_path, datasets, scripted, pets):
    jobs = Jobs(tmp_path / "jobs", datasets, ("fail",))
    job = jobs.start(jobs.create("study", pets.id, {}).id)
    job = until(State.FAILED, jobs, job.id)
    assert job.reason == "threads=0 is out of range: choose 1 or more."


def test_stop_finishes_with_what_there_is_and_cancel_does_not(tmp_path, datasets, jobs, pets):
    jobs = waiting_jobs(tmp_path, datasets)
    for end, state in ((jobs.stop, State.FINISHED), (jobs.cancel, State.CANCELLED)):
        job = jobs.start(jobs.create("study", pets.id, {}).id)
        while not job.events()[0]:
            assert job.state == State.RUNNING
        assert end(job.id).asked
        until(state, jobs, job.id)


def test_one_in_the_queue_is_cancelled_and_can_go_on(jobs, pets):
    job = jobs.create("study", pets.id, {})
    assert jobs.stop(job.id).state == State.CANCELLED
    with pytest.raises(InputError, match="only one in the queue"):
        jobs.start(job.id)
    assert jobs.go_on(job.id, {}).state == State.QUEUED


def test_another_server_sees_a_job_at_work_and_ends_it(tmp_path, datasets, jobs, pets):
    first = waiting_jobs(tmp_path, datasets)
    job = first.start(first.create("study", pets.id, {}).id)
    while not job.events()[0]:
        assert job.state == State.RUNNING
    second = Jobs(tmp_path / "jobs", datasets)
    assert second.get(job.id).state == State.RUNNING
    assert second.end_noticed() == []
    with pytest.raises(InputError, match="it goes on by itself"):
        second.go_on(job.id, {})
    with pytest.raises(InputError, match="at work"):
        second.delete(job.id)
    with pytest.raises(InputError, match="reads the data set"):
        second.delete_dataset(pets.id)
    second.stop(job.id)
    until(State.FINISHED, second, job.id)
    assert len(second.end_noticed()) == 1
    second.delete(job.id)
    second.delete_dataset(pets.id)
    assert (second.all(), datasets.all()) == ([], [])


def test_a_server_that_is_killed_at_a_start_does_not_start_it_twice(jobs, pets, monkeypatch):
    class Killed(BaseException):
        pass

    started = []

    def start(*args, **options):
        started.append(popen(*args, **options))
        raise Killed

    popen = subprocess.Popen
    job = jobs.create("study", pets.id, {})
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", start)
        with pytest.raises(Killed):
            jobs.start(job.id)
    after = Jobs(jobs.folder, jobs.datasets)
    assert after.get(job.id).state in (State.RUNNING, State.FINISHED)
    with pytest.raises(InputError, match="only one in the queue"):
        after.start(job.id)
    until(State.FINISHED, after, job.id)
    assert len(started) == 1
    started[0].wait()


def test_a_job_that_was_killed_goes_on_where_it_was(tmp_path, datasets, jobs, pets):
    jobs = waiting_jobs(tmp_path, datasets)
    job = jobs.start(jobs.create("study", pets.id, {"budget.trials": 1}).id)
    while not job.events()[0]:
        assert job.state == State.RUNNING
    os.killpg(job.pid, signal.SIGKILL)
    job = until(State.FAILED, jobs, job.id)
    assert "ended from outside" in job.reason
    (job.run / "study.json").write_text("{}")
    with pytest.raises(InputError, match=r"^space is no option") as caught:
        jobs.go_on(job.id, {"space": ["cnn"]})
    assert caught.value.option == "space"
    job = jobs.go_on(job.id, {"budget.minutes": 2})
    assert job.state == State.QUEUED
    assert f"resume='{job.run}',budget.minutes=2" in job.argv[-1]
    jobs.cancel(job.id)
    with pytest.raises(InputError, match=r"budget\.minutes") as caught:
        jobs.go_on(job.id, {"budget.minutes": "soon"})
    assert caught.value.option == "budget.minutes"


def test_the_secrets_of_the_server_are_not_those_of_jobs(jobs, pets, monkeypatch):
    monkeypatch.setenv("APP_TOKEN", "a secret of the app")
    monkeypatch.setenv("SMTP_PASSWORD", "another secret")
    job = jobs.create("study", pets.id, {})
    values = json.loads((job.folder / "job.json").read_text())
    show = "import os, sys; print(sorted(os.environ), file=sys.stderr)"
    values["argv"][1:] = ["-c", show]
    (job.folder / "job.json").write_text(json.dumps(values))
    jobs.start(job.id)
    job = until(State.FAILED, jobs, job.id)
    assert "PATH" in job.log()
    assert "SECRET" not in job.log().upper()
    assert "SMTP" not in job.log()


def test_words_of_the_server_with_a_password_stand_in_no_file(tmp_path, datasets, scripted, pets):
    secret = "storage=postgresql://ann:secret@host/studies"
    jobs = Jobs(tmp_path / "jobs", datasets, (secret, "wait"))
    job = jobs.create("study", pets.id, {})
    started = jobs.start(job.id)
    arguments = Path(f"/proc/{started.pid}/cmdline").read_text().split("\0")
    assert secret in arguments
    # Those that share a database are told apart.
    assert f"name={job.id}" in arguments
    for path in job.folder.rglob("*"):
        assert not path.is_file() or b"secret" not in path.read_bytes()
    jobs.kill(job.id)
    until(State.FAILED, jobs, job.id)


def test_figures_of_another_classifier_are_not_given(jobs, pets):
    job = jobs.start(jobs.create("study", pets.id, {}).id)
    job = until(State.FINISHED, jobs, job.id)
    engine = job.run / "engine.safetensors"
    engine.write_bytes(b"tested")
    os.utime(engine, (0, 0))
    assert job.summary() == {}
    os.utime(engine, (2e9, 2e9))  # the best of a search that went on
    assert job.summary() is None


def test_a_damaged_record_does_not_stop_the_others(jobs, pets):
    kept, damaged, foreign = (jobs.create("study", pets.id, {}) for _ in range(3))
    (damaged.folder / "job.json").write_text("{")
    (foreign.folder / "job.json").write_text('{"kind": "study", "color": "red"}')
    assert [each.id for each in jobs.all()] == [kept.id]
    assert jobs.end_noticed() == []


def test_a_server_that_is_killed_before_there_is_a_process_starts_it_later(jobs, pets, monkeypatch):
    class Killed(BaseException):
        pass

    def start(*args, **options):
        raise Killed

    job = jobs.create("study", pets.id, {})
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", start)
        with pytest.raises(Killed):
            jobs.start(job.id)
    assert jobs.get(job.id).state == State.QUEUED
    jobs.start(job.id)
    until(State.FINISHED, jobs, job.id)


def test_what_somebody_chose_is_what_the_command_line_is_given(tmp_path):
    data = tmp_path / "it's (mine), a=b"
    options = {
        "budget.minutes": 2.5, "space": ["cnn", "shallow"], "data.image_size": [32, 32],
        "limits.bytes": None, "data.fit": "crop",
    }  # fmt: skip
    words = commands.words_of(KINDS["study"], options, data)
    [config] = check(words, program=KINDS["study"].program)
    config = plain(config)
    assert config["data"]["directory"] == str(data)
    assert config["budget"]["minutes"] == 2.5
    assert config["space"] == ["cnn", "shallow"]
    assert config["data"]["image_size"] == [32, 32]
    assert config["limits"]["bytes"] is None
    assert config["data"]["fit"] == "crop"


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"output": "x"}, "output"),
        ({"data._target_": "os.system"}, "data._target_"),
        ({"tracking.uri": "http://there"}, "tracking.uri"),
        ({"space": ["/etc/passwd"]}, "space"),
        ({"space": ["../own.yaml"]}, "space"),
        ({"sampler": "${oc.env:APP_TOKEN}"}, "sampler"),
        ({"sampler": "tpe seed=1"}, "sampler"),
        ({"sampler": {"a": 1}}, "sampler"),
        ({"sampler": "nosuch"}, "sampler"),
        ({"budget.minutes": -1}, "budget.minutes"),
        ({"budget.minutes": float("nan")}, "budget.minutes"),
        ({"budget.trials": "many"}, "budget.trials"),
        ({"choice_fraction": 3}, "choice_fraction"),
    ],
)
def test_a_mistake_names_its_option(tmp_path, options, option):
    with pytest.raises(InputError) as caught:
        commands.words_of(KINDS["study"], options, tmp_path)
    assert caught.value.option == option


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_is_one_of_the_command_line(kind, tmp_path):
    what = KINDS[kind]
    [config] = check(["data=folder", f"data.directory={tmp_path}"], program=what.program)
    for name in what.options:
        node = plain(config)
        for part in name.split("."):
            assert part in node, name
            node = node[part]


def test_a_job_of_a_data_set_with_exclusions_reads_its_own_table(tmp_path, jobs, datasets):
    dataset = sent(datasets, archive())
    datasets.exclude(dataset.id, [0])
    job = jobs.create("study", dataset.id, {})
    datasets.exclude(dataset.id, [1])
    [table] = job.folder.glob("my-pets/images.csv")
    assert len(table.read_text().splitlines()) == 8
    assert Datasets(datasets.folder).get(dataset.id).n_images == 6
