"""Studies as people start them: in processes of their own, which end in many ways."""

import json
import os
import signal

import pytest

from benchmarks import forked_runs
from slicing.engine.engine import Engine
from tests.experiments.runs import give_store
from tests.experiments.study.test_study import FAMILY

SLOW = """\
baseline: lenet
baseline.filters: [2, 3]
strategy.passes: 0
baseline.epochs: 1000000
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "few.yaml").write_text(FAMILY)
    (tmp_path / "slow.yaml").write_text(SLOW)
    give_store(tmp_path)
    return tmp_path


def in_a_group_of_its_own():
    os.setsid()


def started(project, digits, *words):
    if not any(word.startswith("resume=") for word in words):
        words = (
            "data=mnist", f"data.directory={digits}", "data.train_size=300", "data.test_size=60",
            "output=study", "threads=1", "folds=1", *words,
        )  # fmt: skip
    study = "experiments.study.__main__"
    return forked_runs.begin(words, project, prepare=in_a_group_of_its_own, program=study)


def summary_of(project):
    return json.loads((project / "study" / "summary.json").read_text())


def test_a_killed_study_goes_on_and_counts_each_trial_once(project, digits):
    words = ("space=[few.yaml]", "budget.trials=4", "executor=processes", "executor.workers=2")
    process = started(project, digits, *words)
    forked_runs.wait_for(process, project, "\nTrial ")
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    # There is an engine from the first trial on.
    assert Engine.load(project / "study" / "engine.safetensors")
    code, err = forked_runs.finish(started(project, digits, "resume=study"), project)
    assert code == 0, err
    assert "Traceback" not in err
    trials = summary_of(project)["trials"]
    assert [each["number"] for each in trials] == [0, 1, 2, 3]
    assert {each["status"] for each in trials} == {"tried"}


def test_a_trial_that_does_not_end_is_ended_and_the_study_goes_on(project, digits):
    words = ("space=[few.yaml,slow.yaml]", "budget.trials=2", "limits.trial_minutes=0.1")
    code, err = forked_runs.finish(started(project, digits, *words), project)
    assert code == 0, err
    assert "Traceback" not in err
    trials = {each["family"]: each for each in summary_of(project)["trials"]}
    assert trials["few"]["status"] == "tried"
    assert trials["slow"]["status"] == "time"
    assert "of which 1 failed" in (project / "std1").read_text()


def test_trials_without_enough_memory_are_recorded(project, digits):
    words = ("space=[few.yaml]", "budget.trials=1", "limits.trial_gigabytes=0.05")
    code, err = forked_runs.finish(started(project, digits, *words), project)
    assert code == 2
    assert "Traceback" not in err
    last = err.strip().splitlines()[-1]
    assert last.startswith("No trial has given an engine that keeps the limits.")
    assert "memory" in last
