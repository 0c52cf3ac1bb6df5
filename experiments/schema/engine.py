"""Options of the group ``slicing``: they mirror :class:`slicing.engine.Recipe`."""

from dataclasses import dataclass
from enum import Enum


class Metric(Enum):
    """Distances of the k-NN."""

    euclidean = "euclidean"
    cosine = "cosine"


class Projection(Enum):
    """What the engine makes of the features."""

    none = "none"
    pca = "pca"
    lda = "lda"


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
    metric: Metric = Metric.euclidean
    """Distance between features."""
    projection: Projection = Projection.lda
    """What the k-NN sees of the features: linear discriminants (lda), principal components (pca),
    or all of them (none)."""
    components: int | None = None
    """Numbers that the projection leaves; null: 32, and with lda at most one fewer than
    the classes."""
    shift: int = 1
    """Pixels: a projection is also learned from copies of the training images, shifted by up to
    this many in each direction. The references are not shifted."""
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
