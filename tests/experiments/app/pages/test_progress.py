"""What a study's events say of it."""

import json
from dataclasses import replace

import pytest

from experiments.app.job import State
from experiments.app.pages import charts
from experiments.app.pages.progress import Follower, Progress, Trial
from experiments.app.pages.wording import between, duration, size
from experiments.statistics import Accuracy


def trial(number, correct, minutes):
    return Trial(number, "cnn", Accuracy(correct, 100), 1000, 2.0, 30, minutes, (), True)


def test_the_best_over_time_rises_and_goes_on_to_the_last_trial():
    trials = (trial(0, 80, 1), trial(1, 70, 2), trial(2, 90, 3), trial(3, 85, 4))
    progress = Progress(State.RUNNING, "", trials)
    assert [each.number for each in progress.bests()] == [0, 2]
    assert progress.best.number == 2
    low, band, best = charts.best_over_time(progress)["series"]
    assert best["data"] == [[1, 80], [3, 90], [4, 90]]
    wilson = Accuracy(80, 100).interval()
    assert low["data"][0][1] == pytest.approx(100 * wilson[0], abs=0.01)
    assert low["data"][0][1] + band["data"][0][1] == pytest.approx(100 * wilson[1], abs=0.02)


def test_the_best_is_one_that_can_be_taken():
    ahead = replace(trial(1, 95, 2), is_engine=False)
    progress = Progress(State.RUNNING, "", (trial(0, 80, 1), ahead))
    assert progress.best.number == 0
    assert [each.number for each in progress.bests()] == [0]


def test_a_trial_that_there_was_no_time_for_has_not_failed(jobs, pets):
    job = jobs.create("study", pets.id, {})
    job.run.mkdir()
    trials = [("tried", [0.2], True), ("skipped", [], True), ("failed", [], True)]
    with (job.run / "events.jsonl").open("w") as file:
        for number, (status, values, is_engine) in enumerate(trials):
            event = {
                "type": "trial", "time": "2026-01-31T12:00:00+00:00", "number": number,
                "family": "cnn", "status": status, "values": values, "seconds": 1.0,
                "ended": 1769860801.0, "metrics": {"bytes": 1.0, "milliseconds": 1.0},
                "details": {"engine": is_engine, "training": [], "correct": 8, "total": 10},
            }  # fmt: skip
            print(json.dumps(event), file=file)
    progress = Follower(job).follow(job)
    assert (len(progress.trials), progress.n_failed) == (1, 1)


def test_a_network_has_curves_and_those_of_choice_images_where_they_are_known():
    training = ((0.5, 0.8, None, None), (0.3, None, None, None))
    drawn = charts.training(replace(trial(0, 80, 1), training=training))
    assert [each["name"] for each in drawn["series"]] == ["loss", "% right"]
    assert drawn["series"][1]["data"] == [80, None]
    training = ((0.5, 0.8, 0.6, 0.7),)
    drawn = charts.training(replace(trial(0, 80, 1), training=training))
    assert [each["data"] for each in drawn["series"]] == [[0.5], [80], [0.6], [70]]
    assert [each["yAxisIndex"] for each in drawn["series"]] == [0, 1, 0, 1]


def test_nothing_has_figures_too():
    assert charts.best_over_time(Progress(State.QUEUED, ""))["series"][2]["data"] == []
    assert charts.parallel([])["series"] == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59, "59 s"), (180, "3 min"), (7500, "2 h 5 min"), (200_000, "2 days")],
)
def test_times_are_words(seconds, said):
    assert duration(seconds) == said


def test_sizes_and_intervals_are_words():
    assert size(999) == "999 bytes"
    assert size(2_340_000) == "2.34 MB"
    assert between(Accuracy(50, 100)) == "between 40 and 60 %"
