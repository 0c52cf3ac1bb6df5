"""Studies from their command line to what they hand over, small and in this process."""

import json
import sys

import numpy as np
import pytest
from mlflow import MlflowClient

from evolve.trials import Tried
from experiments.study import __main__ as program
from experiments.study import study as module
from experiments.study.trial import words_of
from slicing.engine.engine import Engine
from tests.experiments.runs import give_store
from tests.experiments.test_report import read

FAMILY = """\
source: for this test
baseline: random
baseline.filters: {choices: [[2, 3], [3, 4]]}
strategy.passes: 0
slicing.shift: 0
slicing.k: {choices: [1, 3, 5]}
"""


class Direct:
    """Does the work of a study in this process; a hook may change what comes of it."""

    hook = None

    def __init__(self, work, fallen, seconds, max_bytes, **more):
        self._work = work

    def __call__(self, task):
        return (Direct.hook or (lambda work, task: work(task)))(self._work, task)

    def close(self):
        """Nothing is open."""


@pytest.fixture
def project(tmp_path, monkeypatch, digits):
    monkeypatch.setattr(module, "Supervised", Direct)
    monkeypatch.setattr(Direct, "hook", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.yaml").write_text(FAMILY)
    give_store(tmp_path)
    return tmp_path


@pytest.fixture
def study(project, monkeypatch, capsys, digits):
    """Run the command: its exit code, and what it printed."""

    def run(*words):
        if not any(word.startswith("resume=") for word in words):
            words = (
                "data=mnist", f"data.directory={digits}", "data.train_size=300",
                "data.test_size=60", "space=[few.yaml]", "output=study", "threads=1", "folds=1",
                *words,
            )  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["study", *words])
        code = 0
        try:
            program.main()
        except SystemExit as error:
            code = error.code
        return code, *capsys.readouterr()

    return run


def trials_of(project):
    return json.loads((project / "study" / "summary.json").read_text())["trials"]


def test_a_study_hands_over_an_engine_that_works(study, project, monkeypatch):
    code, out, err = study("budget.trials=3")
    assert code == 0, err
    summary = json.loads((project / "study" / "summary.json").read_text())
    assert [each["number"] for each in summary["trials"]] == [0, 1, 2]
    assert summary["ended"] == "trials"
    best = max(each["metrics"]["accuracy"] for each in summary["trials"])
    winner = summary["trials"][summary["winner"]]
    assert winner["metrics"]["accuracy"] == best
    assert summary["as_tried"]["total"] == summary["refit"]["total"] == 400
    # The engine that is handed over is that of a run with these options and all images.
    engine = Engine.load(project / "study" / "engine.safetensors")
    again = project / "study" / "winner" / "engine.safetensors"
    assert (project / "study" / "engine.safetensors").read_bytes() == again.read_bytes()
    assert len(engine.labels) == 300
    assert all(word in out for word in words_of(winner["options"]))
    assert "flatters" in out
    # Parts of its own report are taken from that of the run.
    folder = project / "study"
    page, run = (read(each) for each in (folder, folder / "winner"))
    for name in ("data", "worst"):
        assert run.one("section", id=name).text in page.text
    with np.load(folder / "winner" / "predictions.npz") as arrays:
        right = int((arrays["sliced"] == arrays["labels"]).sum())
    assert summary["refit"]["correct"] == right
    recalls = [each["recall"] for each in summary["by_class"].values()]
    assert sum(each["correct"] for each in recalls) == right
    with np.load(folder / "predictions.npz") as arrays:
        tried = int((arrays["engine"] == arrays["labels"]).sum())
    assert summary["as_tried"]["correct"] == tried


def test_mlflow_has_a_parent_and_a_child_for_every_trial(study, project):
    study("budget.trials=2")
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("knn-slicing")
    runs = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [
        run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id
    ]
    assert {run.data.tags.get("trial") for run in children} == {"0", "1", None}
    assert all(run.info.status == "FINISHED" for run in runs)
    summary = json.loads((project / "study" / "summary.json").read_text())
    for each in summary["trials"]:
        [child] = [run for run in children if run.data.tags.get("trial") == str(each["number"])]
        assert child.data.metrics["choice/accuracy"] == each["metrics"]["accuracy"]
    assert parent.data.metrics["trials"] == 2


def test_a_study_repeats_itself(study, project):
    study("budget.trials=4", "output=one")
    study("budget.trials=4", "output=two")

    def judged(name):
        summary = json.loads((project / name / "summary.json").read_text())
        return [(each["options"], each["metrics"]["accuracy"]) for each in summary["trials"]]

    assert judged("one") == judged("two")


def test_a_finished_study_goes_on_with_more_budget(study, project):
    study("budget.trials=2")
    first = trials_of(project)
    code, _, err = study("resume=study", "budget.trials=4")
    assert code == 0, err
    assert trials_of(project)[:2] == first
    assert len(trials_of(project)) == 4
    code, _, err = study("resume=study", "seed=1")
    assert code == 2
    assert err.strip().splitlines()[-1].startswith("seed was 0 when the study began and is 1 now")


def test_no_file_of_a_study_has_the_password_of_its_database(study, project, monkeypatch):
    address, opened = "storage=postgresql://me:open-sesame@host/trials", []

    def open_here(storage, *more):
        opened.append(storage)
        return open_study(project / "journal.log", *more)

    open_study = module.open_study
    monkeypatch.setattr(module, "open_study", open_here)
    code, out, err = study("budget.trials=2", address)
    assert code == 0, err
    assert opened == ["postgresql://me:open-sesame@host/trials"]
    files = [path for path in project.rglob("*") if path.is_file()]
    assert not [path for path in files if b"sesame" in path.read_bytes()]
    assert "sesame" not in out + err
    code, _, err = study("resume=study", "budget.trials=3")
    assert code == 2
    assert err.strip().splitlines()[-1].endswith("give storage=... with it again.")
    code, _, err = study("resume=study", "budget.trials=3", address)
    assert code == 0, err


def test_ctrl_c_hands_over_the_best_so_far_and_what_was_under_way_is_repeated(study, project):
    def interrupted(work, task):
        if getattr(task, "number", 0) == 2:
            raise KeyboardInterrupt
        return work(task)

    Direct.hook = interrupted
    code, _, _ = study("budget.trials=4")
    assert code == 130
    assert len(trials_of(project)) == 2
    assert json.loads((project / "study" / "summary.json").read_text())["refit"] is None
    assert (project / "study" / "engine.safetensors").exists()
    Direct.hook = None
    code, _, err = study("resume=study")
    assert code == 0, err
    whole = trials_of(project)
    study("budget.trials=4", "output=whole")
    summary = json.loads((project / "whole" / "summary.json").read_text())
    assert [each["options"] for each in whole] == [each["options"] for each in summary["trials"]]


def test_a_trial_that_falls_is_recorded_and_the_study_goes_on(study, project):
    def falling(work, task):
        if getattr(task, "number", None) == 0:
            return Tried("memory", "It took more than 1.0 GB of memory.")
        return work(task)

    Direct.hook = falling
    code, out, err = study("budget.trials=3")
    assert code == 0, err
    statuses = [each["status"] for each in trials_of(project)]
    assert statuses == ["memory", "tried", "tried"]
    assert "of which 1 failed (1 took more memory than it may)" in out


def test_where_no_trial_gives_an_engine_that_is_said_and_nothing_is_lost(study, project):
    code, _, err = study("budget.trials=2", "limits.bytes=10")
    assert code == 2
    last = err.strip().splitlines()[-1]
    assert last.startswith("No trial has given an engine that keeps the limits.")
    assert "resume=" in last


def test_the_test_images_are_read_once_the_search_has_ended(study, project, monkeypatch, digits):
    from experiments.study import trial as tried

    order = []
    judge = tried._judge
    monkeypatch.setattr(tried, "_judge", lambda *args: order.append("trial") or judge(*args))
    end = tried.end
    monkeypatch.setattr(tried, "end", lambda ending: order.append("test") or end(ending))
    study("budget.trials=3")
    assert order == ["trial"] * 3 + ["test", "test"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["budget.minutes=0"], "budget.minutes=0"),
        (["space=[nothing]"], "space=nothing is unknown"),
        (["sampler=annealing"], "sampler=annealing is unknown"),
        (["pruner=never"], "pruner=never is unknown"),
        (["objectives=[speed]"], "objectives=speed is unknown"),
        (["slicing.k=3"], "slicing"),
        (["resume=nowhere"], "resume=nowhere cannot go on"),
        (["--trials", "5"], "--trials is no flag"),
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_nothing(study, project, words, sentence):
    before = sorted(path.name for path in project.iterdir())
    code, out, err = study(*words)
    assert code == 2
    assert out == ""
    assert sentence in err.strip().splitlines()[-1]
    assert "Traceback" not in err
    assert sorted(path.name for path in project.iterdir()) == before
