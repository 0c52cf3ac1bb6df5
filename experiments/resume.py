"""Resume a run that has not ended."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evolve.checkpoint import Checkpoint
from evolve.protocols import Split
from evolve.schedule_state import STATE
from experiments.mlflow_run import leaves
from experiments.secrets import masked_values
from slicing.data.dataset import Dataset
from slicing.errors import InputError

# Options, and groups, that may change when a run is resumed: they change no result. What a path
# leads to is checked by itself: images by their digest, kernels by that in the schedule's state.
_PATHS = ("data.directory", "data.test_directory", "baseline.path", "baseline.cache_dir")
_FREE, _FREE_GROUPS = ("name", "max_gigabytes", *_PATHS), ("executor.", "tracking.")

NAME = "run"
"""Name of a run's origin in its checkpoint."""


@dataclass(frozen=True)
class RunOrigin:
    """How a run was started.

    Attributes
    ----------
    overrides : tuple of str
        Its command line, without passwords.
    options : dict
        Its resolved configuration.
    mlflow_run : str
    images : str
        Digest of its images, see :func:`digest_of`.
    """

    overrides: tuple[str, ...]
    options: dict[str, Any]
    mlflow_run: str
    images: str

    def save(self, checkpoint: Checkpoint) -> None:
        """Put it into the run's checkpoint: twice, so that there is one where one is damaged."""
        for _ in range(2):
            checkpoint.save(NAME, {**asdict(self), "options": _as_json(self.options)}, durable=True)

    def check_options(self, options: dict[str, Any]) -> None:
        """Refuse to resume with options that change the result.

        Raises
        ------
        InputError
            Naming the first difference.
        """
        before, now = leaves(_as_json(self.options)), leaves(_as_json(options))
        # Options outside of groups first: those of groups may follow from them, as from the seed.
        for name in sorted(dict.fromkeys([*before, *now]), key=lambda name: "." in name):
            free = name in _FREE or name.startswith(_FREE_GROUPS)
            if not free and before.get(name) != now.get(name):
                raise InputError(
                    f"{name} was {before.get(name)} when the run began and is {now.get(name)} now: "
                    "begin another run, in another folder, for another value."
                )

    def check_images(self, images: str) -> None:
        """Refuse to resume with other images, of which the digest is given.

        Raises
        ------
        InputError
        """
        if images != self.images:
            raise InputError(
                "The images differ from those with which the run began: begin another run, in "
                "another folder, for others."
            )


def digest_of(dataset: Dataset[Any], split: Split) -> str:
    """Give the SHA-256 of all images that a run depends on until its evolution has ended.

    Test images are none of them, but under a protocol that leaks.
    """
    parts = (dataset.train, dataset.calibration, split.queries)
    digests = [None if part is None else part.digest for part in parts]
    return hashlib.sha256(repr(digests).encode()).hexdigest()


def checkpoint_of(folder: Path) -> Checkpoint:
    """Find the states of a run that has not ended."""
    return Checkpoint(folder / "checkpoint")


def has_begun(folder: Path) -> bool:
    """Whether there is a run that has not ended, perhaps one that cannot be resumed."""
    return checkpoint_of(folder).has(NAME) or has_evolved(folder)


def has_evolved(folder: Path) -> bool:
    """Whether there is more to resume than the start."""
    return checkpoint_of(folder).has(STATE)


def load(folder: Path) -> RunOrigin:
    """Read the origin of a run that has not ended.

    It comes from a file, so anyone may have written it.

    Raises
    ------
    InputError
        Where there is no such run, or its origin cannot be read.
    """
    checkpoint = checkpoint_of(folder)
    state = checkpoint.load(NAME)
    if state is not None:
        with checkpoint.understood(NAME):
            return RunOrigin(
                state.texts("overrides"),
                state.get("options", dict),
                state.get("mlflow_run", str),
                state.get("images", str),
            )
    if has_begun(folder):
        raise InputError(
            f"The run in {folder} cannot be resumed: {checkpoint.folder / NAME}.state, which says "
            "how it was started, is missing, damaged or of another version. Start a new run in "
            "another folder."
        )
    if (folder / "summary.md").exists():
        raise InputError(
            f"The run in {folder} has ended: its results are in {folder / 'summary.md'}."
        )
    raise InputError(
        f"There is nothing to resume in {folder}: give the folder that a run named at its "
        "start, such as outputs/<date>/<time>, or start a new run."
    )


def _as_json(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give options as they are after they have been written to a file and read, no passwords."""
    values: dict[str, Any] = masked_values(json.loads(json.dumps(options, default=str)))
    return values
