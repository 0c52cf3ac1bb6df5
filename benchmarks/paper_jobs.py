"""The plan of the paper's tables: rows, columns, budgets, and their cells."""

import hashlib
import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

from omegaconf import DictConfig

from experiments.overrides import check
from experiments.schema.run import plain

PROGRAM = "python -m experiments.run "
"""What a cell's command begins with; its options follow."""

# Of the options of an experiment.
_CHANGES_NOTHING = ("executor", "tracking", "name", "resume", "max_gigabytes")


@dataclass(frozen=True)
class Row:
    """A network of the tables.

    Attributes
    ----------
    name : str
    part : str
        Which network of the experiment's summary it is: baseline or evolved.
    overrides : tuple of str
        Command-line options that select it.
    """

    name: str
    part: str
    overrides: tuple[str, ...]

    @property
    def protocol(self) -> str:
        """Which images choose its kernels."""
        asked = dict(each.split("=", 1) for each in self.overrides)
        return asked.get("protocol", "leave_one_out")

    @property
    def title(self) -> str:
        """Its name in the tables."""
        return title(self.name, self.protocol)


def title(row: str, protocol: str) -> str:
    """Mark a row whose kernels were chosen by the test images."""
    return row + (" LEAKS" if protocol == "test" else "")


_AS_IT_IS = "strategy.passes=0"
_BATCH_NORM = "baseline.batch_norm=true"
_AVERAGED = "slicing.average=1"
_ALL_FEATURES = ("slicing.projection=none", "fitness=neighbors")
_LEAKS = ("slicing.projection=none", "fitness=accuracy", "protocol=test")
_OPTIMIZERS = (("random", "random search"), ("pso", "PSO"), ("cmaes", "CMA-ES"))


def _rows() -> Iterator[Row]:
    for size, network in (
        ("1.2 M", "baseline=mnist_cnn"),
        ("225 k", "baseline.units=128"),
        ("122 k", "baseline.units=64"),
        ("70 k", "baseline.units=32"),
        ("44.6 k", "baseline.units=16"),
        ("31.7 k", "baseline.units=8"),
    ):
        yield Row(f"CNN, {size}", "baseline", (network, _AS_IT_IS))
    kinds: dict[str, tuple[str, ...]] = {"sliced": (), "all features": _ALL_FEATURES}
    for kind, overrides in kinds.items():
        for what, baseline in (
            ("untrained kernels", ("baseline=random",)),
            ("not evolved", ()),
            ("by gradient", ("baseline=gradient",)),
        ):
            yield Row(f"{kind}, {what}", "evolved", (*baseline, _AS_IT_IS, *overrides))
        for optimizer, what in _OPTIMIZERS:
            yield Row(f"{kind}, {what}", "evolved", (f"optimizer={optimizer}", *overrides))
    for what, asked in (("not evolved", _AS_IT_IS), ("CMA-ES", "optimizer=cmaes")):
        yield Row(f"averaged, {what}", "evolved", (asked, _AVERAGED))
    yield Row("sliced, no backprop, CMA-ES", "evolved", ("baseline=random", "optimizer=cmaes"))
    for optimizer, what in _OPTIMIZERS:
        yield Row(f"all features, {what}", "evolved", (f"optimizer={optimizer}", *_LEAKS))


ROWS = tuple(_rows())

_NOT_EVOLVED, _PLAIN = "sliced, not evolved", "sliced, CMA-ES"
_NOT_EVOLVED_AVERAGED, _EVOLVED_AVERAGED = "averaged, not evolved", "averaged, CMA-ES"
_BASELINES: dict[str, tuple[str, ...]] = {
    "baseline with batch normalization": (_BATCH_NORM,),
    "baseline with thrice the learning rate": ("baseline.learning_rate=0.003",),
    "baseline with five times the learning rate": ("baseline.learning_rate=0.005",),
    "baseline with thrice the learning rate, and dropout": (
        "baseline.learning_rate=0.003", "baseline.dropout=0.5",
    ),
    "baseline tuned by gradient": ("baseline=gradient",),
}  # fmt: skip
_VOTE = "k-NN's smooth vote as fitness"


def _levers() -> Iterator[Row]:
    defaults = (_NOT_EVOLVED, _PLAIN, _NOT_EVOLVED_AVERAGED, _EVOLVED_AVERAGED)
    yield from (row for row in ROWS if row.name in defaults)
    for what, baseline in _BASELINES.items():
        yield Row(f"{_NOT_EVOLVED}: {what}", "evolved", (*baseline, _AS_IT_IS))
    for what, baseline in _BASELINES.items():
        averaged = (*baseline, _AS_IT_IS, _AVERAGED)
        yield Row(f"{_NOT_EVOLVED_AVERAGED}: {what}", "evolved", averaged)
    for what in ("baseline with thrice the learning rate", "baseline tuned by gradient"):
        yield Row(f"{_EVOLVED_AVERAGED}: {what}", "evolved", (*_BASELINES[what], _AVERAGED))
    for what, overrides in (
        (_VOTE, ("fitness=neighbors",)),
        (
            f"{_VOTE}, a third of its temperature",
            ("fitness=neighbors", "fitness.temperature=0.067"),
        ),
        (f"{_VOTE}, thrice its temperature", ("fitness=neighbors", "fitness.temperature=0.6")),
        ("k-NN's accuracy as fitness", ("fitness=accuracy",)),
        ("images that are not shifted", ("fitness.shift=0",)),
        ("images shifted by two pixels", ("fitness.shift=2",)),
        ("discriminants without shifted copies", ("slicing.shift=0",)),
        ("discriminants with copies two pixels away", ("slicing.shift=2",)),
        ("held-out images as queries", ("protocol=validation",)),
        ("cosine", ("slicing.metric=cosine",)),
        ("k = 1", ("slicing.k=1",)),
        ("a third of the step", ("strategy.step=0.33",)),
        ("two passes", ("strategy.passes=2",)),
        ("half the generations, two passes", ("strategy.generations=7", "strategy.passes=2")),
        ("the best candidate handed over", ("strategy.hand_over=best",)),
        ("order of importance", ("strategy.order=importance",)),
        ("parallel", ("strategy=parallel",)),
        ("parallel, synchronized", ("strategy=parallel", "strategy.synchronize=8")),
        ("baseline with batch normalization", (_BATCH_NORM,)),
        ("baseline with dropout", ("baseline.dropout=0.5",)),
        ("VkD-CMA-ES", ("optimizer=vkd_cmaes",)),
        (
            "whole layer at once, diagonal CMA-ES",
            ("optimizer=sep_cmaes", "block=layer", "strategy.max_evaluations=600"),
        ),
        ("first layer", ("block.layers=[1]", "strategy.max_evaluations=600")),
    ):
        yield Row(f"{_PLAIN}: {what}", "evolved", overrides)


LEVERS = tuple(_levers())
"""Changes that might make evolved or initial kernels generalize better."""

PAIRS = (
    (_PLAIN, _NOT_EVOLVED),
    (_PLAIN, "sliced, random search"),
    (_PLAIN, "sliced, PSO"),
    (_PLAIN, "all features, CMA-ES"),
    (_PLAIN, "sliced, by gradient"),
    (_PLAIN, "all features, by gradient"),
    (_PLAIN, "CNN, 1.2 M"),
    (_PLAIN, "CNN, 225 k"),
    (_PLAIN, "CNN, 122 k"),
    (_NOT_EVOLVED_AVERAGED, _NOT_EVOLVED),
    (_EVOLVED_AVERAGED, _PLAIN),
    (_EVOLVED_AVERAGED, _NOT_EVOLVED_AVERAGED),
    (_EVOLVED_AVERAGED, "CNN, 1.2 M"),
    ("sliced, no backprop, CMA-ES", "sliced, untrained kernels"),
    ("all features, CMA-ES", "all features, not evolved"),
    ("all features, CMA-ES", "all features, random search"),
    *((row.name, row.name.partition(":")[0]) for row in LEVERS if ":" in row.name),
    (f"{_PLAIN}: {_VOTE}, a third of its temperature", f"{_PLAIN}: {_VOTE}"),
    (f"{_PLAIN}: {_VOTE}, thrice its temperature", f"{_PLAIN}: {_VOTE}"),
)
"""Rows that are compared image by image."""


@dataclass(frozen=True)
class Column:
    """Images and epochs of the tables.

    Attributes
    ----------
    overrides : tuple of str
        Command-line options that select it.
    less : dict of str to tuple of str
        By the beginning of rows' names, further options that make them faster.
    seeds : dict of str to int
        By the beginning of rows' names, how many seeds they have, where the others have more.
    """

    overrides: tuple[str, ...]
    less: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)

    def options(self, row: Row) -> tuple[str, ...]:
        """Ask for a row's network in this column."""
        asked = [*row.overrides, *self.overrides]
        for name, less in self.less.items():
            asked += less if row.name.startswith(name) else ()
        if "baseline=random" in row.overrides:
            # It is not trained.
            asked = [each for each in asked if not each.startswith("baseline.epochs")]
        return tuple(asked)

    def n_seeds(self, row: Row, most: int) -> int:
        """Give how many seeds a row has, of those of the budget."""
        return min([most, *(n for name, n in self.seeds.items() if row.name.startswith(name))])


@dataclass(frozen=True)
class Budget:
    """Rows, columns and seeds that are computed.

    Attributes
    ----------
    rows : tuple of Row
    columns : dict of str to Column
    seeds : int
        They are 0, 1, ...; some rows of a column have fewer.
    """

    rows: tuple[Row, ...]
    columns: dict[str, Column]
    seeds: int


# What a baseline learns depends on the threads. One leaves a second core to another column.
_ONE_THREAD = ("threads=1",)
_SMALL = ("+experiment=paper_4000_1000", *_ONE_THREAD)
_LARGE = ("+experiment=paper_60000_10000", *_ONE_THREAD)
# On all features, particles, which go far, need more of the exact search, and 60,000 references do.
_FEWER = ("strategy.generations=4",)
_FEW_KERNELS = ("strategy.generations=4", "strategy.max_evaluations=648")
_ALL_EVOLVED = tuple(f"all features, {what}" for _, what in _OPTIMIZERS)
# The CNN's figure does not depend on the engine behind it: one that is quick to make.
_CNN: dict[str, tuple[str, ...]] = {"CNN": _ALL_FEATURES}
_SMALL_LESS = _CNN | {"all features, PSO": _FEWER}
_LARGE_LESS: dict[str, tuple[str, ...]] = dict.fromkeys(_ALL_EVOLVED, _FEW_KERNELS)
_LARGE_LESS |= {"CNN": ("slicing.shift=0",)}
# For the budgets to end within days, what takes long has fewer seeds, or none.
_SMALL_SEEDS = dict.fromkeys(_ALL_EVOLVED, 2)
_LARGE_SEEDS = dict.fromkeys(("CNN", "all features", "sliced, by", "sliced, random"), 2)
_LARGE_SEEDS |= dict.fromkeys(_ALL_EVOLVED, 1)
_LEVERS_SEEDS = {
    f"{_NOT_EVOLVED}: {what}": 1
    for what, overrides in _BASELINES.items()
    if _BATCH_NORM not in overrides
}
_LEVERS_SEEDS |= {_NOT_EVOLVED_AVERAGED: 1, _EVOLVED_AVERAGED: 1, _PLAIN: 0}
BUDGETS = {
    "full": Budget(
        ROWS,
        {
            "4000/1000, 5 epochs": Column(_SMALL, _SMALL_LESS, _SMALL_SEEDS),
            "60000/10000, 5 epochs": Column(_LARGE, _LARGE_LESS, _LARGE_SEEDS),
            "4000/1000, 20 epochs": Column(
                (*_SMALL, "baseline.epochs=20"), _SMALL_LESS, _SMALL_SEEDS
            ),
        },
        seeds=5,
    ),
    # All that the full one does, on images that need no download.
    "quick": Budget(
        ROWS,
        {
            "300/1000, 1 epoch": Column(
                (
                    "data.train_size=300", "baseline.filters=[2,3]", "baseline.epochs=1",
                    "strategy.generations=1", *_ONE_THREAD,
                ),
                _CNN,
            ),
        },
        seeds=1,
    ),
    # What makes evolved kernels generalize: not for the test images to say.
    "levers": Budget(
        LEVERS,
        {
            "4000 images, 5 epochs, held out": Column(
                (*_SMALL, "data=mnist_held_out"), seeds={"": 1}
            ),
            "50000 images, 5 epochs, held out": Column(
                (*_LARGE, "data=mnist_held_out", "data.train_size=50000"),
                seeds=_LEVERS_SEEDS,
            ),
        },
        seeds=5,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A cell that is to be computed.

    Attributes
    ----------
    row : Row
    column : str
    options : tuple of str
        Those of the row and the column.
    seed : int
    """

    row: Row
    column: str
    options: tuple[str, ...]
    seed: int

    @property
    def command(self) -> str:
        """What runs it alone."""
        return PROGRAM + shlex.join([*self.options, f"seed={self.seed}"])

    @property
    def title(self) -> str:
        """The same in words."""
        return f"{self.row.title}, {self.column}, seed {self.seed}"

    @property
    def place_on_disk(self) -> str:
        """Name its folder, which processes that compute different columns do not share."""
        return re.sub(r"\W+", "-", self.column) + "-" + self.digest

    @cached_property
    def config(self) -> DictConfig:
        """All its options."""
        config = _composed(self.options).copy()
        config.seed = self.seed
        return config

    @cached_property
    def digest(self) -> str:
        """Of all options that change a result: another default, or another option, changes it.

        It knows nothing of the code. Where that changes a result, its cells are to be removed.
        """
        options = {k: v for k, v in plain(self.config).items() if k not in _CHANGES_NOTHING}
        text = json.dumps(options, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _composed(options: tuple[str, ...]) -> DictConfig:
    """Compose once for all seeds: it takes a quarter of a second."""
    return check(options)[0]


def jobs(
    budget: Budget, rows: Sequence[Row], columns: Sequence[str], seeds: int | None = None
) -> list[Job]:
    """Give the cells, seed by seed, so that what an interruption leaves compares.

    Parameters
    ----------
    budget : Budget
    rows : sequence of Row
    columns : sequence of str
    seeds : int or None, default=None
        How many of every row; None is as many as the budget says.
    """
    return [
        Job(row, column, budget.columns[column].options(row), seed)
        for seed in range(budget.seeds if seeds is None else seeds)
        for column in columns
        for row in rows
        if seeds is not None or seed < budget.columns[column].n_seeds(row, budget.seeds)
    ]
