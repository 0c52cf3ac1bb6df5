from dataclasses import replace

import pytest

from experiments.statistics import Accuracy
from experiments.study.words import next_steps, told
from tests.experiments.study.summaries import study_of, trial


def by_class(**recalls):
    return {name: {"recall": each, "precision": None} for name, each in recalls.items()}


@pytest.mark.parametrize(
    ("tested", "words"),
    [
        (Accuracy(470, 500), "about 94 of 100 right"),
        (Accuracy(470, 500), "may be 92 to 96."),
        (Accuracy(20, 20), "about 100 of 100 right"),
        (Accuracy(20, 20), "may be 84 to 100."),
        (Accuracy(9970, 10000), "about 997 of 1,000 right"),
        (Accuracy(9970, 10000), "on 10,000 images that it had never seen"),
        (Accuracy(0, 20), "about 0 of 100 right"),
    ],
)
def test_accuracy_is_told_in_images_of_a_hundred(tmp_path, tested, words):
    summary, _ = study_of(tmp_path, [trial(0)], as_tried=tested)
    assert words in " ".join(told(summary))


@pytest.mark.parametrize(
    ("n_bytes", "words"), [(999, "999 bytes"), (1_234_567, "1.23 MB"), (5.4e9, "5.4 GB")]
)
def test_size_and_time_are_told(tmp_path, n_bytes, words):
    summary, _ = study_of(tmp_path, [trial(0)], engine_bytes=n_bytes)
    text = " ".join(told(summary))
    assert f"It takes {words} on the disk, and about 2.5 ms an image" in text


def test_guessing_stands_beside_it_and_classes_are_named(tmp_path):
    names = [f"class {n}" for n in range(8)]
    counts = dict(zip(names, [30, 10, 10, 10, 10, 10, 10, 10], strict=True))
    recalls = by_class(**{name: Accuracy(5, n) for name, n in counts.items()})
    summary, _ = study_of(
        tmp_path, [trial(0)], classes=names, by_class=recalls, as_tried=Accuracy(40, 100)
    )
    text = " ".join(told(summary))
    assert "which of 8 classes it shows: class 0, class 1, class 2" in text
    assert "class 5 and 2 more." in text
    assert "the most frequent class would get 30 of 100" in text


def test_it_says_whether_it_was_made_of_all_images(tmp_path):
    summary, _ = study_of(tmp_path, [trial(0)])
    assert told(summary)[-1] == (
        "It was made without the images that chose it: there was no time to make it again with the "
        "choice images."
    )
    again = replace(summary, refit=Accuracy(1, 2))
    assert told(again)[-1] == "It was made from the training images and those that chose it."


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        ("time", "study 'resume={folder}' budget.minutes=20"),
        ("trials", "study 'resume={folder}' budget.trials=2"),
        ("interrupted", "study 'resume={folder}'"),
        ("target", ""),
        ("all tried", ""),
    ],
)
def test_how_it_goes_on_depends_on_how_it_ended(tmp_path, ended, words):
    folder = tmp_path / "a b"
    summary, _ = study_of(folder, [trial(0)], ended=ended)
    found = [command for _, command in next_steps(summary, 0) if command]
    expected = words.replace("'resume={folder}'", f"""'resume='"'"'{folder}'"'"''""")
    assert [step.endswith(expected) for step in found] == [True] * bool(words)


def test_what_is_weak_is_named_only_where_chance_does_not_explain_it(tmp_path):
    sure = by_class(a=Accuracy(98, 100), b=Accuracy(60, 100), rare=Accuracy(0, 3))
    summary, _ = study_of(tmp_path, [trial(0)], by_class=sure, as_tried=Accuracy(158, 203))
    [step] = [each for each, _ in next_steps(summary, 0) if "weakest" in each]
    assert "weakest at b: 60 of 100 test images right" in step
    even = replace(summary, by_class=by_class(a=Accuracy(79, 100), b=Accuracy(75, 100)))
    assert not [each for each, _ in next_steps(even, 0) if "weakest" in each]


def test_the_worst_of_many_classes_is_named_only_if_it_is_worse_than_such_a_one_would_be(tmp_path):
    recalls = {f"c{n}": Accuracy(18, 20) for n in range(200)}
    for worst, is_named in ((14, False), (6, True)):
        recalls["c7"] = Accuracy(worst, 20)
        tested = Accuracy(3582 + worst, 4000)
        summary, _ = study_of(tmp_path, [trial(0)], by_class=by_class(**recalls), as_tried=tested)
        assert ("weakest at c7" in str(next_steps(summary, 0))) == is_named


def test_a_guess_among_many_classes_is_not_said_to_be_never_right(tmp_path):
    recalls = by_class(**{f"c{n}": Accuracy(1, 2) for n in range(200)})
    summary, _ = study_of(tmp_path, [trial(0)], by_class=recalls, as_tried=Accuracy(200, 400))
    assert "would get less than 1 of 100" in " ".join(told(summary))


def test_few_test_images_and_findings_are_pointed_at(tmp_path):
    summary, _ = study_of(tmp_path, [trial(0)])
    (first, _), (second, _), *_ = next_steps(summary, 2)
    assert "wrong labels" in first
    assert "Only 60 images tested it" in second
    many = replace(summary, as_tried=Accuracy(900, 1000))
    assert not [each for each, _ in next_steps(many, 0) if "tested it" in each]
