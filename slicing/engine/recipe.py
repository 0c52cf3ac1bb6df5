"""The options of an engine, their checks, and how it is built."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from slicing.checks import at_least, between, one_of
from slicing.data.dataset import Images
from slicing.engine.engine import Engine, Storage
from slicing.engine.reduction import (
    ProjectionKind,
    check_components,
    check_shift,
    class_centers,
    condense,
    project,
)
from slicing.engine.stored_stack import quantized
from slicing.errors import InputError
from slicing.neighbors.exact import Metric
from slicing.shifts import averaged, largest_shift
from slicing.show import Show, silent
from slicing.stack import ConvStack

References = Literal["all", "condensed", "prototypes"]

Tune = Callable[
    [
        NDArray[np.float32],
        NDArray[np.int64],
        NDArray[np.float32],
        NDArray[np.int64],
        Show,
    ],
    NDArray[np.float32],
]
"""A function that moves prototypes. It takes their features (n_prototypes, n_features) and labels,
the features (n, n_features) and labels of the training images, and a :data:`~slicing.show.Show`. It
gives features of the same shape."""

# Part that is done when the projection is learned, if references are made after it, and when the
# prototypes are placed.
_PROJECTED, _PLACED = 0.2, 0.3


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The options of an engine.

    Each step rounds at once, so that later steps compensate for it.

    Parameters
    ----------
    k : int, default=9
        Neighbors that vote.
    metric : {"euclidean", "cosine"}, default="euclidean"
    projection : {"none", "pca", "lda", "pda"}, default="lda"
        What the k-NN sees of the features: all, principal components or discriminants, see
        :func:`~slicing.engine.reduction.project`.
    components : int, optional
        Number of features after the projection; by default 32, or fewer where there are not so
        many.
    shift : int, default=1
        The projection is learned from copies of the training images, too, shifted by up to so many
        pixels in each direction. The references are not shifted.
    average : int, default=0
        An image's features are averaged over copies that are shifted by up to so many pixels, see
        :func:`~slicing.shifts.averaged`.
    references : {"all", "condensed", "prototypes"}, default="all"
        All training images, those that the nearest neighbor rule needs, or the centers of k-means.
    per_class : int, default=30
        Prototypes of each class.
    storage : {"float32", "int8"}, default="float32"
        Type of the numbers in the engine's file.
    """

    k: int = 9
    metric: Metric = "euclidean"
    projection: Literal["none"] | ProjectionKind = "lda"
    components: int | None = None
    shift: int = 1
    average: int = 0
    references: References = "all"
    per_class: int = 30
    storage: Storage = "float32"

    def check(self, stack: ConvStack, train: Images) -> int:
        """Refuse, before anything is computed, what :meth:`build` cannot make.

        Parameters
        ----------
        stack : ConvStack
        train : Images

        Returns
        -------
        int
            Number of features that the k-NN will see.

        Raises
        ------
        InputError
            Its ``option`` is the name of a parameter.
        """
        one_of("metric", self.metric, get_args(Metric))
        one_of("projection", self.projection, ("none", *get_args(ProjectionKind)))
        one_of("references", self.references, get_args(References))
        one_of("storage", self.storage, get_args(Storage))
        farthest = largest_shift(stack.input_shape)
        n_features = int(np.prod(stack.feature_shape))
        if self.projection == "none":
            if self.components is not None:
                raise InputError(
                    f"components={self.components} belongs to a projection: choose one, or leave "
                    "it out.",
                    "components",
                )
        else:
            n_features = check_components(
                self.projection,
                self.components,
                (len(train), n_features),
                len(np.unique(train.labels)),
            )
            check_shift(self.projection, self.shift, stack)
        between("average", self.average, 0, farthest, "pixels")
        at_least("per_class", self.per_class, 1)
        n_references = len(train)
        if self.references == "prototypes":
            n_references = int(np.minimum(np.bincount(train.labels), self.per_class).sum())
        between("k", self.k, 1, n_references, "references")
        return n_features

    def _check_tune(self, tune: Tune | None) -> None:
        if tune is not None and self.references != "prototypes":
            raise InputError(
                f"references={self.references} cannot be tuned: choose prototypes.", "references"
            )

    def describe(self, is_tuned: bool = False) -> str:
        """Name what makes the engine smaller than with all references in float32; "" if nothing.

        Parameters
        ----------
        is_tuned : bool
            Whether :meth:`build` tunes the prototypes.
        """
        parts = []
        if self.references == "condensed":
            parts.append("condensed")
        if self.references == "prototypes":
            parts.append(f"{self.per_class} prototypes a class{', tuned' if is_tuned else ''}")
        if self.storage != "float32":
            parts.append(self.storage)
        return ", ".join(parts)

    def with_all_references(self) -> "Recipe":
        """Give the same with all references, in float32."""
        return replace(self, references="all", storage="float32")

    def build(
        self,
        stack: ConvStack,
        train: Images,
        classes: tuple[str, ...],
        *,
        seed: int = 0,
        tune: Tune | None = None,
        show: Show = silent,
    ) -> Engine:
        """Make the engine.

        Parameters
        ----------
        stack : ConvStack
        train : Images
            The training images, of which the references are made.
        classes : tuple of str
            Names of the classes, in label order.
        seed : int, default=0
            Seeds the choice of the references.
        tune : callable, optional
            Moves the prototypes, see :data:`Tune`.
        show : callable, optional
            Is told the part that is done, 0 to 1, and what is being done.

        Raises
        ------
        InputError
            As :meth:`check`, and where ``tune`` has no prototypes to move.
        """
        self._check_tune(tune)
        self.check(stack, train)
        stack, features = self.extract(stack, train, show)
        return self.place(stack, features, train.labels, classes, seed=seed, tune=tune, show=show)

    def extract(
        self, stack: ConvStack, train: Images, show: Show = silent
    ) -> tuple[ConvStack, NDArray[np.float32]]:
        """Do the first half of :meth:`build`: round the kernels, learn the projection, average.

        Returns
        -------
        stack : ConvStack
            That of the engine.
        features : ndarray of shape (n, n_features), float32
            Those of the training images.
        """
        is_int8 = self.storage == "int8"
        if is_int8:
            stack = quantized(stack)
        end = 1.0 if self.references == "all" else _PROJECTED
        # Both go through as many copies of the images, by default.
        projected = end / 2 if self.average else end
        if self.projection != "none":
            text = f"learning the projection, {self.projection}"
            stack = project(
                stack,
                train,
                self.projection,
                self.components,
                self.shift,
                lambda done: show(projected * done, text),
            )
            if is_int8:
                stack = quantized(stack)

        def show_copies(done: float) -> None:
            show(projected + (end - projected) * done, "averaging shifted copies")

        return stack, averaged(stack, train.images, self.average, show_copies)

    def place(
        self,
        stack: ConvStack,
        features: NDArray[np.float32],
        labels: NDArray[np.int64],
        classes: tuple[str, ...],
        *,
        seed: int = 0,
        tune: Tune | None = None,
        show: Show = silent,
    ) -> Engine:
        """Do the second half of :meth:`build`: make the references.

        Parameters
        ----------
        stack, features
            What :meth:`extract` gave.
        labels : ndarray of shape (n,), int64
            Those of the training images.
        classes, seed, tune, show
            As for :meth:`build`.
        """
        self._check_tune(tune)
        references, of_class = features, labels
        if self.references == "condensed":
            show(_PROJECTED, f"condensing {len(features):,} references")
            chosen = condense(features, labels, self.metric, seed, self.k)
            references, of_class = features[chosen], labels[chosen]
        elif self.references == "prototypes":
            show(_PROJECTED, "placing the prototypes")
            references, of_class = class_centers(features, labels, self.per_class, seed)
        if tune is not None:
            references = tune(
                references,
                of_class,
                features,
                labels,
                lambda done, text: show(_PLACED + (1.0 - _PLACED) * done, text),
            )
        return Engine.of(
            stack, references, of_class, classes, self.k, self.metric, self.storage, self.average
        )
