"""What a run writes down as it goes, and what a resumed run keeps of it."""

import json
from dataclasses import replace
from datetime import datetime

import pytest

from evolve.events import BlockEnd, Generation
from experiments.recorder import EVENTS, Recorder


def lines_of(folder):
    return [json.loads(line) for line in (folder / EVENTS).read_text().splitlines()]


def types_of(folder):
    return [line["type"] for line in lines_of(folder)]


@pytest.fixture
def events(make_schedule):
    schedule = make_schedule()
    return schedule.blocks, list(schedule)


def test_each_line_is_there_as_soon_as_it_is_told(tmp_path, events):
    blocks, happened = events
    folder = Recorder(tmp_path)
    folder.say("Measuring")
    assert lines_of(tmp_path)[-1]["text"] == "Measuring"
    folder.begin(blocks, 0)
    with folder.task("evolving", 0.5):
        folder.show(0.5, "half")
        for event in happened:
            folder.event(event)
            last = lines_of(tmp_path)[-1]
            assert last["block"] == event.block.name
            assert last["evaluations"] == event.evaluations
    folder.end("finished")
    found = lines_of(tmp_path)
    assert [line["type"] for line in found[:3]] == ["message", "task", "progress"]
    assert found[1]["name"] == found[2]["task"] == "evolving"
    assert found[2]["fraction"] == 0.5
    assert [line["type"] for line in found[-2:]] == ["task_end", "end"]
    assert found[-1]["status"] == "finished"
    kinds = {Generation: "generation", BlockEnd: "block_end"}
    assert [line["type"] for line in found[3:-2]] == [kinds[type(each)] for each in happened]
    assert folder.events == happened
    times = [datetime.fromisoformat(line["time"]) for line in found]
    assert times == sorted(times)
    assert all(time.utcoffset() is not None for time in times)


def test_progress_is_written_now_and_then_and_at_its_end(tmp_path):
    folder = Recorder(tmp_path)
    with folder.task("training"):
        for step in range(1, 1001):
            folder.show(step / 1000, f"step {step}")
    shown = [line["fraction"] for line in lines_of(tmp_path) if line["type"] == "progress"]
    assert shown[0] == 0.001
    assert shown[-1] == 1.0
    assert len(shown) < 1000


@pytest.mark.parametrize("n_kept", [0, 1, 2])
def test_a_resumed_run_keeps_what_it_had_up_to_there(tmp_path, events, n_kept):
    blocks, happened = events
    first = Recorder(tmp_path)
    first.say("The first process")
    first.begin(blocks, 0)
    # Killed in the middle of the third block, and of a line.
    in_third = next(i for i, each in enumerate(happened) if each.block_number == 2) + 1
    for event in happened[:in_third]:
        first.event(event)
    with (tmp_path / EVENTS).open("a") as file:
        file.write('{"type": "gener')
    second = Recorder(tmp_path, is_resumed=True)
    second.say("The second process")
    second.begin(blocks, n_kept)
    kept = [each for each in happened if each.block_number < n_kept]
    assert second.events == kept
    for event in happened[len(kept) :]:
        second.event(event)
    second.end("finished")
    found = lines_of(tmp_path)
    types = [line["type"] for line in found]
    assert types.count("resumed") == 1
    assert [line["text"] for line in found if line["type"] == "message"] == [
        "The first process", "The second process"
    ]  # fmt: skip
    numbers = [line["block_number"] for line in found if "block_number" in line]
    assert numbers == [each.block_number for each in happened]
    assert types.index("resumed") == 1 + len(kept)


def test_another_run_in_the_same_folder_begins_again(tmp_path):
    Recorder(tmp_path).say("one")
    Recorder(tmp_path).say("two")
    assert [line["text"] for line in lines_of(tmp_path)] == ["two"]


def test_the_last_end_counts(tmp_path, events):
    folder = Recorder(tmp_path)
    folder.begin(events[0], 0)
    folder.end("finished")
    folder.end("failed")
    assert [(line["type"], line["status"]) for line in lines_of(tmp_path)] == [
        ("end", "finished"), ("end", "failed")
    ]  # fmt: skip


def test_a_resumed_run_writes_what_an_unbroken_one_writes(tmp_path, events):
    blocks, happened = events
    without_counts = [
        replace(each, counts={}) if isinstance(each, Generation) else each for each in happened
    ]
    folder = Recorder(tmp_path)
    folder.begin(blocks, 0)
    for event in without_counts:
        folder.event(event)
    written = (tmp_path / "history.csv").read_text()
    resumed = Recorder(tmp_path, is_resumed=True)
    resumed.begin(blocks, len(blocks))
    assert resumed.events == without_counts
    assert (tmp_path / "history.csv").read_text() == written
