"""What is known of the time of a training, by its first steps."""

import time

import pytest

from experiments.study.pace import OutOfTimeError, Pace


class Clock:
    now = 100.0

    def wait(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


def train(pace, clock, n_steps, seconds=1.0, compiling=30.0):
    with pace.task("training"):
        pace.show(0.0, "making the network")
        clock.wait(compiling)
        for step in range(n_steps):
            pace.show((step + 1) / n_steps, "")
            clock.wait(seconds)


def test_a_training_that_has_time_is_left_alone(clock):
    train(Pace(100 + 30 + 101), clock, 100)
    assert clock.now == 100 + 30 + 100


def test_one_that_has_none_is_ended_after_a_few_steps(clock):
    with pytest.raises(OutOfTimeError) as caught:
        train(Pace(100 + 30 + 50), clock, 100)
    assert caught.value.seconds == pytest.approx(100)
    assert clock.now <= 100 + 30 + 5


def test_trainings_that_come_after_it_count(clock):
    train(Pace(100 + 30 + 101), clock, 20)
    with pytest.raises(OutOfTimeError) as caught:
        train(Pace(clock.now + 30 + 50, trainings=5), clock, 20)
    assert caught.value.seconds == pytest.approx(100)


def test_what_is_shown_beside_a_training_says_nothing_of_it(clock):
    pace = Pace(100 + 20)
    with pace.task("features"):
        for step in range(5):
            pace.show(step / 1000, "slow, but no training")
            clock.wait(3)
    with pace.task("training"):
        # Maps of the images, quickly; then the first epoch.
        for step in range(10):
            pace.show((step + 1) / 10, "")
        pace.show(0.1, "")
        pace.show(1.0, "")
    assert clock.now == 100 + 5 * 3
