"""The report of a study, read as a browser would, in every state in which a study may end."""

import json
from dataclasses import replace

import numpy as np
import pytest

from experiments import pages
from experiments.statistics import Accuracy
from experiments.study import report
from experiments.study.ending import WINNER
from experiments.study.handed import Handed
from experiments.study.summary import SUMMARY
from experiments.tables import percent
from tests.experiments.study.summaries import CLASSES, answers, failed, study_of, trial
from tests.experiments.test_report import every, read, rows_of
from tests.experiments.test_summary import SUMMARY as RUN

EPOCHS = [[1.2, 0.5], [None, 0.7], [0.4, 0.8]]
MANY = [
    trial(0, is_left=True), trial(1, "cnn", 95), trial(2, "shallow", 97),
    trial(3, "cnn", 80, is_pruned=True),
    failed(4, "memory", "It took more than 1.0 GB of memory."),
    failed(5, "time", "It took more than 9 s.", "cnn"),
    failed(6, "killed", "Its process ended by signal 9."),
    failed(7, "refused", "slicing.k=99 is out of range."),
    failed(8, "failed", "ValueError: <script>alert(1)</script>"),
]  # fmt: skip
MANY[1].details.update(training=EPOCHS, network_accuracy=0.93)
STATES = {
    "one trial": ([trial(0)], {}),
    "all failed but one": ([*MANY[4:], trial(9)], {}),
    "many": (MANY, {"front": (0, 1), "importance": {"slicing.k": 0.75, "slicing.cut": 0.25}}),
    "interrupted": (MANY[:2], {"ended": "interrupted", "why_not_refit": "interrupted"}),
    "several objectives": (MANY, {"objectives": ("bytes", "accuracy"), "winner": 0}),
    "all right": ([trial(0, correct=100)], {"as_tried": Accuracy(60, 60)}),
    "no family's source": ([trial(0)], {"sources": {"sliced": ""}, "left_out": ()}),
    "two classes": ([trial(0)], {"classes": ("no", "yes")}),
    "two hundred classes": (
        [trial(0)], {"classes": tuple(map(str, range(200))), "n_test": 400}
    ),
}  # fmt: skip


def written(folder, trials=MANY, **changes):
    summary, handed = study_of(folder, trials, **changes)
    report.write(summary, handed, folder / "engine.safetensors")
    return read(folder), summary


def table_with(page, *words):
    [found] = [t for t in page.all("table") if {*words} <= {*rows_of(t)[0]}]
    return rows_of(found)


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_told_in_one_file_that_needs_no_other(tmp_path, state):
    trials, changes = STATES[state]
    page, summary = written(tmp_path, trials, **changes)
    for element in every(page):
        assert element.tag not in {"script", "link", "iframe", "object", "embed", "base"}
        assert not {"href", "srcset", "style", "data", "action"} & element.attributes.keys()
    images = list(page.all("img"))
    assert images
    for image in images:
        assert image.attributes["src"].startswith("data:image/")
        assert image.attributes["alt"]
    text = page.text
    assert not {"nan", "None", "inf"} & {*text.replace(",", " ").split()}
    assert "-1" not in text.replace("-100", "").replace(str(tmp_path), "")
    assert percent(summary.tested) in text
    for each in trials:
        assert each.reason in text
    for sentence in summary.left_out:
        assert sentence in text


def test_what_was_announced_stands_beside_what_was_tested(tmp_path):
    page, summary = written(tmp_path)
    rows = table_with(page, "the winner", "images")
    assert [row[1:] for row in rows[1:]] == [
        ["100", "95.00 (88.82-97.85)"],
        ["60", percent(summary.as_tried)],
    ]
    assert "The choice images flatter" in page.text
    assert "Trial 2 of the family shallow, which is only there to compare with" in page.text
    assert "no time to make it again" in page.text


def test_trials_stand_best_first_and_failed_ones_say_why(tmp_path):
    page, _ = written(tmp_path)
    board, fallen = (
        table_with(page, "remarks", "options"), table_with(page, "what happened", "options"),
    )  # fmt: skip
    assert [(row[0], row[6]) for row in board[1:]] == [
        ("2", "best of its family; no engine, to compare with"),
        ("1", "the winner; best of its family"),
        ("0", "best of its family; not tried to its end, no time was left"),
        ("3", "ended early, others were ahead"),
    ]
    assert [row[3] for row in fallen[1:]] == [
        "took more memory than it may: It took more than 1.0 GB of memory.",
        "took too long: It took more than 9 s.",
        "its process was ended from outside: Its process ended by signal 9.",
        "cannot be done with these images: slicing.k=99 is out of range.",
        "ended with an error: ValueError: <script>alert(1)</script>",
    ]
    families = table_with(page, "trials", "what was tried first")
    assert [row[:3] for row in families[1:]] == [
        ["sliced", "5", "4"], ["cnn", "3", "1"], ["shallow", "1", "0"]
    ]  # fmt: skip
    assert families[1][-1] == "Author et al. (2020)"


def test_what_there_was_no_time_for_has_not_failed(tmp_path):
    late = failed(9, "skipped", "Its training would take 340 s at least.", "cnn")
    page, summary = written(tmp_path, [trial(0), late], folds=2)
    [row] = table_with(page, "what happened", "options")[1:]
    assert row[3] == "no time for it: Its training would take 340 s at least."
    assert "What failed" not in page.text
    assert "They have not failed" in page.text
    [first] = table_with(page, "remarks", "options")[1:]
    assert first[6].endswith("judged 1 time and not 2, no time was left")
    families = table_with(page, "trials", "what was tried first")
    assert [row[:3] for row in families[1:3]] == [["sliced", "1", "0"], ["cnn", "0", "0"]]
    assert "1 trial in 61 s; for 1 more there was no time" in summary.text()


def test_a_long_leaderboard_is_folded_and_whole(tmp_path):
    page, _ = written(tmp_path, [trial(n, correct=50 + n) for n in range(40)])
    boards = [rows_of(t) for t in page.all("table") if "remarks" in rows_of(t)[0]]
    assert [row[0] for board in boards for row in board[1:]] == [*map(str, range(39, -1, -1))]
    assert page.one("summary").text == "25 more"


def test_json_and_page_have_the_same_figures(tmp_path):
    page, summary = written(tmp_path, importance={"slicing.k": 0.75, "slicing.cut": 0.25})
    summary.write(tmp_path / SUMMARY)
    values = json.loads((tmp_path / SUMMARY).read_text())

    def written_as(accuracy):
        return percent(accuracy and Accuracy(**accuracy))

    classes = table_with(page, "class", "test images", "recall, % (95 % interval)")
    assert classes[1:] == [
        [name, f"{each['recall']['total']}", *map(written_as, each.values())]
        for name, each in values["by_class"].items()
    ]
    board = table_with(page, "remarks", "options")
    trials = {str(each["number"]): each for each in values["trials"]}
    for number, family, right, n_bytes, milliseconds, seconds, *_ in board[1:]:
        each = trials[number]
        assert family == each["family"]
        assert right == percent(Accuracy(each["details"]["correct"], each["details"]["total"]))
        assert float(n_bytes.replace(",", "")) == each["metrics"]["bytes"]
        assert float(milliseconds) == each["metrics"]["milliseconds"]
        assert float(seconds) == each["seconds"]
    assert table_with(page, "option", "importance")[1:] == [
        [name, f"{100 * share:.0f} %"] for name, share in values["importance"].items()
    ]
    assert table_with(page, "the winner", "images")[2][2] == written_as(values["as_tried"])


def test_of_a_winner_made_again_the_parts_of_its_run_are_taken(tmp_path):
    (tmp_path / WINNER).mkdir()
    parts = "".join(
        f'<section id="{name}"><h3>{name} &lt;here&gt;</h3></section>'
        for name in ("worst", "confidence", "data")
    )
    pages_of_run = f"<html><section>other</section>{parts}</html>"
    (tmp_path / WINNER / "report.html").write_text(pages_of_run)
    summary, handed = study_of(tmp_path, MANY, refit=Accuracy(54, 60), why_not_refit="")
    leaking = replace(RUN, leaks=True)
    report.write(summary, replace(handed, run=leaking), tmp_path / "engine.safetensors")
    page = read(tmp_path)
    for name in ("worst", "confidence", "data"):
        assert page.text.count(f"{name} <here>") == 1
    assert "other" not in [each.text for each in page.all("section")]
    assert leaking.warning in page.one("p", class_="warning").text
    rows = table_with(page, "the winner", "images")
    assert rows[3][1:] == ["60", percent(Accuracy(54, 60))]
    assert "It was made from the training images and those that chose it." in page.text


def test_the_engine_can_be_used_as_the_page_says(tmp_path):
    folder = tmp_path / "it's mine"
    folder.mkdir()
    page, _ = written(folder, [trial(0)])
    command, python, again = (each.text for each in page.all("pre"))
    assert command.startswith("python -m experiments.predict ")
    compile(list(page.all("pre"))[1].children[0], "page", "exec")
    assert repr(str(folder / "engine.safetensors")) in python
    assert again.startswith("python -m experiments.run data=folder 'data.directory=my photos'")


def test_the_answers_of_an_engine_are_read_from_where_they_are(tmp_path):
    labels, predicted = answers()
    np.savez(tmp_path / "predictions.npz", labels=labels, engine=predicted)
    again = np.roll(predicted, 1)
    (tmp_path / WINNER).mkdir()
    np.savez(tmp_path / WINNER / "predictions.npz", labels=labels, baseline=labels, sliced=again)
    RUN.write(tmp_path / WINNER / SUMMARY)
    tried, refit = Handed.read(tmp_path, refit=False), Handed.read(tmp_path, refit=True)
    np.testing.assert_array_equal(tried.predicted, predicted)
    np.testing.assert_array_equal(refit.predicted, again)
    assert tried.run is None
    assert refit.run == RUN
    found = tried.by_class(CLASSES)
    assert [*found] == [*CLASSES]
    right = sum(each["recall"].correct for each in found.values())
    assert right == (labels == predicted).sum()


def test_a_class_without_test_images_has_no_recall(tmp_path):
    labels = np.zeros(20, np.int64)
    handed = Handed(labels, labels)
    found = handed.by_class(CLASSES)
    assert found["<b>dog</b>"] == {"recall": None, "precision": None}
    summary, _ = study_of(tmp_path, [trial(0)], by_class=found, as_tried=Accuracy(20, 20))
    report.write(summary, handed, tmp_path / "engine.safetensors")
    assert ["<b>dog</b>", "0", "-", "-"] in table_with(read(tmp_path), "class", "test images")


def test_a_page_is_written_by_the_same_rule_as_all(tmp_path):
    written(tmp_path)
    page = (tmp_path / report.REPORT).read_text("utf-8")
    assert "<b>dog</b>" not in page
    assert pages.embedded((tmp_path / "timeline.png").read_bytes()) in page
