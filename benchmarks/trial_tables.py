"""All trials of two small spaces, tried once: ``python -m benchmarks.trial_tables --json FILE``.

``svm``: scikit-learn's support-vector machine on pixels or histograms of gradients, over the ranges
of the guide of LIBSVM (Hsu, Chang and Lin, 2003), in powers of 2. ``sliced``: networks with random
kernels, cut and sliced. The images are mnist5k: 3,200 teach, the 800 of a study's first fold choose
(:class:`experiments.study.roles.Roles`), and 1,000 test images are looked at beside them.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import command_line, origin
from benchmarks.output import Output
from evolve.trials.space import Family, Values, family_of
from experiments.console import exit_on_mistake, say
from experiments.study.roles import Roles
from slicing.baselines.extraction import Extractor
from slicing.baselines.untrained import UntrainedCNN
from slicing.data import Dataset, Images, mnist5k
from slicing.engine.reduction import project
from slicing.engine.votes import count_votes
from slicing.neighbors.exact import kneighbors
from slicing.shifts import averaged
from slicing.stack import ConvStack
from slicing.threads import single_threaded_blas

# More values than any range here has.
_ALL = 1000

SPACES = {
    "svm": family_of(
        "svm",
        {
            "features": {"choices": ["pixels", "hog"]},
            "cells": {"choices": [4, 7], "only_if": {"features": ["hog"]}},
            "log2_gamma": {"low": -15, "high": 3},
            "log2_C": {"low": -5, "high": 15},
        },
    ),
    "sliced": family_of(
        "sliced",
        {
            "baseline": "random",
            "slicing.shift": 0,
            "baseline.filters": {"choices": [[8, 16], [16, 32], [32, 64]]},
            "baseline.kernel_size": {"choices": [3, 5]},
            "slicing.average": {"choices": [0, 1]},
            "slicing.projection": {"choices": ["lda", "pda", "pca", "none"]},
            "slicing.components": {
                "low": 3,
                "high": 9,
                "only_if": {"slicing.projection": ["lda", "pda"]},
            },
            "slicing.metric": {"choices": ["euclidean", "cosine"]},
            "slicing.k": {"low": 1, "high": 15, "step": 2},
        },
    ),
}
"""What is tried; ``sliced`` names the options of a run."""

Right = tuple[int, int]
"""Choice images and test images that a trial classifies correctly."""


@dataclass(frozen=True)
class Parts:
    """The images by their roles.

    Attributes
    ----------
    train, choice, test : Images
    classes : tuple of str
    """

    train: Images
    choice: Images
    test: Images
    classes: tuple[str, ...]

    @classmethod
    def of(cls, dataset: Dataset[Images]) -> "Parts":
        """Divide a dataset as a study does."""
        split = Roles().of(dataset, 0)
        return cls(split.train, split.read_test(), dataset.read_test(), dataset.classes)

    def right(self, predicted: NDArray[np.int64]) -> Right:
        """Count the right answers to the choice images, which come first, and to the others."""
        labels = np.concatenate([self.choice.labels, self.test.labels])
        is_right, n = predicted == labels, len(self.choice)
        return int(is_right[:n].sum()), int(is_right[n:].sum())


def points(family: Family) -> Iterator[Values]:
    """Go through all values that may stand together."""
    found: list[Values] = [{}]
    for name, parameter in family.parameters.items():
        values = parameter.grid(_ALL)
        longer = list[Values]()
        for point in found:
            is_there = all(point.get(on) in of for on, of in parameter.only_if.items())
            longer += [{**point, name: value} for value in values] if is_there else [point]
        found = longer
    return iter(found)


def key(name: str, values: Mapping[str, Any]) -> str:
    """Name a trial of a space by its values in their order, with - where an option is not there."""
    return " ".join(
        json.dumps(values.get(option, "-"), separators=(",", ":")).strip('"')
        for option in SPACES[name].parameters
    )


def svm(parts: Parts, family: Family) -> Iterator[tuple[Values, Right]]:
    """Try support-vector machines: their kernel is computed once for all C."""
    from sklearn.metrics.pairwise import euclidean_distances
    from sklearn.svm import SVC

    queries = np.concatenate([parts.choice.images, parts.test.images])

    @lru_cache(1)
    def squares(cells: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        extract, train = Extractor.fit(parts.train.images, cells)
        among, to = (
            euclidean_distances(each.astype(float), train.astype(float), squared=True)
            for each in (train, extract(queries))
        )
        return among, to

    @lru_cache(1)
    def kernels(cells: int | None, log2_gamma: int) -> list[NDArray[np.float64]]:
        return [np.exp(-(2.0**log2_gamma) * each) for each in squares(cells)]

    for values in points(family):
        among, to = kernels(values.get("cells"), values["log2_gamma"])
        model = SVC(C=2.0 ** values["log2_C"], kernel="precomputed")
        with single_threaded_blas():
            model.fit(among, parts.train.labels)
            yield values, parts.right(model.predict(to))


def sliced(parts: Parts, family: Family) -> Iterator[tuple[Values, Right]]:
    """Try sliced networks: what several of them have in common is computed once."""
    images, labels = parts.train.images, parts.train.labels
    queries = np.concatenate([parts.choice.images, parts.test.images])
    name = "slicing.k"
    ks = family.parameters[name].grid(_ALL)
    rest = replace(family, parameters={n: p for n, p in family.parameters.items() if n != name})

    @lru_cache(1)
    def cut(filters: tuple[int, ...], kernel_size: int, average: int) -> _Cut:
        network = UntrainedCNN(filters=filters, kernel_size=kernel_size)
        stack = network.shape(images.shape[1:], len(parts.classes))
        return _Cut(stack, averaged(stack, images, average), averaged(stack, queries, average))

    @lru_cache(1)
    def projected(kind: Any, *network: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give references and queries with all components: each comes after those before it."""
        of = cut(*network)
        if kind == "none":
            return of.references, of.queries
        layer = project(of.stack, parts.train, kind).layers[-1]
        last = ConvStack((layer,), of.stack.feature_shape)
        return (
            last.forward(of.references.reshape(-1, *of.stack.feature_shape)),
            last.forward(of.queries.reshape(-1, *of.stack.feature_shape)),
        )

    for values in points(rest):
        network = tuple(values["baseline.filters"]), values["baseline.kernel_size"]
        kind, average = values["slicing.projection"], values["slicing.average"]
        references, asked = (
            each[:, : values.get("slicing.components")]
            for each in projected(kind, *network, average)
        )
        _, found = kneighbors(asked, references, max(ks), values["slicing.metric"])
        for k in ks:
            votes = count_votes(labels[found[:, :k]], len(parts.classes))
            yield {**values, name: k}, parts.right(votes.argmax(axis=1))


class _Cut(NamedTuple):
    """A network that was cut, and the features of the training images and the others."""

    stack: ConvStack
    references: NDArray[np.float32]
    queries: NDArray[np.float32]


TRY: dict[str, Callable[[Parts, Family], Iterator[tuple[Values, Right]]]] = {
    "svm": svm,
    "sliced": sliced,
}
"""What tries a whole space."""


@dataclass(frozen=True)
class Table:
    """The trials of a space.

    Attributes
    ----------
    options : sequence of str
        What the names of the trials have the values of.
    n_choice, n_test : int
        Images.
    choice, test : mapping of str to int
        How many of them each trial classifies correctly, by :func:`key`.
    """

    options: Sequence[str]
    n_choice: int
    n_test: int
    choice: Mapping[str, int]
    test: Mapping[str, int]

    @classmethod
    def of(cls, name: str, parts: Parts) -> "Table":
        """Try a whole space of :data:`SPACES`."""
        choice, test = dict[str, int](), dict[str, int]()
        for values, right in TRY[name](parts, SPACES[name]):
            choice[key(name, values)], test[key(name, values)] = right
        options = tuple(SPACES[name].parameters)
        return cls(options, len(parts.choice), len(parts.test), choice, test)


def read(path: Path) -> dict[str, Table]:
    """Read the file that this module writes."""
    return {name: Table(**each) for name, each in json.loads(path.read_text())["tables"].items()}


def main(words: Sequence[str] | None = None) -> None:
    """Try all of the spaces that the file lacks."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.trial_tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, required=True, help="the file, which is added to")
    options = parser.parse_args(words)
    with exit_on_mistake():
        output = Output("--json", options.json)
        parts, tables = Parts.of(mnist5k()), read(output.path) if output.path.exists() else {}
        for name in SPACES:
            if name not in tables:
                say(f"{name}: trying all")
                tables[name] = Table.of(name, parts)
                content = origin(command_line("benchmarks.trial_tables", words))
                output.write_json({**content, "tables": tables})


if __name__ == "__main__":
    main()
