import io
import time

import pytest
from experiments.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only where a test says so."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_lines_where_there_is_no_terminal(clock):
    stream = io.StringIO()
    progress = Progress(stream, line_seconds=10)
    with progress.task("evolving"):
        for step in range(1, 101):
            clock[0] += 1
            progress.show(step / 100, f"conv2[{step}]")
    lines = stream.getvalue().splitlines()
    # One at once, one every ten seconds, and the end.
    assert [line.split(":")[0] for line in lines] == [
        f"evolving {percent:3}%" for percent in (*range(1, 100, 10), 100)
    ]
    assert lines[1] == "evolving  11%: 1:29 left, conv2[11]"
    assert lines[-1] == "evolving 100%: 0:00 left, conv2[100]"


def test_a_second_task_begins_anew(clock):
    stream = io.StringIO()
    progress = Progress(stream, line_seconds=10)
    for name in ("training", "evolving"):
        with progress.task(name):
            clock[0] += 1
            progress.show(0.5, "x")
    assert stream.getvalue().splitlines() == [
        "training  50%: 0:01 left, x",
        "evolving  50%: 0:01 left, x",
    ]


@pytest.mark.parametrize(("seconds", "left"), [(59, "0:59"), (61, "1:01"), (3700, "1:01:40")])
def test_remaining_time(clock, seconds, left):
    stream = io.StringIO()
    progress = Progress(stream)
    with progress.task("evolving"):
        clock[0] += seconds
        progress.show(0.5, "x")
    assert stream.getvalue() == f"evolving  50%: {left} left, x\n"


def test_nothing_done_yet(clock):
    stream = io.StringIO()
    progress = Progress(stream)
    with progress.task("evolving"):
        progress.show(0.0, "x")
    assert stream.getvalue() == "evolving   0%: x\n"


def test_a_bar_on_a_terminal(clock):
    stream = Terminal()
    progress = Progress(stream)
    with progress.task("evolving"):
        for step in (25, 50, 100):
            clock[0] += 1
            progress.show(step / 100, f"step {step}")
        progress.say("A line of its own.")
    text = stream.getvalue()
    assert "\r" in text
    assert " 50% |" in text
    assert "0:02 left, step 50" in text
    assert "A line of its own.\n" in text
