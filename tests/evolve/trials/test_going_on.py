"""A search that was interrupted, wherever: the trials are those of one that nothing interrupted."""

import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from evolve.trials import PROPOSERS, Budget, Task, finished, pruner
from evolve.trials.storage import open_study
from tests.evolve.trials.fakes import memory, search_in, story, work

TRIALS = 18


class Killed(BaseException):
    """Stands for SIGKILL: after it, nothing more is written."""


class Mortal(JournalFileBackend):
    """Dies with the line of a number, of which it may have written a part."""

    def __init__(self, path, line, part):
        super().__init__(str(path))
        self.line, self.part = line, part

    def append_logs(self, logs):
        self.line -= 1
        if self.line > 0:
            super().append_logs(logs)
        elif self.line == 0:
            text = json.dumps(logs[0], separators=(",", ":")) + "\n"
            with Path(self._file_path).open("a") as file:
                file.write(text[: int(self.part * len(text))])
        if self.line <= 0:
            raise Killed


@cache
def undisturbed(sampler, prune):
    study = memory()
    list(search_in(study, TRIALS, sampler=sampler, pruner=pruner(prune, 3)))
    return story(study)


@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from([*PROPOSERS]),
    st.sampled_from(["asha", "hyperband"]),
    st.lists(st.tuples(st.integers(1, 120), st.floats(0, 1)), min_size=1, max_size=3),
)
def test_it_goes_on_from_any_line_of_its_journal(sampler, prune, deaths):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        for line, part in deaths:
            study = open_study(path, "study", 1)
            # The same file, seen by who is killed.
            mortal = optuna.load_study(
                study_name="study", storage=JournalStorage(Mortal(path, line, part))
            )
            with pytest.raises(Killed):
                list(search_in(mortal, 1000, sampler=sampler, pruner=pruner(prune, 3)))
        study = open_study(path, "study", 1)
        list(search_in(study, TRIALS, sampler=sampler, pruner=pruner(prune, 3)))
        # Before it was killed, it may have begun more.
        assert story(study)[:TRIALS] == undisturbed(sampler, prune)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([*PROPOSERS]), st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_ctrl_c_tries_no_rung_twice(sampler, stops):
    study, done = memory(), []
    for stop in stops:
        tasks = []

        def stopped(task, stop=stop, tasks=tasks):
            tasks.append(task)
            if len(tasks) > stop:
                raise KeyboardInterrupt
            done.append((task.number, task.rung))
            return work(task)

        search = search_in(study, TRIALS, sampler=sampler, work=stopped)
        ended = list(search)
        assert search.ended == "interrupted"
        assert all(each.status == "tried" for each in ended)
        assert len(set(done)) == len(done)
    list(search_in(study, TRIALS, sampler=sampler))
    assert story(study) == undisturbed(sampler, "asha")


def test_the_rungs_of_a_trial_under_way_are_not_lost():
    study = memory()

    def stopped(task):
        if task.rung == 1:
            raise KeyboardInterrupt
        return work(task)

    [left] = search_in(study, 1, work=stopped)
    assert (left.rung, left.is_left, left.is_pruned) == (0, True, False)
    assert left.values == (work(Task(0, "line", left.options)).metrics["loss"],)
    assert left.ended > 0
    assert finished(study) == [left]
    # While a search goes on with it, it is under way again.
    known = []

    def looks(task):
        known.extend(finished(study))
        return work(task)

    [ended] = search_in(study, 1, work=looks)
    assert known == []
    assert (ended.number, ended.rung, ended.is_left) == (0, 2, False)
    assert finished(study) == [ended]


def test_a_finished_study_takes_more_trials():
    study = memory()
    list(search_in(study, 10))
    before = finished(study)
    list(search_in(study, Budget(trials=TRIALS)))
    assert finished(study)[:10] == before
    assert story(study) == undisturbed("random", "asha")


def killed(search):
    """Let a search end as one that was killed, its trials under way."""
    search._let_go = lambda slot: search._running.pop(slot) and None
    return list(search)


def test_a_rung_that_a_kill_left_counts_even_where_no_time_is_left():
    study = memory()

    def stops(task):
        if (task.number, task.rung) == (1, 1):
            raise KeyboardInterrupt
        return work(task)

    assert [each.number for each in killed(search_in(study, 5, work=stops))] == [0]
    assert [*search_in(study, Budget(seconds=1), reserve=lambda: 2.0)] == []
    assert [(each.number, each.is_left) for each in finished(study)] == [(0, False), (1, True)]


def test_a_trial_of_another_process_is_left_alone_while_that_one_lives():
    study, living = memory(), {"other"}

    def stops(task):
        if task.number == 2:
            raise KeyboardInterrupt
        return work(task)

    search = search_in(study, 5, process="other", work=stops)
    killed(search)
    options = {"process": "own", "has_ended": lambda name: name not in living}
    # It counts, since it will be told.
    assert [each.number for each in search_in(study, 6, **options)] == [3, 4, 5]
    living.clear()
    assert [each.number for each in search_in(study, 6, **options)] == [2]
    assert [each.process for each in finished(study)] == ["other"] * 2 + ["own"] * 4
