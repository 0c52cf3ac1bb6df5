import io
import os
import threading
import time

import pytest

from experiments.components import Components
from experiments.overrides import check
from experiments.progress import Terminal
from experiments.schema.run import plain
from tests.slicing.data.pictures import photo, save


class Screen(io.StringIO):
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
    terminal = Terminal(stream, line_seconds=10)
    with terminal.task("evolving"):
        for step in range(1, 101):
            clock[0] += 1
            terminal.show(step / 100, f"conv2[{step}]")
    lines = stream.getvalue().splitlines()
    # One at once, one every ten seconds, and the end.
    assert [line.split(":")[0] for line in lines] == [
        f"evolving {percent:3}%" for percent in (*range(1, 100, 10), 100)
    ]
    assert lines[1] == "evolving  11%: 1:29 left, conv2[11]"
    assert lines[-1] == "evolving 100%: 0:00 left, conv2[100]"


def test_a_second_task_begins_anew(clock):
    stream = io.StringIO()
    terminal = Terminal(stream, line_seconds=10)
    for name in ("training", "evolving"):
        with terminal.task(name):
            clock[0] += 1
            terminal.show(0.5, "x")
    assert stream.getvalue().splitlines() == [
        "training  50%: 0:01 left, x",
        "evolving  50%: 0:01 left, x",
    ]


@pytest.mark.parametrize(("seconds", "left"), [(59, "0:59"), (61, "1:01"), (3700, "1:01:40")])
def test_remaining_time(clock, seconds, left):
    stream = io.StringIO()
    terminal = Terminal(stream)
    with terminal.task("evolving"):
        clock[0] += seconds
        terminal.show(0.5, "x")
    assert stream.getvalue() == f"evolving  50%: {left} left, x\n"


def test_nothing_done_yet(clock):
    stream = io.StringIO()
    terminal = Terminal(stream)
    with terminal.task("evolving"):
        terminal.show(0.0, "x")
    assert stream.getvalue() == "evolving   0%: x\n"


def test_a_bar_on_a_terminal(clock):
    stream = Screen()
    terminal = Terminal(stream)
    with terminal.task("evolving"):
        for step in (25, 50, 100):
            clock[0] += 1
            terminal.show(step / 100, f"step {step}")
        terminal.say("A line of its own.")
    text = stream.getvalue()
    assert "\r" in text
    assert " 50% |" in text
    assert "0:02 left, step 50" in text
    assert "A line of its own.\n" in text


def test_a_bar_that_stands_still_shows_for_how_long(clock):
    stream = Screen()
    terminal = Terminal(stream, line_seconds=4)
    with terminal.task("engine"):
        clock[0] += 1
        terminal.show(0.005, "learning")
        clock[0] += 3
        terminal.repeat()
        assert "so far" not in stream.getvalue()
        clock[0] += 9
        terminal.repeat()
        assert "| learning (0:12 so far)" in stream.getvalue()
        clock[0] += 1
        terminal.repeat()
        assert "| learning (0:13 so far)" in stream.getvalue()
        terminal.show(0.006, "drawing")
        assert stream.getvalue().rstrip().endswith("| drawing")


def test_what_takes_long_is_repeated_with_its_time(clock):
    stream = io.StringIO()
    terminal = Terminal(stream, line_seconds=4)
    terminal.say("Drawing the figures")
    for _ in range(9):
        clock[0] += 1
        terminal.repeat()
    assert stream.getvalue().splitlines() == [
        "Drawing the figures",
        "Drawing the figures (0:04 so far)",
        "Drawing the figures (0:08 so far)",
    ]


def test_what_has_ended_is_not_repeated(clock):
    stream = io.StringIO()
    terminal = Terminal(stream, line_seconds=4)
    with terminal.task("training"):
        terminal.show(1.0, "epoch 2 of 2")
    clock[0] += 9
    terminal.repeat()
    assert stream.getvalue() == "training 100%: 0:00 left, epoch 2 of 2\n"
    terminal.say("Measuring")
    clock[0] += 9
    terminal.repeat()
    assert stream.getvalue().splitlines()[1:] == ["Measuring", "Measuring (0:09 so far)"]


def test_a_task_that_reports_nothing_is_repeated_too(clock):
    stream = io.StringIO()
    terminal = Terminal(stream, line_seconds=4)
    with terminal.task("engine"):
        terminal.show(0.0, "learning")
        clock[0] += 3
        terminal.show(0.005, "learning more")  # too soon for a line of its own
        clock[0] += 2
        terminal.repeat()
    assert stream.getvalue().splitlines() == [
        "engine   0%: learning",
        "engine   0%: learning more (0:02 so far)",
    ]


def test_it_repeats_by_itself_while_it_is_open(monkeypatch):
    repeated = threading.Event()
    monkeypatch.setattr(Terminal, "repeat", lambda self: repeated.set())
    with Terminal(io.StringIO()):
        assert repeated.wait(timeout=60)


def test_it_is_heard_while_standard_error_is_withheld(capfd):
    with Terminal() as terminal:
        before = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        terminal.say("Starting TensorFlow")
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)
    terminal.say("afterwards")
    assert capfd.readouterr().err == "Starting TensorFlow\nafterwards\n"


def test_the_files_of_a_dataset_are_counted_while_they_are_read(tmp_path):
    """Both times: when they are looked at first, and when they are read into memory."""
    for number in range(20):
        save(photo(number, (20, 16)), tmp_path / "photos" / "ab"[number % 2] / f"{number}.png")
    [config] = check(["data=folder", f"data.directory={tmp_path / 'photos'}", "baseline=random"])
    stream = io.StringIO()
    # Every step is a line.
    terminal = Terminal(stream, line_seconds=0)
    components = Components(plain(config), {})
    dataset = components.dataset(terminal)
    lines = stream.getvalue().splitlines()
    assert [line.partition(":")[2].rpartition(", ")[2].strip() for line in lines] == [
        f"{number} of 20 files read" for number in range(20)
    ]
    assert lines[0] == "images   0%: 0 of 20 files read"
    components.read(dataset, dataset, terminal)
    assert "15 of 16 files read" in stream.getvalue()


def test_a_dataset_of_ones_own_need_not_count():
    [config] = check(["data=mnist5k", "data.train_size=20", "data.test_size=10"])
    stream = io.StringIO()
    assert len(Components(plain(config), {}).dataset(Terminal(stream)).train) == 20
    assert stream.getvalue() == ""
