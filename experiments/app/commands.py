"""What a job does: a command line of this package, made of the options that somebody chose."""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from experiments.export import Format
from experiments.overrides import check
from experiments.programs import ADAPTIVE, INSPECT, STUDY, Program
from experiments.schema.run import plain
from experiments.words import quoted
from slicing.errors import InputError

Options = Mapping[str, Any]
"""Values by the names of options: numbers, words, or lists of these."""

_DATA = (
    *("data.train_size", "data.test_size", "data.test_fraction", "data.image_size"),
    *("data.channels", "data.fit", "data.calibration_fraction", "data.duplicate_radius"),
    "data.seed",
)


@dataclass(frozen=True)
class Kind:
    """A kind of job.

    Attributes
    ----------
    program : Program
        The command line that it starts.
    options : tuple of str
        Options that somebody may choose; none of them names a file, an address or code.
    result : str
        The file in its run folder that is there when it has come to its end.
    report : str
        The page that it writes.
    later : tuple of str
        Options that may be given where it goes on; empty: it begins again.
    """

    program: Program
    options: tuple[str, ...]
    result: str
    report: str
    later: tuple[str, ...] = ()


_BUDGET = ("budget.minutes", "budget.trials", "budget.target_accuracy")
KINDS: dict[str, Kind] = {
    "study": Kind(
        STUDY,
        (
            *_BUDGET,
            *("budget.money", "budget.price_per_hour", "space", "sampler", "population", "pruner"),
            *("objectives", "limits.bytes", "limits.parameters", "limits.milliseconds"),
            *("limits.trial_minutes", "limits.trial_gigabytes", "choice_fraction", "folds"),
            *("seed", "threads", *_DATA),
        ),
        "summary.json",
        "report.html",
        _BUDGET,
    ),
    "inspect": Kind(
        INSPECT, ("baseline", "seed", "threads", *_DATA), "inspect.json", "inspect.html"
    ),
    "adaptive": Kind(
        ADAPTIVE,
        (
            *("selector", "filters", "loss", "confidence", "certify_fraction", "folds", "seed"),
            *("threads", *_DATA),
        ),
        "summary.json",
        "report.html",
    ),
}
"""The kinds of jobs, by their names."""

# A look at the images names those that cannot be read: they stop nobody else's.
_DAMAGED = "data.max_unreadable=1000000"
# Of the environment, what is the server's business alone.
_SECRETS = ("APP_TOKEN", "SMTP_")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]*")
# Hydra keeps what it composes in one place.
_CHECKING = Lock()


def kind_of(name: str) -> Kind:
    """Give a kind of job.

    Raises
    ------
    InputError
    """
    if name not in KINDS:
        raise InputError(f"kind={name} is unknown: give one of {', '.join(KINDS)}.", "kind")
    return KINDS[name]


def words_of(kind: Kind, options: Options, data: Path, always: Sequence[str] = ()) -> list[str]:
    """Write options as the words of a command line, and check them; this takes a second.

    Parameters
    ----------
    kind : Kind
    options : mapping of str to object
    data : Path
        The images.
    always : sequence of str
        Words that the server adds when the job starts: they are checked, and not given.

    Raises
    ------
    InputError
        For the first mistake, with its option.
    """
    words = [
        "data=folder",
        f"data.directory={quoted(data)}",
        _DAMAGED,
        *always,
        *_written(options, kind.options),
    ]
    with _CHECKING:
        try:
            [config] = check(words, program=kind.program)
            if kind.program is STUDY:
                # Here, not above: a server starts without it.
                from experiments.study.plan import Plan

                Plan.of(plain(config))
        except InputError as error:
            raise InputError(str(error), error.option or _named(str(error), options)) from error
    return [word for word in words if word not in always]


def later_words(kind: Kind, options: Options, run: Path) -> list[str]:
    """Write the words of a command line that goes on with a run folder, and check them.

    Raises
    ------
    InputError
        For an option that may not change, and for the first mistake.
    """
    own = _written(options, kind.later)
    with _CHECKING:
        try:
            check(own, complete=False, program=kind.program)
        except InputError as error:
            raise InputError(str(error), error.option or _named(str(error), options)) from error
    return [f"resume={quoted(run)}", *own]


def argv_of(kind: Kind, words: Iterable[str]) -> list[str]:
    """Give the command line, for this Python."""
    return [sys.executable, "-m", kind.program.module, *words]


def argv_of_export(engine: Path, form: str, folder: Path) -> tuple[list[str], Path]:
    """Give the command line that converts an engine, and the file that it then writes."""
    made = folder / f"{engine.stem}{Format[form].value}"
    words = [f"engine={quoted(engine)}", f"format={form}", f"output={quoted(made)}"]
    return [sys.executable, "-m", "experiments.export", *words], made


def environment() -> dict[str, str]:
    """Give the environment of a command line: without what is the server's business alone."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)}


def _written(options: Options, known: tuple[str, ...]) -> list[str]:
    if unknown := [name for name in options if name not in known]:
        raise InputError(
            f"{unknown[0]} is no option of this job: give one of {', '.join(known) or 'none'}.",
            unknown[0],
        )
    return [f"{name}={_literal(name, value)}" for name, value in options.items()]


def _literal(name: str, value: Any) -> str:
    """Write a value as Hydra reads it; nothing in it is more than a value."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case str() if _WORD.fullmatch(value):
            return value
        case list():
            return f"[{','.join(_literal(name, each) for each in value)}]"
    raise InputError(f"{name}={value} is neither a number nor a word: correct it.", name)


def _named(sentence: str, options: Options) -> str | None:
    """Find the option that a sentence is about, where it does not say so."""
    return next((name for name in options if name in sentence), None)
