"""The configuration of an adaptive system."""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from experiments.schema.baseline import Baseline
from experiments.schema.data import Data
from experiments.schema.engine import KNN
from experiments.schema.run import MLflow, register


@dataclass
class Selector:
    """What selects members."""

    name: str = MISSING
    """Its name."""


SELECTORS: dict[str, type] = dict.fromkeys(
    (
        *("deferral", "cascade", "premodel", "premodel_tree", "premodel_svm"),
        *("premodel_activations", "random", "fixed", "shifts"),
    ),
    Selector,
)
"""The options of the group ``selector``; the first is the default."""


@dataclass
class Adaptive:
    """Make several engines one classifier that spends on each image what it needs."""

    data: Data = MISSING
    """The images. Those that data.calibration_fraction holds out choose and certify."""
    baseline: Baseline = MISSING
    """The CNN of members that are made here."""
    slicing: KNN = MISSING
    """The k-NN of members that are made here."""
    selector: Selector = MISSING
    """What selects the members that are asked, in the file of the system."""
    tracking: MLflow = MISSING
    """Where it is recorded."""
    members: Any = "front"
    """The engines: files of runs with the same data options, as [a.safetensors,b.safetensors]; or
    made here, one for each of filters. front: each by itself; nested: each grows on the frozen
    convolutions of the one before."""
    filters: Any = field(default_factory=lambda: [[4], [16, 32], [64, 128]])
    """Kernels of each convolution, for each member that is made here."""
    loss: float = 0.02
    """Accuracy that may be lost against the largest member, 0 to 1: the system's file answers at
    the fastest point that is certified for it."""
    confidence: float = 0.95
    """Of the bounds of that loss."""
    certify_fraction: float = 0.5
    """Share of the images held out that certify; the others choose."""
    folds: int = 10
    """Folds of the cross-validation of the premodels."""
    timed: int = 50
    """Images with which times are measured, one at a time."""
    output: str | None = None
    """Folder for all that is made; null: a new one in outputs."""
    seed: int = 0
    """Seed of the members, and of which of the images held out choose and which certify; data.seed
    says which are held out."""
    threads: int | None = None
    """Threads to train with; null: one a core. Times are measured with one."""
    max_gigabytes: float | None = None
    """As for a run."""


register("adaptive", Adaptive, {"selector": SELECTORS})
