"""The report of a run: one HTML file that needs no other."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments import pages
from experiments.mlflow_run import leaves
from experiments.statistics import ClassFigures
from experiments.summary import Summary
from experiments.tables import (
    addition_cells,
    bin_cells,
    class_cells,
    confidence_cells,
    confused_cells,
)
from slicing.data.dataset import Images
from slicing.data.survey import Survey
from slicing.engine.engine import Engine
from slicing.engine.votes import count_votes

# Limits for a page that a browser opens: mistakes, neighbors of each, and pixels a side.
_MISTAKES, _NEAREST, _PIXELS = 24, 9, 64


@dataclass(frozen=True)
class Answers:
    """The saved engine's answers to the test images.

    Attributes
    ----------
    engine : Engine
    train : Images
        Of which its references were made.
    test : Images
    predicted : ndarray of shape (n_test,), int64
    """

    engine: Engine
    train: Images
    test: Images
    predicted: NDArray[np.int64]


class _Neighbor(NamedTuple):
    """A reference; its image is empty where it has none."""

    name: str
    distance: float
    image: str


class _Mistake(NamedTuple):
    """A test image that the engine gets wrong."""

    name: str
    image: str
    true: str
    predicted: str
    votes: list[tuple[str, int]]
    distance: float
    margin: float
    certainty: tuple[float | None, bool | None]
    neighbors: list[_Neighbor]


def write(
    path: Path,
    summary: Summary,
    answers: Answers,
    options: Mapping[str, Any],
    choices: Mapping[str, str],
    survey: Survey | None = None,
) -> None:
    """Write the report of a run.

    Parameters
    ----------
    path : Path
        The HTML file to write; the run's figures, which become part of it, are beside it.
    summary : Summary
    answers : Answers
    options : mapping of str to object
        The resolved configuration.
    choices : mapping of str to str
        The chosen option of every group.
    survey : Survey, optional
        The image files of the dataset.
    """
    names = ["accuracy", "confusion"]
    names += ["convergence", "kernels"] if summary.n_blocks else []
    names += ["training"] if summary.training else []
    names += ["reliability"] if summary.reliability else []
    figures = {name: (path.parent / f"{name}.png").read_bytes() for name in names}
    pages.write(
        path,
        "report.html.j2",
        summary=summary,
        **pages.told(summary.quality, survey),
        additions=addition_cells(summary.additions),
        confidences=confidence_cells(summary.reliability),
        bins=bin_cells(summary.reliability),
        classes=class_cells(
            answers.engine.classes,
            ClassFigures.of_all(
                answers.predicted, answers.test.labels, len(answers.engine.classes)
            ),
        ),
        confused=confused_cells(answers.engine.classes, answers.test.labels, answers.predicted),
        about=_about(summary, answers),
        figures={name: pages.embedded(png) for name, png in figures.items()},
        n_test=len(answers.test),
        named=answers.test.names is not None,
        n_wrong=int(np.sum(answers.predicted != answers.test.labels)),
        mistakes=_mistakes(answers, options["slicing"]["references"] == "all"),
        k=answers.engine.k,
        n_shown=min(answers.engine.k, _NEAREST),
        references=options["slicing"]["references"],
        metric=answers.engine.metric,
        configuration=_configuration(options, choices),
    )


def _about(summary: Summary, answers: Answers) -> dict[str, object]:
    """Say what the results depend on besides the configuration."""
    return {
        "images": f"{summary.dataset}, {len(answers.train):,} training images, "
        f"{len(answers.test):,} test images",
        "protocol": summary.protocol,
        "seed": summary.seed,
        "threads": summary.threads,
        "commit": summary.commit or "none",
        "command line": " ".join(summary.overrides) or "the defaults",
        "versions": ", ".join(f"{name} {text}" for name, text in summary.versions.items()),
        **summary.machine,
    }


def _configuration(
    options: Mapping[str, Any], choices: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Group the options, with values as on the command line."""
    groups: dict[str, dict[str, object]] = {"run": {}}
    # Choices that are not groups of options are presets.
    for name, value in {**choices, **options}.items():
        if isinstance(value, dict):
            title = f"{name}={choices[name]}" if name in choices else name
            groups[title] = leaves(value, f"{name}.")
        else:
            groups["run"][name] = value
    return {
        title: {
            name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            for name, value in values.items()
        }
        for title, values in groups.items()
    }


def _mistakes(answers: Answers, references_are_images: bool) -> list[_Mistake]:
    """Look at the wrong answers that are surest, and at the nearest references of their images."""
    engine, train, test = answers.engine, answers.train, answers.test
    wrong = np.flatnonzero(answers.predicted != test.labels)
    evidence = engine.evidence(test.images[wrong], test.contrasts[wrong])
    sureness = evidence.margins if evidence.confidences is None else evidence.confidences
    certainties = evidence.certainties()
    # Those of outliers, which are no numbers, come last.
    rows = np.argsort(-sureness, kind="stable")[:_MISTAKES]
    distances, indices = engine.kneighbors(test.images[wrong[rows]])
    votes = count_votes(engine.labels[indices], len(engine.classes))
    return [
        _Mistake(
            str(index if test.names is None else test.names[index]),
            _png(test, index),
            engine.classes[test.labels[index]],
            engine.classes[answers.predicted[index]],
            [
                (engine.classes[label], int(counts[label]))
                for label in np.argsort(-counts, kind="stable")
                if counts[label] or label == test.labels[index]
            ],
            evidence.distances[row],
            evidence.margins[row],
            certainties[row],
            [
                _Neighbor(
                    engine.classes[engine.labels[j]],
                    distance,
                    _png(train, j) if references_are_images else "",
                )
                for distance, j in zip(near[:_NEAREST], nearest[:_NEAREST], strict=True)
            ],
        )
        for row, index, counts, near, nearest in zip(
            rows, wrong[rows], votes, distances, indices, strict=True
        )
    ]


def _png(images: Images, index: int) -> str:
    """Embed one of the images."""
    file = BytesIO()
    images.picture(index, _PIXELS).save(file, "PNG")
    return pages.embedded(file.getvalue())
