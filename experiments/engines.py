"""What a run ends with: its conv stack as an engine of the kind that ``slicing`` asks for."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evolve.prototypes import PrototypeTuning
from evolve.search import MakeOptimizer
from slicing.data.dataset import Images
from slicing.engine.classifier import Engine, quantized
from slicing.engine.reduction import (
    class_centers,
    condense,
    default_components,
    most_components,
    project,
)
from slicing.errors import InputError
from slicing.shifts import averaged, check_shift
from slicing.stack import ConvStack

Show = Callable[[float, str], None]
"""Is told how much is done, 0 to 1, and what is under way."""

# How much of build_engine is done once there is a projection, where references are made after it.
_PROJECTED = 0.2


def _silent(done: float, text: str) -> None:
    return


def check_options(
    options: dict[str, Any], stack: ConvStack, train: Images, make_optimizer: MakeOptimizer
) -> None:
    """Refuse, before anything is computed, options of :func:`build_engine` that cannot be.

    Raises
    ------
    InputError
    """
    kind, components = options["projection"], options["components"]
    n_features = int(np.prod(stack.feature_shape))
    if kind == "none":
        if components is not None:
            raise InputError("slicing.components belongs to a projection: add slicing.projection.")
    else:
        most = most_components(kind, (len(train), n_features), len(np.unique(train.labels)))
        n_features = default_components(most) if components is None else components
        if not 1 <= n_features <= most:
            raise InputError(
                f"slicing.components={components} is out of range for {kind}: choose 1 to {most}."
            )
        check_shift(options["shift"], stack.input_shape, "slicing.shift")
    check_shift(options["average"], stack.input_shape, "slicing.average")
    if options["per_class"] < 1:
        raise InputError(
            f"slicing.per_class={options['per_class']} is out of range: choose at least 1."
        )
    if options["tuning_generations"] < 0:
        raise InputError(
            f"slicing.tuning_generations={options['tuning_generations']} is out of range: choose 0 "
            "or more."
        )
    if options["tuning_generations"] and options["references"] != "prototypes":
        raise InputError(
            "slicing.tuning_generations moves prototypes: add slicing.references=prototypes."
        )
    if options["tuning_generations"]:
        make_optimizer(np.zeros(n_features), 1.0, np.random.default_rng(0))
    n_references = len(train)
    if options["references"] == "prototypes":
        n_references = int(np.minimum(np.bincount(train.labels), options["per_class"]).sum())
    if not 1 <= options["k"] <= n_references:
        raise InputError(
            f"slicing.k={options['k']} is not possible: there are {n_references} references, so "
            f"give 1 to {n_references}."
        )


def describe(options: dict[str, Any]) -> str:
    """Name what makes an engine smaller than all training images in float32; empty: nothing."""
    parts = []
    if options["references"] == "condensed":
        parts.append("condensed")
    if options["references"] == "prototypes":
        tuned = ", tuned" if options["tuning_generations"] else ""
        parts.append(f"{options['per_class']} prototypes a class{tuned}")
    if options["storage"] != "float32":
        parts.append(options["storage"])
    return ", ".join(parts)


def all_references(
    stack: ConvStack,
    train: Images,
    classes: tuple[str, ...],
    options: dict[str, Any],
    show: Show = _silent,
) -> Engine:
    """Make the engine whose references are all training images, in float32.

    Parameters
    ----------
    stack, train, classes, options, show
        As for :func:`build_engine`; of the options the projection, ``k``, the
        metric and the copies that are averaged.

    Raises
    ------
    InputError
        Options out of range.
    """
    options = {**options, "references": "all", "storage": "float32"}
    stack, features = extract(stack, train, options, show)
    return Engine.of(
        stack, features, train.labels, classes, options["k"], options["metric"],
        average=options["average"],
    )  # fmt: skip


def _projected(
    stack: ConvStack,
    train: Images,
    options: dict[str, Any],
    show: Show,
) -> ConvStack:
    kind = options["projection"]
    if kind == "none":
        return stack
    return project(
        stack, train, kind, options["components"], options["shift"],
        lambda done: show(done, f"learning the projection, {kind}"),
    )  # fmt: skip


def build_engine(
    stack: ConvStack,
    train: Images,
    classes: tuple[str, ...],
    options: dict[str, Any],
    make_optimizer: MakeOptimizer,
    seed: int,
    show: Show = _silent,
) -> Engine:
    """Make an engine, as small as is asked for.

    What is rounded is rounded at once, so that each step makes up for the one before.

    Parameters
    ----------
    stack : ConvStack
    train : Images
        The training images, of which the references are made.
    classes : tuple of str
    options : dict
        Those of :class:`experiments.schema.engine.KNN`.
    make_optimizer : callable
        Moves the prototypes, where ``tuning_generations`` is above 0.
    seed : int
    show : callable
        Is told how much is done, 0 to 1, and what is under way.

    Raises
    ------
    InputError
        Options out of range.
    """
    stack, features = extract(stack, train, options, show)
    return place(stack, features, train.labels, classes, options, make_optimizer, seed, show)


def extract(
    stack: ConvStack,
    train: Images,
    options: dict[str, Any],
    show: Show = _silent,
) -> tuple[ConvStack, NDArray[np.float32]]:
    """Do the first half of :func:`build_engine`: round the kernels, learn the projection, average.

    Returns
    -------
    stack : ConvStack
        That of the engine.
    features : ndarray of shape (n, n_features), float32
        What it makes of the training images.
    """
    is_int8 = options["storage"] == "int8"
    if is_int8:
        stack = quantized(stack)
    end = 1.0 if options["references"] == "all" else _PROJECTED
    # Both go through as many copies of the images, by default.
    projected = end / 2 if options["average"] else end
    if options["projection"] != "none":
        stack = _projected(stack, train, options, lambda done, text: show(projected * done, text))
        if is_int8:
            stack = quantized(stack)

    def show_copies(done: float) -> None:
        show(projected + (end - projected) * done, "averaging shifted copies")

    return stack, averaged(stack, train.images, options["average"], show_copies)


def place(
    stack: ConvStack,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    options: dict[str, Any],
    make_optimizer: MakeOptimizer,
    seed: int,
    show: Show = _silent,
) -> Engine:
    """Do the second half of :func:`build_engine`: make the references."""
    metric = options["metric"]
    references, of_class = features, labels
    if options["references"] == "condensed":
        show(_PROJECTED, f"condensing {len(features):,} references")
        chosen = condense(features, labels, metric, seed, options["k"])
        references, of_class = features[chosen], labels[chosen]
    elif options["references"] == "prototypes":
        show(_PROJECTED, "placing the prototypes")
        references, of_class = class_centers(features, labels, options["per_class"], seed)
    if options["tuning_generations"]:
        tuning = PrototypeTuning(
            references, of_class, features, labels, make_optimizer, metric=metric,
            generations=options["tuning_generations"], seed=seed,
        )  # fmt: skip
        for done, loss in enumerate(tuning, 1):
            part = done / len(tuning)
            show(0.3 + 0.7 * part, f"tuning prototype {done} of {len(tuning)}, loss {loss:.4f}")
        references = tuning.references
    return Engine.of(
        stack, references, of_class, classes, options["k"], metric, options["storage"],
        options["average"],
    )  # fmt: skip
