from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from experiments.study import plots
from slicing.baselines import Epoch
from tests.experiments.study.summaries import failed, trial
from tests.experiments.test_plots import pixels, share_of

FAMILIES = ["sliced", "cnn", "shallow"]
TRIALS = [trial(0), trial(1, "cnn", 95), trial(2, "shallow", 80), failed(3, "time", "late", "cnn")]
SLICED, CNN, SHALLOW = plots._COLORS[:3]


@pytest.mark.usefixtures("visible_figures")
@pytest.mark.parametrize("trials", [TRIALS, TRIALS[:1]])
def test_every_family_that_was_judged_is_seen(tmp_path, trials):
    plots.timeline(trials, FAMILIES, 0, tmp_path / "t.png")
    plots.front(trials, FAMILIES, [0], 0, tmp_path / "f.png")
    for name in ("t.png", "f.png"):
        image = pixels(tmp_path / name)
        for family, color in zip(FAMILIES, (SLICED, CNN, SHALLOW), strict=True):
            is_there = any(each.family == family for each in trials)
            assert (share_of(image, color, 25) > 0.00005) == is_there


@pytest.mark.usefixtures("visible_figures")
def test_a_training_of_one_epoch_and_one_that_diverged_are_drawn(tmp_path):
    epochs = [Epoch(float("nan"), 0.5), Epoch(0.3, 0.6, 0.4, 0.55)]
    for chosen in (epochs[1:], epochs):
        plots.training(chosen, {"engine": 0.7, "network": 0.6}, tmp_path / "t.png")
        assert share_of(pixels(tmp_path / "t.png"), CNN) > 0.00005


def test_the_time_between_sessions_does_not_count():
    times = [(100.0, 60.0), (130.0, 60.0), (100_000.0, 30.0)]
    trials = [replace(trial(n), ended=e, seconds=s) for n, (e, s) in enumerate(times)]
    found = plots._minutes(trials)
    assert found == {0: 1.0, 1: 1.5, 2: 2.0}


def test_neighboring_colors_differ_in_brightness():
    palette = [to_rgb(each) for each in plots._COLORS]
    gray = np.array(palette) @ [0.2126, 0.7152, 0.0722]
    assert (np.abs(np.diff(gray)) > 0.05).all()
