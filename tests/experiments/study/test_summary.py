from dataclasses import replace

import pytest

from experiments.statistics import Accuracy
from experiments.tables import percent
from tests.experiments.study.summaries import failed, study_of, trial


def text_of(tmp_path, trials, **changes):
    return study_of(tmp_path, trials, **changes)[0].text()


@pytest.mark.parametrize("n_options", [1, 3, 30])
def test_the_table_is_no_wider_than_a_terminal(tmp_path, n_options):
    options = {f"group.option_{n}": [n, n] for n in range(n_options)}
    trials = [replace(trial(n), options={**options, "slicing.k": n}) for n in range(12)]
    many = replace(trial(12), options=options, seconds=123456.0)
    many.metrics["bytes"] = 123_456_789_012
    lines = text_of(tmp_path, [*trials, many]).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 12
    assert max(map(len, table)) <= 120
    assert len({*map(len, table)}) == 1


def test_options_that_all_of_a_family_share_are_not_repeated(tmp_path):
    trials = [replace(trial(n), options={"baseline": "random", "slicing.k": n}) for n in range(3)]
    text = text_of(tmp_path, trials)
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert [row.split("|")[-2].strip() for row in rows] == ["k=0", "k=1", "k=2"]
    alone = text_of(tmp_path, trials[:1]).splitlines()[2]
    assert "baseline=random k=0" in alone


def test_it_says_what_chose_and_what_tested(tmp_path):
    text = text_of(tmp_path, [trial(0)], refit=Accuracy(50, 60))
    assert "% of 100 choice images right, which flatters it, since they chose it" in text
    assert "on 60 test images, which chose nothing" in text
    assert "83.33 (71.97-90.69) % made again with the choice images" in text
    without = text_of(tmp_path, [trial(0)])
    assert "there was no time to make it again with the choice images" in without


def test_it_counts_what_failed_and_why(tmp_path):
    trials = [trial(0), failed(1, "memory", "x"), failed(2, "time", "y"), failed(3, "time", "z")]
    text = text_of(tmp_path, trials)
    assert (
        "4 trials in 61 s, of which 3 failed (1 took more memory than it may; 2 took too long)"
        in text
    )
    assert "failed" not in text_of(tmp_path, [trial(0)])


def test_figures_for_mlflow_are_those_of_what_is_handed_over(tmp_path):
    summary, _ = study_of(tmp_path, [trial(0)], refit=Accuracy(50, 60))
    metrics = summary.metrics()
    assert metrics["engine/test_accuracy"] == 50 / 60
    assert metrics["engine/bytes"] == summary.engine_bytes


@pytest.mark.parametrize(
    ("ended", "granted", "is_said"),
    [("time", 80.0, True), ("time", 62.0, False), ("target", 80.0, False), ("time", None, False)],
)
def test_time_that_is_left_is_explained(tmp_path, ended, granted, is_said):
    text = text_of(tmp_path, [trial(0)], ended=ended, granted=granted)
    assert ("19 s of the time were not used: they were held back" in text) == is_said
    assert ("in 61 s of 80 s" in text) == (granted == 80)


def test_a_model_that_is_ahead_and_gives_no_engine_is_named_with_both_figures(tmp_path):
    trials = [trial(0, correct=90), trial(1, "shallow", 97)]
    text = text_of(tmp_path, trials)
    assert "trial 1 of the family shallow, which is only there to compare with, was ahead" in text
    ahead, winner = (percent(Accuracy(n, 100)) for n in (97, 90))
    assert f"{ahead} % right, the winner {winner} %. It gives no engine" in text
    assert "was ahead" not in text_of(tmp_path, [trial(0, correct=90), trial(1, "shallow", 90)])
