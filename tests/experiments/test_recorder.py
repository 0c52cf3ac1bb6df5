"""What a run writes down as it goes, and what a resumed run keeps of it."""

import json
import logging
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
    return list(make_schedule())


def test_each_line_is_there_as_soon_as_it_is_told(tmp_path, events):
    folder = Recorder(tmp_path)
    folder.say("Measuring")
    assert lines_of(tmp_path)[-1]["text"] == "Measuring"
    folder.begin()
    with folder.task("evolving", 0.5):
        folder.show(0.5, "half")
        for event in events:
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
    assert [line["type"] for line in found[3:-2]] == [kinds[type(each)] for each in events]
    assert folder.events == events
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
    kept = killed_in_the_third_block(tmp_path, events, n_kept)
    second = Recorder(tmp_path, is_resumed=True)
    second.say("The second process")
    second.begin(kept)
    assert second.events == kept
    for event in events[len(kept) :]:
        second.event(event)
    second.end("finished")
    found = lines_of(tmp_path)
    types = [line["type"] for line in found]
    assert types.count("resumed") == 1
    assert [line["text"] for line in found if line["type"] == "message"] == [
        "The first process", "The second process"
    ]  # fmt: skip
    assert block_numbers(found) == [each.block_number for each in events]
    assert types.index("resumed") == 1 + len(kept)


def killed_in_the_third_block(folder, events, n_kept=2):
    """What a killed process leaves, in the middle of a line; the events of the first blocks."""
    recorder = Recorder(folder)
    recorder.say("The first process")
    recorder.begin()
    for event in events:
        recorder.event(event)
        if event.block_number == 2:
            break
    with (folder / EVENTS).open("a") as file:
        file.write('{"type": "gener')
    return [each for each in events if each.block_number < n_kept]


def block_numbers(lines):
    return [line["block_number"] for line in lines if "block_number" in line]


DAMAGES = {
    "deleted": None,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "without a line": lambda content: b"".join(content.splitlines(keepends=True)[:-3]),
    "twice": lambda content: content * 2,
    "binary": lambda content: bytes(range(256)) * 20,
    "no UTF-8": lambda content: content.replace(b"evaluations", b"\xff\xfe"),
    "other numbers": lambda content: content.replace(b"1", b"x"),
    "nested": lambda content: content + b"[" * 100_000 + b"\n",
    "other values": lambda content: content + b'{"block_number": "a"}\n[1]\n{"block_number": []}\n',
    "NUL": lambda content: b"\0" * len(content) + b"\n",
    "other columns": lambda content: content.replace(b"block", b""),
}


@pytest.mark.parametrize("name", [EVENTS, "history.csv", "blocks.csv"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_becomes_of_the_files_they_are_whole_again(damage, name, tmp_path, events):
    """They stand beside the state, and all that counts in them is in the state."""
    (tmp_path / "whole").mkdir()
    killed_in_the_third_block(tmp_path / "whole", events)
    whole = Recorder(tmp_path / "whole", is_resumed=True)
    kept = killed_in_the_third_block(tmp_path, events)
    path = tmp_path / name
    change = DAMAGES[damage]
    path.unlink() if change is None else path.write_bytes(change(path.read_bytes()))
    resumed = Recorder(tmp_path, is_resumed=True)
    for each in (whole, resumed):
        each.begin(kept)
        for event in events[len(kept) :]:
            each.event(event)
        each.end("finished")
    assert resumed.events == events
    assert block_numbers(lines_of(tmp_path)) == [each.block_number for each in events]
    for each in ("history.csv", "blocks.csv"):
        assert (tmp_path / each).read_bytes() == (tmp_path / "whole" / each).read_bytes()


def test_lost_events_are_told(tmp_path, events, caplog):
    kept = killed_in_the_third_block(tmp_path, events)
    path = tmp_path / EVENTS
    path.write_text(path.read_text().replace('"type": "block_end"', '"type', 1))
    with caplog.at_level(logging.WARNING):
        Recorder(tmp_path, is_resumed=True).begin(kept)
    assert "events.jsonl: 1 damaged lines are left out" in caplog.text
    assert "events.jsonl had lost events: they are written again" in caplog.text


def test_another_run_in_the_same_folder_begins_again(tmp_path):
    Recorder(tmp_path).say("one")
    Recorder(tmp_path).say("two")
    assert [line["text"] for line in lines_of(tmp_path)] == ["two"]


def test_the_last_end_counts(tmp_path, events):
    folder = Recorder(tmp_path)
    folder.begin()
    folder.end("finished")
    folder.end("failed")
    assert [(line["type"], line["status"]) for line in lines_of(tmp_path)] == [
        ("end", "finished"), ("end", "failed")
    ]  # fmt: skip
