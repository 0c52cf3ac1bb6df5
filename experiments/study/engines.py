"""The engines that a study keeps: the best so far, and those that none beats."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from evolve.trials import Finished
from experiments.study.objectives import Objectives
from experiments.study.trial import ENGINE_OF_TRIAL, folder_of

ENGINE = "engine.safetensors"
"""File in the folder of a study: the best engine so far."""


def keep(source: Path, folder: Path) -> None:
    """Put a copy of an engine in the place of the best so far, whole at any time."""
    part = folder / f"{ENGINE}.part"
    shutil.copyfile(source, part)
    part.replace(folder / ENGINE)


def tidy(folder: Path, objectives: Objectives, trials: Sequence[Finished]) -> None:
    """Delete the engines of trials that nobody will want."""
    wanted = {each.number for each in objectives.front(trials)}
    for each in trials:
        if each.number not in wanted:
            (folder_of(folder, each.number) / ENGINE_OF_TRIAL).unlink(missing_ok=True)
