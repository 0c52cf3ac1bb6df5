"""The engines that a study keeps: the best so far, and those that none beats."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from evolve.trials import Finished
from experiments.study.objectives import Objectives

ENGINE = ENGINE_OF_RUN = "engine.safetensors"
"""File in the folder of a study, the best engine so far; file in the folder of a run."""


def folder_of(root: Path, number: int) -> Path:
    """Give the folder of a trial."""
    return root / "trials" / f"{number:04}"


def engine_name(rung: int) -> str:
    """Give the name of the engine of a rung, of its first fold, in the folder of its trial."""
    return f"engine-{rung}.safetensors"


def engine_of(root: Path, trial: Finished) -> Path:
    """Give the path of the engine of a trial."""
    return folder_of(root, trial.number) / engine_name(trial.rung)


def at_hand(root: Path, trials: Iterable[Finished]) -> list[Finished]:
    """Choose the trials whose engines are in the folder of a study.

    Others were tried by another process, in a folder of its own.
    """
    return [each for each in trials if engine_of(root, each).is_file()]


def keep(source: Path, folder: Path) -> None:
    """Copy an engine to where the best so far is, whole at any time."""
    part = folder / f"{ENGINE}.part"
    shutil.copyfile(source, part)
    part.replace(folder / ENGINE)


def tidy(folder: Path, objectives: Objectives, trials: Iterable[Finished]) -> None:
    """Delete the engines that others beat in everything."""
    own = at_hand(folder, trials)
    wanted = {engine_of(folder, each) for each in objectives.front(own)}
    for each in own:
        for path in folder_of(folder, each.number).glob(engine_name(0).replace("0", "*")):
            if path not in wanted:
                path.unlink(missing_ok=True)
