"""How a study was started, and how one goes on: the file ``study.json`` in its folder."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from experiments.json_values import plain_values
from experiments.secrets import HIDDEN
from experiments.tracking import leaves
from slicing.errors import InputError
from slicing.files import replacing

ORIGIN = "study.json"

# What may change where a study goes on: none of it changes what a trial is worth.
_FREE = (
    *("budget.", "executor.", "tracking.", "limits.trial_", "data.directory"),
    *("data.test_directory", "threads", "max_gigabytes", "output", "resume", "name"),
)


@dataclass(frozen=True)
class StudyOrigin:
    """How a study was started.

    Attributes
    ----------
    overrides : tuple of str
        Its command line, without passwords.
    options : dict
        Its resolved configuration.
    images : str
        Digest of its training images.
    seconds : float
        That it has used so far.
    mlflow_run : str
        Empty before there is one.
    """

    overrides: tuple[str, ...]
    options: dict[str, Any]
    images: str
    seconds: float = 0.0
    mlflow_run: str = ""

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
            overrides = tuple(map(str, values["overrides"]))
            return cls(
                overrides,
                dict(values["options"]),
                str(values["images"]),
                float(values["seconds"]),
                str(values["mlflow_run"]),
            )
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise InputError(
                f"resume={folder} cannot go on: {ORIGIN} is missing or damaged there ({reason}). "
                "Give the folder of a study, or begin another one."
            ) from error

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        with replacing(folder / ORIGIN, durable=True) as file:
            file.write((json.dumps(plain_values(asdict(self)), indent=1) + "\n").encode())

    def check(self, options: Mapping[str, Any], images: str) -> None:
        """Refuse to go on with options or images that change what a trial is worth.

        Raises
        ------
        InputError
            Naming the first difference.
        """
        before, now = leaves(self.options), leaves(plain_values(options))
        for name in dict.fromkeys([*before, *now]):
            if not name.startswith(_FREE) and before.get(name) != now.get(name):
                raise InputError(
                    f"{name} was {before.get(name)} when the study began and is {now.get(name)} "
                    "now: begin another study, in another folder, for another value."
                )
        if images != self.images:
            raise InputError(
                "The images differ from those with which the study began: begin another study, in "
                "another folder, for others."
            )


def resumed(overrides: Sequence[str]) -> list[str]:
    """Put the command line of a study that goes on before what is given now.

    Raises
    ------
    InputError
    """
    folders = [word.partition("=")[2] for word in overrides if word.startswith("resume=")]
    if not folders:
        return list(overrides)
    earlier = StudyOrigin.read(Path(folders[-1].strip("'\"")).expanduser()).overrides
    names = {word.partition("=")[0].lstrip("+") for word in overrides}
    if "executor" in names:
        names |= {each.partition("=")[0] for each in earlier if each.startswith("executor.")}
    kept = [each for each in earlier if each.partition("=")[0].lstrip("+") not in names]
    if any(each.startswith("storage=") and HIDDEN in each for each in kept):
        raise InputError(
            "storage was written down without its password: give storage=... with it again.",
            "storage",
        )
    return [*kept, *overrides]
