"""The members of a system: engines of files, or made here."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.adaptive.roles import Roles, pixels_of
from experiments.components import Components
from experiments.making import Options
from experiments.monitor import Monitor
from experiments.summary import SUMMARY
from slicing.adaptive.measuring import member_costs
from slicing.adaptive.members import Members, shift_members
from slicing.adaptive.table import Costs, Table
from slicing.data.dataset import Dataset, Images
from slicing.engine.engine import Engine
from slicing.errors import InputError
from slicing.pixels import unit_pixels
from slicing.stack import Conv, ConvStack

# Share of the images held out that may be as near to a reference as if they were it.
_COPIES = 0.05
_SAME = (
    "make it with the same data options, data.seed and data.calibration_fraction among them, or "
    "let members=front make members."
)


class Named(NamedTuple):
    """An engine, what tables call it, and its file, if it comes from one."""

    name: str
    engine: Engine
    path: Path | None = None


def given_engines(options: Options) -> list[Named]:
    """Read the engines that the options name: none where they are to be made.

    Raises
    ------
    InputError
        Also for options with which none can be made.
    """
    members = options["members"]
    if isinstance(members, list):
        paths = [Path(str(each)).expanduser() for each in members]
        found = [Named(_named(path), Engine.load(path), path) for path in paths]
        if options["selector"]["name"] == "shifts":
            shift_members(found[-1].engine)
        return found
    if members not in ("front", "nested"):
        raise InputError(
            f"members={members} is unknown: give front, nested, or several files in brackets.",
            "members",
        )
    if options["slicing"]["tuning_generations"]:
        raise InputError(
            "slicing.tuning_generations moves prototypes in a run: make such members with "
            "experiments.run, and give their files.",
            "slicing.tuning_generations",
        )
    if options["selector"]["name"] == "shifts" and not options["slicing"]["average"]:
        raise InputError(
            "selector=shifts asks one copy of an image first and then all: give slicing.average=1.",
            "slicing.average",
        )
    filters = options["filters"]
    is_list = isinstance(filters, list) and all(isinstance(each, list) for each in filters)
    if not is_list or not all(type(each) is int for member in filters for each in member):
        raise InputError(f"filters={filters} is no list of members: write [[4],[8,16]].", "filters")
    if members == "nested":
        for before, grown in pairwise(filters):
            if grown[: len(before)] != before or grown == before:
                raise InputError(
                    f"filters={filters} are not nested, of which each begins with the one before: "
                    "write [[8],[8,16],[8,16,64]].",
                    "filters",
                )
    return []


def _named(path: Path) -> str:
    """Name an engine after its file, or after the folder of its run."""
    return path.parent.name if path.stem == "engine" and path.parent.name else path.stem


def made(options: Options, dataset: Dataset[Any], monitor: Monitor) -> list[Named]:
    """Train and slice CNNs of several sizes; nested ones grow on each other."""
    found, below, n_below = list[Named](), None, 0
    for filters in options["filters"]:
        own = {"filters": filters[n_below:], "pooling": [True] * (len(filters) - n_below)}
        components = Components({**options, "baseline": {**options["baseline"], **own}}, {})
        read = components.read(dataset, dataset, monitor)
        name = f"cnn-{'-'.join(map(str, filters))}"
        monitor.say(f"Making the member {name}")
        train, classes = read.dataset.train, read.dataset.classes
        with monitor.task("training"):
            stack = _grown(components, below, train, classes, monitor)
        if options["members"] == "nested":
            below, n_below = stack, len(filters)
        recipe = components.recipe()
        with components.naming("slicing"):
            recipe.check(stack, train)
        engine = recipe.build(stack, train, classes, seed=options["seed"])
        found.append(Named(name, replace(engine, preparation=read.preparation)))
    return found


def _grown(
    components: Components,
    below: ConvStack | None,
    train: Images,
    classes: tuple[str, ...],
    monitor: Monitor,
) -> ConvStack:
    """Train convolutions on the images, or on what the frozen ones below make of them."""
    if below is None:
        return components.make_baseline(train, classes, monitor.show).stack
    maps = below.forward(train.images).reshape(len(train), *below.feature_shape)
    # Baselines take numbers of 0 to 1. By a power of two, kernels are divided without rounding.
    scale = np.float32(2.0 ** np.ceil(np.log2(max(float(maps.max()), 1.0))))
    above = components.make_baseline(
        Images(maps / scale, train.labels), classes, monitor.show
    ).stack  # fmt: skip
    first, *others = above.layers
    assert isinstance(first, Conv)
    first = replace(first, weights=first.weights / scale)
    return ConvStack((*below.layers, first, *others), below.input_shape)


class Asked(NamedTuple):
    """Members in ascending order of cost, and what they answered to the images held out.

    Attributes
    ----------
    names : tuple of str
    members : Members
    select, certify : Table
    left_out : tuple of str
        A sentence for each engine that a cheaper one beats.
    """

    names: tuple[str, ...]
    members: Members
    select: Table
    certify: Table
    left_out: tuple[str, ...]


def ask(options: Options, named: Sequence[Named], roles: Roles, monitor: Monitor) -> Asked:
    """Measure engines, order them, and leave out those that a cheaper one beats.

    Raises
    ------
    InputError
        Where they do not fit each other, the images taught them, or fewer than two are left.
    """
    if options["selector"]["name"] == "shifts":
        last = named[-1]
        one, every = shift_members(last.engine)
        named = [Named(f"{last.name}, one copy", one), Named(f"{last.name}, all copies", every)]
    monitor.say(f"Measuring {len(named)} members")
    _require_taught_by(roles, named, monitor)
    pixels = pixels_of(roles.select, named[0].engine)
    timed = unit_pixels(pixels[: options["timed"]])
    alone = member_costs(Members([each.engine for each in named]), timed).alone
    named = [named[each] for each in np.argsort(alone, kind="stable")]
    alone = np.sort(alone)
    members = Members([each.engine for each in named])
    table = members.table(pixels, roles.select.labels, Costs(alone, alone))
    _require_unseen(named, table)
    kept, left_out = _front_of(named, table)
    if len(kept) < 2:
        raise InputError(
            f"{kept[0].name} is as accurate as every dearer member, and there is nothing to "
            "select: give members of which the dearer are more accurate."
        )
    members = Members([each.engine for each in kept])
    monitor.say(f"Asking {len(kept)} members about the images held out")
    costs = member_costs(members, timed)
    # Measured again, among those that are left; their order stays.
    costs = Costs(np.maximum.accumulate(costs.alone), costs.after)
    return Asked(
        tuple(each.name for each in kept),
        members,
        members.table(pixels, roles.select.labels, costs),
        members.table(pixels_of(roles.certify, kept[0].engine), roles.certify.labels, costs),
        left_out,
    )


def _front_of(named: Sequence[Named], table: Table) -> tuple[list[Named], tuple[str, ...]]:
    """Keep the members that no cheaper one equals in accuracy on the *select* role."""
    kept, left_out, best = list[Named](), [], -1.0
    for each, right in zip(named, table.right, strict=True):
        accuracy = float(right.mean())
        if accuracy > best:
            kept.append(each)
            best = accuracy
        else:
            left_out.append(
                f"{each.name} was left out: a cheaper member is right about {best:.2%} of the "
                f"images that choose, and it about {accuracy:.2%}"
            )
    return kept, tuple(left_out)


def _require_unseen(named: Sequence[Named], table: Table) -> None:
    """Refuse members whose references are images that are to choose and to certify."""
    for each, scores in zip(named, table.scores, strict=True):
        typical = float(np.median(scores[np.isfinite(scores)]))
        copies = float((scores.min(axis=1) <= 1e-6 * typical).mean())
        if copies > _COPIES:
            raise InputError(
                f"{copies:.0%} of the images held out taught the member {each.name}: {_SAME}",
                "members",
            )


def _require_taught_by(roles: Roles, named: Sequence[Named], monitor: Monitor) -> None:
    """Refuse members that other images taught, as far as the records of their runs tell."""
    for name, _, path in named:
        if path is None:
            continue
        digest = _taught_by(path)
        if digest is None:
            monitor.say(
                f"Nothing beside {path} says which images taught it: what is certified holds only "
                "if those held out here did not"
            )
        elif digest != roles.train.digest:
            raise InputError(f"Other images taught the member {name}: {_SAME}", "members")


def _taught_by(path: Path) -> str | None:
    """Find the digest of the images that taught an engine, in the summary of its run."""
    try:
        known = json.loads((path.parent / SUMMARY).read_text("utf-8"))
        return str(known["train_digest"]) or None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
