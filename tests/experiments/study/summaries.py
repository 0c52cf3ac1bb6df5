"""Results of studies, made by hand."""

from dataclasses import replace

import numpy as np

from evolve.trials.results import Finished
from experiments.statistics import Accuracy
from experiments.study.handed import Handed
from experiments.study.summary import StudySummary

CLASSES = ("cat", "<b>dog</b>", "a $x_1$ | bar")
COMMAND = ("data=folder", "data.directory=my photos", "seed=0", "threads=2", "baseline=random")
SOURCES = {
    "sliced": "Author et al. (2020)",
    "cnn": "the Keras example",
    "shallow": "the defaults of scikit-learn",
}


def trial(number, family="sliced", correct=90, **changes):
    """A trial that was judged."""
    details = {
        "engine": family != "shallow", "training": [], "correct": correct, "total": 100,
        "folds": [[correct, 100]],
    }  # fmt: skip
    metrics = {
        "bytes": 1000.0 * (1 + number), "parameters": 10.0, "milliseconds": 2.5 + number,
        "accuracy": correct / 100, "seconds": 3.0,
    }  # fmt: skip
    made = Finished(
        number, family, {"slicing.k": number + 1, "baseline": "random"}, 0, "tried", "", metrics,
        details, (1 - correct / 100,), False, 3.0, 1000.0 + 4 * number,
    )  # fmt: skip
    return replace(made, **changes)


def failed(number, status, reason, family="sliced"):
    """A trial that gave no classifier."""
    made = trial(number, family, status=status, reason=reason)
    return replace(made, metrics={}, details={}, values=())


def answers(n=60, n_classes=3, wrong=0.2, seed=0):
    """Labels of test images, and answers of which some are wrong."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % n_classes
    is_wrong = draw.random(n) < wrong
    return labels, np.where(is_wrong, (labels + 1) % n_classes, labels)


def study_of(folder, trials, classes=CLASSES, n_test=60, **changes):
    """The summary of a study without a refit, and what is known of its engine."""
    handed = Handed(*answers(n_test, len(classes)))
    tested = Accuracy.of(handed.predicted, handed.labels)
    engines = [each for each in trials if each.is_engine]
    winner = max(engines, key=lambda each: each.metrics["accuracy"]).number
    summary = StudySummary(
        dataset="photos", classes=tuple(classes), n_train=500, folds=1, objectives=("accuracy",),
        ended="time", seconds=61.0, overhead=0.4, trials=tuple(trials), winner=winner,
        front=(winner,), as_tried=tested, refit=None,
        why_not_refit="there was no time to make it again with the choice images",
        left_out=("finetuned is left out: not installed",), command=COMMAND, folder=str(folder),
        seed=3, sources=SOURCES, versions={"python": "3.11"}, machine={"processor": "a fast one"},
        engine_bytes=1_234_567, by_class=handed.by_class(classes),
    )  # fmt: skip
    return replace(summary, **changes), handed
