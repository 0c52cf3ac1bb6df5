"""Several monitors are told the same, and the first that gives a reason stops the run."""

import signal
from contextlib import contextmanager

import pytest

from evolve.search import Ablation
from experiments import evolution
from experiments.evolution import run_schedule
from experiments.monitor import Monitors, Silent


class Listener(Silent):
    def __init__(self, reason=None, after=0):
        self.told, self.reason, self.after = [], reason, after

    def say(self, text):
        self.told.append(text)

    @contextmanager
    def task(self, name, done=0.0):
        self.told.append(("begin", name, done))
        yield
        self.told.append(("end", name))

    def show(self, fraction, text):
        self.told.append((fraction, text))

    def event(self, event):
        self.told.append(event)

    def stop_reason(self):
        return self.reason if len(self.events) >= self.after else None

    @property
    def events(self):
        return [each for each in self.told if not isinstance(each, str | tuple)]


def test_all_are_told_the_same():
    listeners = Listener(), Listener()
    monitors = Monitors(*listeners, Silent())
    monitors.say("one")
    with monitors.task("training", 0.25):
        monitors.show(0.5, "half")
    monitors.event(event := object())
    for each in listeners:
        assert each.told == [
            "one", ("begin", "training", 0.25), (0.5, "half"), ("end", "training"), event
        ]  # fmt: skip


def test_the_first_reason_counts():
    assert Monitors(Silent(), Listener("b"), Listener("c")).stop_reason() == "b"
    assert Monitors(Silent()).stop_reason() is None


@pytest.fixture
def schedule(make_schedule):
    return make_schedule()


def test_a_monitor_stops_a_schedule(schedule):
    listener, after = Listener("full", after=1), []
    assert run_schedule(schedule, listener, after.append) == "full"
    assert schedule.ended == "full"
    assert len(listener.events) == 1
    # The generation after which it was stopped, and how its block ended.
    assert [type(each).__name__ for each in after] == ["Generation", "BlockEnd"]
    assert "full" in after[-1].reasons


def test_without_a_reason_it_goes_on_to_its_end(schedule):
    listener, after = Listener(), []
    assert run_schedule(schedule, listener, after.append) is None
    assert schedule.ended == "passes"
    assert after == []
    assert listener.told[0] == ("begin", "evolving", 0.0)
    assert listener.told[-1] == ("end", "evolving")


def test_ctrl_c_is_heard_where_no_event_follows(make_schedule, monkeypatch):
    """The order by importance measures the loss without each block, and yields nothing."""
    schedule = make_schedule(order="importance")
    measured, measure = [], Ablation.receive

    def interrupted(ablation, result):
        measure(ablation, result)
        measured.append(ablation)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Ablation, "receive", interrupted)
    listener, after = Listener(), []
    # Where the tests run in the background, Ctrl-C is ignored.
    at_first = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert run_schedule(schedule, listener, after.append) == "interrupted"
    finally:
        signal.signal(signal.SIGINT, at_first)
    assert len(measured) == 1
    assert schedule.ended == "interrupted"
    assert listener.events == after == []


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.001, None), (10.0, None), (50.0, "about 6 minutes more"), (600.0, "about 70 minutes"),
        (5000.0, "about 9.7 hours"),
    ],
)  # fmt: skip
def test_the_time_of_evolution_is_estimated_early_and_once(schedule, seconds, said, monkeypatch):
    """The second generation of nine tells it: seven are left."""
    clock = [0.0]
    monkeypatch.setattr(evolution.time, "monotonic", lambda: clock[0])

    class Slow(Listener):
        def event(self, event):
            super().event(event)
            # The first also compiles.
            clock[0] += seconds if len(self.events) > 1 else 1e6

    listener = Slow()
    run_schedule(schedule, listener, [].append)
    texts = [each for each in listener.told if isinstance(each, str)]
    assert len(texts) == (said is not None)
    if said:
        assert said in texts[0]
        assert len(listener.told[: listener.told.index(texts[0])]) < 9
