"""The configuration of a search for the place to cut a network."""

from dataclasses import dataclass

from omegaconf import MISSING

from experiments.schema.baseline import Baseline
from experiments.schema.data import Data
from experiments.schema.run import MLflow, register


@dataclass
class Cuts:
    """Find where to cut a pretrained network: what each cut tells of the training images."""

    data: Data = MISSING
    """The images. Those of the test have no part in it."""
    baseline: Baseline = MISSING
    """The network; several, with commas between, are compared."""
    tracking: MLflow = MISSING
    """Where it is recorded."""
    output: str | None = None
    """Folder for cuts.json and cuts.png; null: a new one in outputs."""
    seed: int = 0
    """Seed of a baseline's own random numbers, of which the scores take none."""
    threads: int | None = None
    """Threads to compute with; null: one a core. What an image takes is measured with one."""


register("cuts", Cuts, {})
