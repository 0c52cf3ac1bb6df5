"""The paper's tables: the quick budget, and what is made of cells."""

import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from benchmarks import paper_tables
from benchmarks.paper_cells import Cell, Store, packed
from benchmarks.paper_jobs import BUDGETS, PAIRS, ROWS, jobs
from benchmarks.paper_report import SLIDES, compared, entries, text
from benchmarks.paper_tables import main
from experiments.environment import set_threads
from experiments.schema.run import GROUPS
from tests.experiments.runs import give_store

ROOT = Path(__file__).parents[2]
TARGETS = {name: schema._target_ for name, schema in GROUPS["protocol"].items()}


@pytest.fixture(scope="module", autouse=True)
def _all_threads_afterwards():
    yield
    set_threads(None)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """All that the quick budget computes, in a folder of its own."""
    folder = tmp_path_factory.mktemp("paper")
    words = ["--budget", "quick"]
    for name in ("cells.json", "json.json", "csv.csv", "figure.png"):
        words += [f"--{name.split('.')[0]}", str(folder / name)]
    give_store(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(words)
    return folder, words


def test_every_row_is_measured(quick):
    folder, _ = quick
    found = json.loads((folder / "json.json").read_text())
    assert [(entry["row"], entry["protocol"]) for entry in found] == [
        (row.name, row.protocol) for row in ROWS
    ]
    for entry in found:
        assert entry["test_images"] == 1000
        assert 0 < entry["low"] < entry["mean"] < entry["high"] < 1
        # One epoch of 300 images teaches a CNN nothing, its features are worth something to a k-NN.
        assert entry["row"].startswith("CNN") or entry["mean"] > 0.7
        evolved = any(word in entry["row"] for word in ("CMA-ES", "PSO", "random search"))
        assert (entry["evaluations"] > 0) == evolved
    [sliced] = [e["mean"] for e in found if e["row"] == "sliced, not evolved"]
    with (folder / "csv.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [float(row["mean"]) for row in rows] == [entry["mean"] for entry in found]
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("paper-tables")
    parent, *runs = client.search_runs([experiment.experiment_id], order_by=["start_time ASC"])
    assert parent.info.run_name == "paper tables, quick"
    assert parent.info.status == "FINISHED"
    assert "| sliced, CMA-ES " in parent.data.tags["mlflow.note.content"]
    written = {each.path for each in client.list_artifacts(parent.info.run_id)}
    assert written == {"summary.md", "cells.json", "json.json", "csv.csv", "figure.png"}
    names = [run.info.run_name.partition(", 300/1000")[0].split(" = ") for run in runs]
    assert sorted(name for each in names for name in each) == sorted(row.title for row in ROWS)
    assert ["CNN, 122 k", "all features, not evolved"] in names  # the same network
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {parent.info.run_id}
    measured = {run.data.metrics.get("engine/test_accuracy") for run in runs}
    assert sliced in measured


def test_what_there_is_is_not_computed_again(quick, monkeypatch, capsys):
    folder, words = quick
    monkeypatch.chdir(folder)
    monkeypatch.setattr(paper_tables, "run", None)
    before = (folder / "json.json").read_text()
    main(words)
    assert (folder / "json.json").read_text() == before
    assert "| all features, CMA-ES LEAKS" in capsys.readouterr().out
    main([*words, "--list"])
    assert capsys.readouterr().out.count("python -m experiments.run ") == len(ROWS)
    main([*words, "--seeds", "2", "--known"])  # the second seed is not there
    assert (folder / "json.json").read_text() == before


def test_a_link_is_followed_where_it_points_to(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere/cells.json", tmp_path / "cells.json"
    link.symlink_to(target)
    Store(link).add([cell("a", 0, [1])])
    assert link.is_symlink()
    assert [each.row for each in Store(target).cells] == ["a"]


def test_processes_share_a_file_of_cells(tmp_path):
    path = tmp_path / "cells.json"
    ours, theirs = Store(path), Store(path)
    ours.add([cell("a", 0, [1])])
    theirs.add([cell("b", 0, [1])])
    ours.add([cell("c", 0, [1])])
    assert [each.row for each in Store(path).cells] == ["a", "b", "c"]


def test_columns_that_ask_for_the_same_share_a_cell(tmp_path):
    rows = [row for row in ROWS if row.name in ("sliced, untrained kernels", "sliced, not evolved")]
    columns = ["4000/1000, 5 epochs", "4000/1000, 20 epochs"]
    todo = jobs(BUDGETS["full"], rows, columns, 1)
    store = Store(tmp_path / "cells.json")
    store.add(
        [
            replace(cell(job.row.name, 0, [1]), column=job.column, options=job.digest)
            for job in todo[:2]
        ]
    )
    found = [store.find(job) for job in todo]
    assert [each and each.column for each in found] == [*columns[:1] * 2, columns[1], None]
    assert found[2] == replace(found[0], column=columns[1])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--cells", "broken.json"], "broken.json holds no cells of these tables"),
        (["--rows", "sliced", "RNN"], "--rows 'RNN' matches none of: CNN, 1.2 M; CNN, 225 k; "),
        (["--seeds", "0"], "--seeds 0 is not possible"),
        (
            ["--known", "--json", "json.json"],
            "outputs/paper_tables/cells.json has no cell of these rows and columns",
        ),
        (["--cells", "same.json", "--json", "./same.json"], "are the same file"),
        (
            ["--budget", "levers", "--rows", "sliced, CMA-ES", "--columns", "50000", "--list"],
            "These rows have no seeds in these columns of the budget",
        ),
        (["--folder", "broken.json/runs"], "broken.json/runs cannot be read or written: Not a"),
        (["--known", "--cells", "torn.json"], "torn.json holds no cells of these tables (Error -3"),
        (["--known", "--cells", "many.json"], "are not those of 20 images"),
        (["--known", "--cells", "words.json"], "the numbers of a are (0, 1, 4, 10, 'fast'"),
        (["--json", "/dev/null"], "--json /dev/null is not a regular file"),
        (["--cells", "no/cells.json"], "--cells no/cells.json cannot be written"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path, monkeypatch, capsys, words, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text('{"cells": [{"row": "CNN"}]}')
    held = asdict(cell("a", 0, [1, 0]))
    for name, wrong in (
        ("torn", {"right": "AAAA"}), ("many", {"n_tests": 20}), ("words", {"seconds": "fast"}),
    ):  # fmt: skip
        (tmp_path / f"{name}.json").write_text(json.dumps({"cells": [held | wrong]}))
    before = {path: path.read_bytes() for path in tmp_path.glob("*.json")}
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert {path: path.read_bytes() for path in tmp_path.glob("*.json")} == before


def test_an_interrupted_table_goes_on_where_it_stopped(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    computed = []

    def compute(same, folder, parent, commit):
        if len(computed) == 1:
            computed.append("interrupted")
            raise KeyboardInterrupt
        computed.append(same[0].row.name)
        return [
            replace(cell(job.row.name, job.seed, [1, 0]), column=job.column, options=job.digest)
            for job in same
        ]

    monkeypatch.setattr(paper_tables, "compute", compute)
    words = ["--rows", "sliced, untrained", "sliced, not evolved", "--csv", "csv.csv"]
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 130
    assert "The same command resumes from here." in capsys.readouterr().err
    assert len((tmp_path / "csv.csv").read_text().splitlines()) == 3  # 1 and 2 test images
    main(words)
    assert computed == ["sliced, untrained kernels", "interrupted", "sliced, not evolved"]
    assert len((tmp_path / "csv.csv").read_text().splitlines()) == 5


def test_a_row_is_chosen_by_its_name_or_rows_by_a_beginning(capsys):
    for words, titles in (
        (["all features, CMA-ES"], ["all features, CMA-ES"]),
        (["all features, CMA-ES LEAKS"], ["all features, CMA-ES LEAKS"]),
        (["averaged", "sliced, PSO"], ["sliced, PSO", "averaged, not evolved", "averaged, CMA-ES"]),
    ):
        main(["--rows", *words, "--list"])
        lines = capsys.readouterr().out.splitlines()[::2]
        assert lines == [f"# {title}, 300/1000, 1 epoch, seed 0" for title in titles]


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_what_a_column_asks_of_some_rows_is_asked_of_one_at_least(budget):
    names = [row.name for row in budget.rows]
    for column in budget.columns.values():
        for beginning in (*column.less, *column.seeds):
            assert any(name.startswith(beginning) for name in names), beginning


def test_the_full_budget_asks_for_what_there_is():
    budget = BUDGETS["full"]
    assert set(budget.columns) == set(SLIDES)
    assert budget.seeds >= 5
    names = {row.name for row in ROWS}
    assert set(next(iter(SLIDES.values()))) <= names
    names |= {row.name for row in BUDGETS["levers"].rows}
    assert {name for pair in PAIRS for name in pair} <= names
    sizes = {}
    for row in (row for row in ROWS if row.name.endswith(("225 k", "31.7 k", "PSO"))):
        [job] = jobs(budget, [row], ["60000/10000, 5 epochs"], 1)
        assert job.config.data.train_size == 60000
        assert job.config.protocol._target_ == TARGETS[row.protocol]
        sizes[row.name] = job.config.baseline.get("units")
    assert sizes["CNN, 225 k"] == 128
    assert sizes["CNN, 31.7 k"] == 8
    for column, train, epochs in (("4000/1000, 5 epochs", 4000, 5),
                                  ("4000/1000, 20 epochs", 4000, 20)):  # fmt: skip
        [job] = jobs(budget, ROWS[:1], [column], 1)
        assert (job.config.data.train_size, job.config.baseline.epochs) == (train, epochs)
        [untrained] = [row for row in ROWS if row.name == "sliced, untrained kernels"]
        assert "epochs" not in jobs(budget, [untrained], [column], 1)[0].config.baseline


def test_rows_that_take_long_have_fewer_seeds_unless_more_are_asked_for():
    budget, column = BUDGETS["full"], "60000/10000, 5 epochs"
    rows = [row for row in ROWS if row.name in ("sliced, PSO", "all features, PSO")]
    assert [(job.row, job.seed) for job in jobs(budget, rows, [column])] == [
        *((row, 0) for row in rows),
        *((rows[0], seed) for seed in range(1, budget.seeds)),
    ]
    assert len(jobs(budget, rows, [column], 3)) == 3 * len(rows)


def test_the_rows_of_the_quick_budget_compare():
    budget = BUDGETS["quick"]
    for job in jobs(budget, budget.rows, [*budget.columns], 1):
        assert job.config.baseline.filters == [2, 3]


def test_every_lever_changes_something():
    budget = BUDGETS["levers"]
    todo = jobs(budget, budget.rows, list(budget.columns), 1)
    assert len({job.digest for job in todo}) == len(todo) == 2 * len(budget.rows)
    for job in todo:
        assert job.config.protocol._target_ == TARGETS[job.row.protocol]
        # The test images are not to choose.
        assert job.config.data._target_ == "slicing.data.mnist_held_out"
        assert job.config.data.train_size == int(job.column.split()[0])


def cell(row, seed, right, few=4):
    return Cell(row, "column", "leave_one_out", seed, f"seed={seed}", "", 1, None, 4, 10, 2.0, "",
                "", few, len(right), packed(np.array(right, bool)))  # fmt: skip


def test_seeds_are_summed_up():
    cells = [cell("a", 1, [1, 1, 1, 0, 1, 1]), cell("a", 0, [1, 1, 0, 0, 1, 0])]
    np.testing.assert_array_equal(cells[0].bits, [True, True, True, False, True, True])
    assert [each.test_images for each in entries([cell("a", 0, [1] * 1200, few=1200)])] == [
        1000,
        1200,
    ]
    few, whole = entries(cells)
    assert (few.test_images, whole.test_images) == (4, 6)
    assert few.mean == pytest.approx(5 / 8)
    assert whole.mean == pytest.approx(8 / 12)
    assert whole.command == "seed=0"
    assert whole.seeds == 2
    # t(0.975, 1 degree of freedom) times the standard error of the mean of 3/6 and 5/6.
    assert whole.spread == pytest.approx(12.7062 / 6, rel=1e-4)
    assert whole.low < whole.mean < whole.high


def test_networks_are_compared_by_the_images_on_which_they_differ():
    ours = [cell("a", 0, [1] * 9 + [0])]
    theirs = [cell("b", 0, [1] * 3 + [0] * 6 + [1])]
    assert compared(ours, theirs) == (6, 1, pytest.approx(2 * 8 / 2**7))
    assert compared(ours, ours) == (0, 0, 1.0)
    assert "| a       |          b |     1 |              6 |             1 | 0.12 † |" in text(
        ours + theirs, [("a", "b"), ("a", "c")]
    )


def test_the_p_of_several_seeds_is_twice_their_median():
    worse = [cell("b", seed, [0] * 12) for seed in range(3)]
    # Better by 4, 6 and 12 images, none is worse: 2 / 2^4, 2 / 2^6 and 2 / 2^12.
    better = [cell("a", seed, [1] * n + [0] * (12 - n)) for seed, n in enumerate((4, 6, 12))]
    assert compared(better, worse) == (22, 0, pytest.approx(2 * 2 / 2**6))
    # Of two seeds their sum, and never more than 1.
    assert compared(better[:2], worse[:2]) == (10, 0, pytest.approx(2 / 2**4 + 2 / 2**6))
    assert compared(worse, worse) == (0, 0, 1.0)


@pytest.mark.parametrize("budget", ["full", "levers"])
def test_every_cell_of_the_tables_is_committed(budget):
    results = ROOT / "benchmarks/results"
    store = Store(results / "paper_cells.json")
    asked = BUDGETS[budget]
    todo = jobs(asked, asked.rows, [*asked.columns])
    # By their commands: to compose the options of all rows takes half a minute.
    known = {(cell.row, cell.command): cell for cell in reversed(store.cells)}
    assert [job.title for job in todo if (job.row.name, job.command) not in known] == []
    # And the rows of a column by all their options: a default may have changed since.
    first = [job for job in todo if (job.column, job.seed) == (todo[0].column, 0)]
    assert [job.title for job in first if store.find(job) is None] == []
    cells = [replace(known[job.row.name, job.command], column=job.column) for job in todo]
    if budget == "full":
        written = json.loads((results / "paper_tables.json").read_text())
        for entry, found in zip(written, entries(cells), strict=True):
            assert entry == pytest.approx(asdict(found))
        with (results / "paper_tables.csv").open() as lines:
            rows = [(row["row"], float(row["mean"])) for row in csv.DictReader(lines)]
        assert rows == [(entry["row"], entry["mean"]) for entry in written]
