"""Studies from their command line to what they hand over, small and in this process."""

import json
import shutil
import sys
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from mlflow import MlflowClient

from evolve.trials import Task, Tried
from experiments.study import __main__ as program
from experiments.study import pace, work
from experiments.study import study as module
from experiments.study.ending import Remaking
from experiments.study.origin import StudyOrigin
from experiments.study.roles import Roles
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


def whole(work, task):
    """Do all that is asked."""
    return work(task)


def quick(work, task):
    """Do not make the winner again."""
    return Tried("time", "It takes long.") if isinstance(task, Remaking) else work(task)


class Direct:
    """Does the work of a study in this process; a hook may change the result."""

    hook = staticmethod(quick)

    def __init__(self, work, fallen, seconds, max_bytes, **more):
        self._work = work

    def __call__(self, task):
        return Direct.hook(self._work, task)

    def close(self):
        """Nothing is open."""


@pytest.fixture
def project(tmp_path, monkeypatch, digits):
    monkeypatch.setattr(work, "Supervised", Direct)
    monkeypatch.setattr(Direct, "hook", quick)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.yaml").write_text(FAMILY)
    (tmp_path / "wrong.yaml").write_text(FAMILY.replace("filters", "filtres"))
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
    Direct.hook = whole
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
    Direct.hook = whole
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


def test_ctrl_c_hands_over_the_best_so_far_and_what_was_under_way_is_repeated(study, project):
    def interrupted(work, task):
        if getattr(task, "number", 0) == 2:
            raise KeyboardInterrupt
        return quick(work, task)

    Direct.hook = interrupted
    code, _, _ = study("budget.trials=4")
    assert code == 130
    assert len(trials_of(project)) == 2
    assert json.loads((project / "study" / "summary.json").read_text())["refit"] is None
    assert (project / "study" / "engine.safetensors").exists()
    Direct.hook = quick
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
        return quick(work, task)

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


TRAINED = """\
source: for this test
judged: baseline
baseline: lenet
strategy.passes: 0
slicing.shift: 0
baseline.filters: {choices: [[2], [3]]}
baseline.pooling: [true]
baseline.epochs: {rungs: [EPOCHS]}
start: [{}, {baseline.filters: [3]}]
"""


def test_a_training_that_the_time_is_too_short_for_is_skipped(study, project, monkeypatch):
    monkeypatch.setattr(pace, "_SECONDS", 0.0)
    (project / "slow.yaml").write_text(TRAINED.replace("EPOCHS", "200000"))
    code, out, err = study("space=[few.yaml,slow.yaml]", "budget.minutes=2")
    assert code == 0, err
    slow = [each for each in trials_of(project) if each["family"] == "slow"]
    # The second is not even begun: what was learned of the first is known of its family.
    assert [each["status"] for each in slow] == ["skipped", "skipped"]
    assert slow[0]["reason"].startswith("Its training would take")
    assert slow[1]["reason"].startswith("The quickest of slow")
    assert "for 2 more there was no time" in out
    assert "failed" not in out


def test_a_training_has_curves_on_training_and_choice_images(study, project):
    family = TRAINED.replace("EPOCHS", "2").replace("judged: baseline", "judged: engine")
    (project / "quick.yaml").write_text(family)
    code, _, err = study("space=[quick.yaml]", "budget.trials=1")
    assert code == 0, err
    [only] = trials_of(project)
    curves = only["details"]["training"]
    assert [len(each) for each in curves] == [4, 4]
    # After the last epoch it is the network that judges the trial.
    assert curves[-1][3] == pytest.approx(only["details"]["network_accuracy"])
    lines = (project / "study" / "trials" / "0000" / "events.jsonl").read_text().splitlines()
    epochs = [each for each in map(json.loads, lines) if each["type"] == "epoch"]
    assert [each["number"] for each in epochs] == [1, 2]
    assert [each["choice_accuracy"] for each in epochs] == [each[3] for each in curves]
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("knn-slicing")
    [run] = [
        each for each in client.search_runs([experiment.experiment_id])
        if each.data.tags.get("trial") == "0"
    ]  # fmt: skip
    kept = client.get_metric_history(run.info.run_id, "baseline/choice_loss")
    assert [(each.step, each.value) for each in kept] == [(1, curves[0][2]), (2, curves[1][2])]


def test_a_tiny_budget_tries_the_first_trial_on_one_part_of_the_images(study, project):
    code, _, err = study("folds=5", "budget.minutes=0.001")
    assert code == 0, err
    [only] = trials_of(project)
    assert (only["status"], len(only["details"]["folds"])) == ("tried", 1)
    assert "judged 1 time and not 5" in read(project / "study").text


def test_the_test_images_are_read_once_the_search_has_ended(study, project, monkeypatch, digits):
    order = []

    def noted(work, task):
        order.append(type(task).__name__)
        return work(task)

    Direct.hook = noted
    study("budget.trials=3")
    assert order == ["Task"] * 3 + ["Testing", "Remaking"]


def test_an_engine_is_tested_as_it_was_tried_after_a_resume_too(study, project):
    Direct.hook = whole
    study("budget.trials=2")
    folder = project / "study"
    first = json.loads((folder / "summary.json").read_text())
    handed_over = (folder / "engine.safetensors").read_bytes()
    Direct.hook = lambda work, task: (
        Tried("failed", "It fails.") if isinstance(task, Task) else quick(work, task)
    )
    code, _, err = study("resume=study", "budget.trials=3")
    assert code == 0, err
    second = json.loads((folder / "summary.json").read_text())
    assert second["winner"] == first["winner"]
    assert second["as_tried"] == first["as_tried"]
    assert (folder / "engine.safetensors").read_bytes() == handed_over


def test_an_engine_whose_copy_was_not_made_is_handed_over(study, project, monkeypatch):
    def killed(*paths):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "keep", killed)
        with suppress(KeyboardInterrupt):
            study("budget.trials=1")
    assert not (project / "study" / "engine.safetensors").exists()
    code, _, err = study("resume=study")
    assert code == 0, err
    assert Engine.load(project / "study" / "engine.safetensors")


EVOLVED = """\
baseline: random
baseline.filters: [2, 3]
fitness: discriminants
slicing.average: 1
strategy.max_evaluations: {rungs: [20, 40]}
"""


def test_a_fold_and_a_rung_know_nothing_of_those_before(study, project):
    (project / "evolved.yaml").write_text(EVOLVED)
    words = ("data.train_size=150", "space=[evolved.yaml]", "pruner=none", "budget.trials=1")
    code, _, err = study(*words, "folds=2")
    assert code == 0, err
    [both] = trials_of(project)
    assert both["rung"] == 1
    assert both["reason"] == ""
    # What evolved without the images of the second fold is what a study of that fold alone finds.
    shutil.rmtree(project / "study")
    fold = Roles.of

    def second(self, dataset, number):
        return fold(replace(self, folds=2), dataset, 1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Roles, "of", second)
        study(*words, "folds=1")
    [alone] = trials_of(project)
    assert alone["details"]["folds"] == both["details"]["folds"][1:]


def test_an_engine_that_breaks_a_limit_once_it_is_made_again_is_not_handed_over(study, project):
    Direct.hook = whole
    code, _, err = study("budget.trials=1")
    assert code == 0, err
    n_bytes = int(trials_of(project)[0]["metrics"]["bytes"])
    study("budget.trials=1", f"limits.bytes={n_bytes + 10}", "output=small")
    summary = json.loads((project / "small" / "summary.json").read_text())
    assert summary["refit"] is None
    assert summary["why_not_refit"].startswith("made again, it breaks a limit: ")
    assert (project / "small" / "engine.safetensors").stat().st_size <= n_bytes + 10


def test_ctrl_c_while_it_is_made_again_hands_over_the_engine_as_it_was_tried(study, project):
    def interrupted(work, task):
        if isinstance(task, Remaking):
            raise KeyboardInterrupt
        return work(task)

    Direct.hook = interrupted
    code, out, _ = study("budget.trials=1")
    assert code == 130
    assert "it was not made again with the choice images: interrupted" in out
    assert Engine.load(project / "study" / "engine.safetensors")


def test_an_engine_that_lost_by_being_made_again_is_not_handed_over(study, project):
    def lost(work, task):
        tried = work(task)
        if isinstance(task, Remaking):
            return replace(tried, details={**tried.details, "known": 0})
        return tried

    Direct.hook = lost
    study("budget.trials=1")
    summary = json.loads((project / "study" / "summary.json").read_text())
    assert summary["refit"] is None
    assert "of the choice images right" in summary["why_not_refit"]


def test_no_password_is_written(study, project):
    words = ("storage='sqlite:///trials.db?token=hush'", "name=one", "budget.trials=1")
    code, _, err = study(*words)
    assert code == 0, err
    for path in project.rglob("*"):
        if path.is_file() and path.name != "trials.db":
            assert b"hush" not in path.read_bytes(), path
    code, _, err = study("resume=study", "budget.trials=2")
    assert code == 2
    assert "storage has a password, which is written nowhere: give it again" in err
    code, _, err = study("resume=study", "budget.trials=2", words[0])
    assert code == 0, err


def test_a_storage_keeps_studies_apart(study, project):
    words = ("storage=sqlite:///trials.db", "budget.trials=1")
    assert study(*words, "name=one")[0] == 0
    code, _, err = study(*words, "name=one", "output=other", "data.train_size=200")
    assert code == 2
    assert "data.train_size was 300 when the study began and is 200 now" in err
    assert study(*words, "name=two", "output=other", "data.train_size=200")[0] == 0


def test_the_winner_is_one_whose_engine_is_here(study, project):
    words = ("storage=sqlite:///trials.db", "name=one")
    assert study(*words, "budget.trials=1")[0] == 0
    code, _, err = study(*words, "budget.trials=2", "output=there")
    assert code == 0, err
    assert json.loads((project / "there" / "summary.json").read_text())["winner"] == 1


def test_a_budget_is_what_is_left_or_what_is_given(study, project, monkeypatch):
    study("budget.minutes=9", "budget.trials=1")
    used = StudyOrigin.read(project / "study").seconds
    assert used > 0
    left = []
    clock = module.Clock
    monkeypatch.setattr(module, "Clock", lambda *args: left.append(args[0]) or clock(*args))
    study("resume=study")
    study("resume=study", "budget.minutes=9", "budget.trials=2")
    assert left == [pytest.approx(540 - used), 540]


def test_other_families_do_not_go_on(study, project):
    study("budget.trials=1")
    (project / "few.yaml").write_text(FAMILY.replace("[1, 3, 5]", "[1, 3]"))
    code, _, err = study("resume=study", "budget.trials=2")
    assert code == 2
    assert "The family few differs from that with which the study began" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["budget.minutes=0"], "budget.minutes=0"),
        (["space=[nothing]"], "space=nothing is unknown"),
        (["sampler=annealing"], "sampler=annealing is unknown"),
        (["pruner=never"], "pruner=never is unknown"),
        (["budget.trials=0"], "budget.trials=0 is out of range"),
        (["limits.trial_gigabytes=0"], "limits.trial_gigabytes=0"),
        (["space=[shallow,recurrent]"], "none that can be handed over"),
        (["space=[wrong.yaml]"], "did you mean baseline.filters"),
        (["storage=postgresql://host/base"], "give this one a name"),
        (["objectives=[speed]"], "objectives=speed is unknown"),
        (["slicing.k=3"], "slicing"),
        (["tracking.uri=sqlite:////dev/null/runs.db"], "tracking.uri=sqlite:////dev/null"),
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
