"""The app's benchmark: small parts of it, against a real server."""

import json

import pytest

from benchmarks import app_faults
from benchmarks.app import main, report
from benchmarks.app_faults import archives, hostile

LOAD = {
    "viewers": 50, "uploads": 10, "seconds": 60.0, "pages": 2000, "median": 0.3, "p95": 0.8,
    "upload_seconds": 1.5, "trials_alone": 20, "trials_watched": 19,
}  # fmt: skip


class NoServer:
    """A server takes seconds to start; the test below has one."""

    is_alive = True

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def test_hostile_archives_are_refused_and_damaged_ones_do_no_harm(tmp_path):
    count = len([*hostile()])
    found = archives(tmp_path / "work", count + 5, seed=0)
    assert found.faults == {}
    assert found.taken + found.refused == found.sent == count + 5
    # The good one, and perhaps one that damage has left whole.
    assert 1 <= found.taken <= 6


def test_what_is_left_outside_is_a_fault(tmp_path, monkeypatch):
    def sent(server, content):
        (server.folder.parent / f"{len(content)}-outside").touch()
        return "refused"

    monkeypatch.setattr(app_faults, "_sent", sent)
    monkeypatch.setattr(app_faults, "Server", NoServer)
    assert archives(tmp_path / "work", 2, seed=0).faults == {"something outside the folder": 2}


def test_every_part_has_a_table():
    text = report({
        "archives": {"sent": 200, "taken": 4, "refused": 195, "faults": {"status 500": 1}},
        "kills": {"kills": 20, "jobs": 8, "finished": 8, "lost": 0, "twice": 0, "killed_job": "x"},
        "load": LOAD,
        "first": {"photos": 500, "bytes": 6_700_000, "upload_seconds": 0.2, "seconds": 12.5},
    })  # fmt: skip
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["200", "4", "195", "status 500: 1"] in rows
    assert ["20", "8", "8", "0", "0", "x"] in rows
    assert ["50", "10", "2,000", "0.30", "0.80", "1.5", "20", "19"] in rows
    assert ["500", "6.7", "0.2", "12.5"] in rows
    assert report({"archives": json.loads('{"sent": 1, "taken": 1, "refused": 0, "faults": {}}')})


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--parts", "nothing"], "--parts=nothing is unknown"),
        (["--parts", "first"], "first needs photos: give --directory"),
        (["--kills", "0"], "--kills=0"),
    ],
)
def test_a_mistake_is_one_sentence(words, sentence, monkeypatch):
    monkeypatch.setattr("sys.argv", ["app", *words])
    with pytest.raises(ValueError, match=sentence):
        main()
