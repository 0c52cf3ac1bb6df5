"""The configuration of a look at the images of a dataset."""

from dataclasses import dataclass

from omegaconf import MISSING

from experiments.schema.baseline import Baseline
from experiments.schema.data import Data
from experiments.schema.run import register


@dataclass
class Inspection:
    """Look at the images of a dataset: copies, labels that are probably wrong, damaged files."""

    data: Data = MISSING
    """The images."""
    baseline: Baseline | None = None
    """A network whose features confirm copies and judge labels; null: thumbnails do."""
    output: str | None = None
    """Folder for inspect.html and inspect.json; null: a new one in outputs."""
    seed: int = 0
    """Seed of the parts in which labels are checked."""
    threads: int | None = None
    """Threads that the network computes with; null: one a core."""


register("inspect", Inspection, {})
