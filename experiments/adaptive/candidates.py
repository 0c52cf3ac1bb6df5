"""Selectors, learned and certified on the same images, to be compared."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.adaptive.making import Asked
from experiments.adaptive.roles import Roles, pixels_of
from experiments.making import Options
from experiments.monitor import Monitor
from slicing.adaptive.cheap_features import cheap_features
from slicing.adaptive.combination import Combination
from slicing.adaptive.dial import Dial, MaxLoss
from slicing.adaptive.measuring import dispatch_cost, selector_costs
from slicing.adaptive.outcome import Decisions
from slicing.adaptive.premodel import cross_validated
from slicing.adaptive.selector import Selector
from slicing.adaptive.selectors import SELECTORS
from slicing.adaptive.system import System
from slicing.adaptive.table import Table
from slicing.checks import one_of
from slicing.engine.engine import Engine
from slicing.pixels import unit_pixels

KINDS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "random": ("random", {}),
    "premodel": ("premodel", {"level": "knn"}),
    "premodel_tree": ("premodel", {"level": "tree"}),
    "premodel_svm": ("premodel", {"level": "svm"}),
    "premodel_activations": ("premodel_activations", {}),
    "cascade": ("cascade", {}),
    "deferral": ("deferral", {}),
}
"""The selectors that are compared: of each, its kind and its options."""

ALONE: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "fixed": ("fixed", {}),
    "shifts": ("cascade", {}),
}
"""Those that may be in the file and are no part of the comparison: one member alone, and a cascade
of one copy of an image and all of them."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A selector, and what is known of it before the test images are read.

    Attributes
    ----------
    name : str
    system : System
        At the point that is certified for the loss.
    cross_validated : tuple of float or None
        Of a premodel, see :func:`slicing.adaptive.premodel.cross_validated`.
    """

    name: str
    system: System
    cross_validated: tuple[float, float] | None

    def decisions(self, table: Table, looked: NDArray[np.float32]) -> Decisions:
        """Give what it decides about the images of a table, of which it saw this."""
        own = replace(table, costs=self.system.costs)
        return Decisions.of(self.system.selector, looked, own)


class Looks:
    """What selectors see of some images before any member is asked: once for all of a kind.

    Parameters
    ----------
    images : ndarray of shape (n, height, width, channels), float32
    """

    def __init__(self, images: NDArray[np.float32]) -> None:
        self.images = images
        self._found = dict[str, NDArray[np.float32]]()

    def of(self, selector: Selector, engines: tuple[Engine, ...]) -> NDArray[np.float32]:
        """Give what a selector sees."""
        if selector.name not in self._found:
            self._found[selector.name] = selector.look(self.images, engines)
        return self._found[selector.name]


def check_selector(options: Options) -> None:
    """Refuse a selector that is none.

    Raises
    ------
    InputError
    """
    one_of("selector", options["selector"]["name"], [*KINDS, *ALONE])


def candidates(
    options: Options, asked: Asked, roles: Roles, monitor: Monitor
) -> dict[str, Candidate]:
    """Learn all selectors that are compared, and the one that is to be in the file."""
    engines = asked.members.engines
    looks = [
        Looks(unit_pixels(pixels_of(part, engines[0]))) for part in (roles.select, roles.certify)
    ]
    images = looks[0].images
    chosen = options["selector"]["name"]
    kinds = dict(KINDS) if chosen != "shifts" else {"random": KINDS["random"]}
    if chosen in ALONE:
        kinds[chosen] = ALONE[chosen]
    combination = Combination.fit(asked.select)
    found, features = dict[str, Candidate](), None
    for name, (kind, own) in kinds.items():
        monitor.say(f"Learning and certifying the selector {name}")
        given = dict(own)
        if kind == "premodel":
            # All see the same features.
            features = features if features is not None else cheap_features(images)
            given["features"] = features
        selector = SELECTORS[kind].fit(asked.select, images, engines, **given)
        timed = images[: options["timed"]]
        costs = selector_costs(asked.select.costs, selector, asked.members, timed)
        both = [
            Decisions.of(selector, seen.of(selector, engines), replace(table, costs=costs))
            for seen, table in zip(looks, (asked.select, asked.certify), strict=True)
        ]
        dial, combined = _better(both, combination, options["loss"], options["confidence"])
        system = System(engines, selector, dial, costs, 0, combined, roles.sizes)
        system = _dispatched(system, dispatch_cost(system, timed)).at(MaxLoss(options["loss"]))
        validated = None
        if features is not None and kind == "premodel":
            level = given["level"]
            validated = cross_validated(
                asked.select, features, level, options["folds"], options["seed"]
            )
        found[name] = Candidate(name, system, validated)
    return found


def _dispatched(system: System, dispatch: float) -> System:
    """Count what a system takes around its parts, at all points but the ends of the dial."""
    dial = system.dial
    milliseconds = dial.milliseconds + dispatch * np.isfinite(dial.thresholds)
    return replace(
        system,
        dial=replace(dial, milliseconds=milliseconds),
        costs=replace(system.costs, dispatch=dispatch),
    )


def _better(
    both: list[Decisions], combination: Combination, loss: float, confidence: float
) -> tuple[Dial, Combination | None]:
    """Combine answers of several members only where that serves: judged by *select* alone.

    It serves where a point takes less that would be certified for the loss, or is more accurate.
    """
    select, certify = both

    def merit(how: Combination | None) -> tuple[float, float]:
        dial = Dial.certified(select, select, how, confidence)
        at = dial.point(MaxLoss(loss))
        return float(dial.milliseconds[at]), -float(dial.accuracies[at])

    chosen = combination if merit(combination) < merit(None) else None
    return Dial.certified(select, certify, chosen, confidence), chosen


def dials(found: Mapping[str, Candidate]) -> dict[str, Any]:
    """Give the dials of all selectors, as JSON has them."""
    return {
        name: {
            "point": each.system.point,
            **{key: array.tolist() for key, array in each.system.dial.arrays().items()},
        }
        for name, each in found.items()
    }
