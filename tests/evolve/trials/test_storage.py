"""Where trials are kept: a file that survives, or a database that several share."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from evolve.trials import PROPOSERS, finished
from evolve.trials.storage import open_study
from slicing.errors import InputError
from tests.evolve.trials.fakes import search_in, space_of, starts_of, story, work


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 400))
def test_a_line_that_is_torn_is_cut_off(tmp_path_factory, n):
    path = tmp_path_factory.mktemp("torn") / "journal.jsonl"
    study = open_study(path, "study", 1)
    list(search_in(study, 2))
    known, text = story(study), path.read_bytes()
    path.write_bytes(text + b'{"op_code":8,' + b"x" * n * 300)
    again = open_study(path, "study", 1)
    assert story(again) == known
    assert path.read_bytes().startswith(text)
    list(search_in(again, 3))
    assert len(finished(open_study(path, "study", 1))) == 3


@pytest.mark.parametrize("line", ["nonsense", "{}", "[]", '{"op_code":99}', '{"op_code":4}'])
def test_a_damaged_journal_is_one_sentence_and_stays_as_it_is(tmp_path, line):
    path = tmp_path / "journal.jsonl"
    list(search_in(open_study(path, "study", 1), 1))
    lines = path.read_text().splitlines()
    text = "\n".join([*lines[:1], line, *lines[1:]]) + "\n"
    path.write_text(text)
    with pytest.raises(InputError, match=r"journal\.jsonl is damaged .*give a copy that is whole"):
        open_study(path, "study", 1)
    assert path.read_text() == text


KILLED = """
import os, sys
from pathlib import Path
from evolve.trials.storage import _Lock, open_study
open_study(Path(sys.argv[1]), "study", 1)
_Lock(Path(sys.argv[1])).acquire()
os.kill(os.getpid(), 9)
"""


def test_nobody_waits_for_a_process_that_was_killed_while_it_wrote(tmp_path):
    path = tmp_path / "journal.jsonl"
    subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert path.exists()
    # Optuna's own locks would hold this up for half a minute.
    assert finished(open_study(path, "study", 1)) == []
    assert not [each for each in tmp_path.iterdir() if each.name.endswith(".lock")]


@pytest.mark.parametrize("sampler", PROPOSERS)
def test_nothing_is_unpickled(tmp_path, monkeypatch, sampler):
    def never(*args, **options):
        raise AssertionError("unpickled")

    path = tmp_path / "journal.jsonl"
    list(search_in(open_study(path, "study", 1), 12, sampler=sampler))
    for name in ("loads", "load", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", never)
    list(search_in(open_study(path, "study", 1), 14, sampler=sampler))
    assert len(finished(open_study(path, "study", 1))) == 14


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("nowhere", r"^storage is no address of a database: write postgresql://user@host/"),
        ("oracle://ann:secret@host/db", r"^storage=oracle://ann:\*\*\*@host/db cannot be used: its "
         "driver is not installed"),
        ("nodb://ann:secret@host/db", r"^storage=nodb://ann:\*\*\*@host/db cannot be used"),
        ("postgresql://ann:secret@/db?host=/nowhere", r"^storage=postgresql\+psycopg://ann:\*\*\*@"),
        ("sqlite:////nowhere/at/all.db", r"^storage=sqlite:////nowhere/at/all.db cannot be used"),
    ],
)  # fmt: skip
def test_a_database_that_cannot_be_used_is_one_sentence_without_its_password(address, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        open_study(address, "study", 1)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_losses_are_another_study(tmp_path):
    open_study(tmp_path / "journal", "study", 2)
    with pytest.raises(InputError, match="has 2 objectives there, not 1: give the same"):
        open_study(tmp_path / "journal", "study", 1)


names = iter(range(10**6))


def share(place, sampler, both, trials):
    """Search twice in a study: while one tries a trial, the other tries a few, or none."""
    name, tried, turns = f"study {next(names)}", Counter(), iter(both)

    def make(process, function):
        return iter(
            search_in(
                open_study(place, name, 1), trials, sampler=sampler, work=function,
                process=process, has_ended=lambda name: False,
            )
        )  # fmt: skip

    def counted(task):
        tried[task.number, task.rung] += 1
        return work(task)

    two = make("two", counted)

    def disturbed(task):
        if next(turns, False):
            next(two, None)
        return counted(task)

    list(make("one", disturbed))
    list(two)
    study = open_study(place, name, 1)
    ended = finished(study)
    assert {each.state for each in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert [each.number for each in ended] == [*range(trials)]
    assert {each.process for each in ended} == ({"one", "two"} if any(both) else {"one"})
    # A generation waits for a trial of the other's, which is then tried by both.
    if sampler not in ("nsga2", "pso"):
        assert set(tried.values()) == {1}
    starts = starts_of(space_of())
    assert [each.family for each in ended[: len(starts)]] == [family for family, _ in starts]
    assert [each.options["x"] for each in ended[:2]] == [values["x"] for _, values in starts[:2]]


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from(["tpe", "random", "grid", "nsga2", "pso"]),
    st.lists(st.booleans(), min_size=20, max_size=20),
)
def test_two_searches_share_a_journal(tmp_path_factory, sampler, both):
    share(tmp_path_factory.mktemp("shared") / "journal", sampler, both, 20)


def test_two_searches_share_a_database(tmp_path):
    share(f"sqlite:///{tmp_path}/trials.db", "pso", [True, False] * 6, 8)


def test_two_machines_share_a_study_in_postgresql(postgresql):
    share(postgresql, "pso", [True, False] * 6, 8)
