"""Options of the group ``slicing``: they mirror :class:`slicing.engine.Recipe`."""

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Metric(Enum):
    """Distances of the k-NN."""

    euclidean = "euclidean"
    cosine = "cosine"


class Projection(Enum):
    """What the engine makes of the features."""

    none = "none"
    pca = "pca"
    lda = "lda"
    pda = "pda"


class References(Enum):
    """What the engine's references are."""

    all = "all"
    condensed = "condensed"
    prototypes = "prototypes"


class Storage(Enum):
    """Numbers in the engine's file."""

    float32 = "float32"
    int8 = "int8"


@dataclass
class KNN:
    """An exact k-NN instead of the dense layers."""

    k: int = 9
    """Neighbors that vote."""
    metric: Metric | None = None
    """Distance between features. null: euclidean, and cosine on a pretrained network's maps."""
    projection: Projection | None = None
    """What the k-NN sees of the features: linear discriminants (lda), those of a ridge regression
    that is chosen by leaving images out (pda), principal components (pca), or all of them (none).
    null: lda, and pda on a pretrained network's maps."""
    components: int | None = None
    """Numbers that the projection leaves; null: 32, and with lda at most one fewer than
    the classes."""
    cut: Any = "auto"
    """Where a pretrained network is cut: the name of a layer, or several whose maps are put side by
    side, as [one,two]; auto: where the training images tell best. See experiments.cuts."""
    pool: int = 1
    """Height and width to which the maps of a pretrained network are averaged; 1: to one number a
    channel."""
    shift: int | None = None
    """Pixels: a projection is also learned from copies of the training images, shifted by up to
    this many in each direction. The references are not shifted. null: 1, and 0 where the images are
    a pretrained network's maps."""
    average: int = 0
    """Pixels: the k-NN sees the mean features of all copies of an image (a reference or one to be
    classified) that are shifted by up to this many in each direction. At 1 that takes nine times
    the convolutions, but no more kernels or references. The fitness sees single images."""
    references: References = References.all
    """References of the saved engine: all training images, those that the nearest neighbor rule
    needs (condensed), or the centers of k-means (prototypes)."""
    per_class: int = 30
    """Prototypes of each class."""
    tuning_generations: int = 0
    """Generations in which the run's optimizer moves each prototype; 0: they are not moved."""
    storage: Storage = Storage.float32
    """Numbers in the saved engine: float32, or int8, a quarter of the bytes."""
