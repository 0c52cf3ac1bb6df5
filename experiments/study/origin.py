"""How a study was started, and how one goes on: the file ``study.json`` in its folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import optuna

from experiments.json_values import plain_values
from experiments.mlflow_run import leaves
from experiments.secrets import HIDDEN
from experiments.study.budget import Clock
from slicing.errors import InputError
from slicing.files import replacing

ORIGIN = "study.json"

# What may change where a study goes on: none of it changes what a trial is worth.
_FREE = (
    *("budget.", "executor.", "tracking.", "limits.trial_", "data.directory"),
    *("data.test_directory", "threads", "max_gigabytes", "output", "resume"),
)


# Of a study that several machines share, what the storage knows, and under which name.
_OF_ALL, _SHARED = ("options", "families", "images"), "origin"

_OTHER = "begin another study, in another folder,"


@dataclass(frozen=True)
class StudyOrigin:
    """How a study was started.

    Attributes
    ----------
    overrides : tuple of str
        Its command line. Passwords are masked, here and in the options.
    options : dict
        Its resolved configuration.
    families : dict
        What it searches, by the names of the families.
    images : str
        Digest of its training images.
    granted : float or None
        Seconds that it may use in all; None: any.
    seconds : float
        That it has used so far.
    mlflow_run : str
        Empty before there is one.
    remade : dict
        Of the winner that was made again last: ``trial``, ``right`` and ``total``, see
        :class:`~experiments.study.ending.Remaking`.
    """

    overrides: tuple[str, ...]
    options: dict[str, Any]
    families: dict[str, Any]
    images: str
    granted: float | None = None
    seconds: float = 0.0
    mlflow_run: str = ""
    remade: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "StudyOrigin":
        """Read it.

        Raises
        ------
        InputError
            Where the folder is not that of a study, or the file cannot be read.
        """
        path = folder / ORIGIN
        try:
            values = json.loads(path.read_text("utf-8"))
            granted = values["granted"]
            return cls(
                tuple(map(str, values["overrides"])),
                dict(values["options"]),
                dict(values["families"]),
                str(values["images"]),
                None if granted is None else float(granted),
                float(values["seconds"]),
                str(values["mlflow_run"]),
                {str(name): int(each) for name, each in values["remade"].items()},
            )
        except (
            OSError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"resume={folder} cannot go on: {ORIGIN} is missing or damaged there ({reason}). "
                "Give the folder of a study, or begin another one."
            ) from error

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        with replacing(folder / ORIGIN, durable=True) as file:
            file.write((json.dumps(plain_values(asdict(self)), indent=1) + "\n").encode())

    def check(self, now: "StudyOrigin") -> None:
        """Refuse to go on with what changes the worth of a trial: options, families or images.

        Raises
        ------
        InputError
            Naming the first difference.
        """
        old, new = leaves(self.options), leaves(plain_values(now.options))
        for name in dict.fromkeys([*old, *new]):
            if not name.startswith(_FREE) and old.get(name) != new.get(name):
                raise InputError(
                    f"{name} was {old.get(name)} when the study began and is {new.get(name)} "
                    f"now: {_OTHER} for another value."
                )
        families = plain_values(now.families)
        for name in dict.fromkeys([*self.families, *families]):
            if self.families.get(name) != families.get(name):
                raise InputError(
                    f"The family {name} differs from that with which the study began, or what it "
                    f"needs is installed only now, or no more: {_OTHER} for it."
                )
        if now.images != self.images:
            raise InputError(
                f"The images differ from those with which the study began: {_OTHER} for others."
            )

    def going_on(self, now: "StudyOrigin", more: bool) -> "StudyOrigin":
        """Go on with a study.

        Parameters
        ----------
        now : StudyOrigin
            How it would begin now.
        more : bool
            Whether its budget is given from now on, and not what is left of the earlier.

        Raises
        ------
        InputError
            See :meth:`check`.
        """
        self.check(now)
        granted = self.granted
        if more:
            granted = None if now.granted is None else self.seconds + now.granted
        return replace(
            now, granted=granted, seconds=self.seconds, mlflow_run=self.mlflow_run,
            remade=self.remade,
        )  # fmt: skip

    def join(self, kept: optuna.Study) -> None:
        """Write it to a storage, or check that what is there is the same study.

        Raises
        ------
        InputError
        """
        known = kept.user_attrs.get(_SHARED)
        if known is None:
            values = plain_values(asdict(self))
            kept.set_user_attr(_SHARED, {name: values[name] for name in _OF_ALL})
        else:
            StudyOrigin((), **known).check(self)


class Notes:
    """Keeps the file up to date while a study goes on, from any thread.

    Parameters
    ----------
    origin : StudyOrigin
    folder : Path
        Of the study.
    clock : Clock
        Of this session.
    """

    def __init__(self, origin: StudyOrigin, folder: Path, clock: Clock) -> None:
        self.origin = origin
        self._folder, self._clock, self._before = folder, clock, origin.seconds
        # MLflow begins beside the search.
        self._lock = Lock()

    def write(self, **changes: Any) -> None:
        """Write down how far the study is, and what else has changed."""
        with self._lock:
            seconds = self._before + self._clock.passed
            self.origin = replace(self.origin, seconds=seconds, **changes)
            self.origin.write(self._folder)


def resumed(overrides: Sequence[str]) -> list[str]:
    """Put the command line of a study that goes on before what is given now.

    A budget that is given now takes the place of the earlier one, whatever that was.

    Raises
    ------
    InputError
    """
    folders = [word.partition("=")[2] for word in overrides if word.startswith("resume=")]
    if not folders:
        return list(overrides)
    earlier = StudyOrigin.read(Path(folders[-1].strip("'\"")).expanduser()).overrides
    names = {_name(each) for each in overrides}
    if "executor" in names:
        names |= {_name(each) for each in earlier if each.startswith("executor.")}
    if has_budget(overrides):
        names |= {name for each in earlier if (name := _name(each)).startswith("budget")}
    kept = [each for each in earlier if _name(each) not in names]
    for each in kept:
        if HIDDEN in each:
            raise InputError(
                f"{_name(each)} has a password, which is written nowhere: give it again, "
                f"{_name(each)}=..."
            )
    return [*kept, *overrides]


def has_budget(overrides: Sequence[str]) -> bool:
    """Say whether a command line gives a budget."""
    return any(_name(each).startswith("budget") for each in overrides)


def _name(override: str) -> str:
    return override.partition("=")[0].lstrip("+")
