"""Classifiers that learn no features, to compare with: those of scikit-learn."""

import time
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
from numpy.typing import NDArray

from slicing.backbones.maps import Maps
from slicing.backbones.network import Network
from slicing.baselines.base import Adapted, Baseline, BaselineBuilder, check_labels
from slicing.baselines.extraction import Extractor, FeatureKind
from slicing.baselines.hog import check_cells
from slicing.baselines.pretrained import Pretrained
from slicing.checks import at_least, between, check_seed, one_of, positive
from slicing.data.dataset import Images, Part
from slicing.data.preparation import Preparation
from slicing.errors import InputError
from slicing.show import Show, silent
from slicing.stack import ConvStack, Shape
from slicing.threads import single_threaded_blas

# Steps after which a logistic regression ends.
_STEPS = 1000


@dataclass(frozen=True, kw_only=True)
class Shallow(BaselineBuilder):
    """A classifier of scikit-learn on features that are not learned.

    The baseline has no convolutions: its stack gives the pixels, or the maps.

    Parameters
    ----------
    features : {"pixels", "hog", "maps"}, default="pixels"
        The pixels as they are, :func:`~slicing.baselines.hog.hog`, or the maps of a frozen network,
        which :meth:`build` is given in place of images: see
        :func:`~slicing.backbones.maps.through`.
    cells : int, default=7
        Cells of these histograms along the shorter side of an image.
    name, image_size, path, pixels
        Of the network, see :class:`~slicing.baselines.pretrained.Pretrained`.
    threads : int or None, default=None
        Threads to make the network with, and to train a forest with, which change no result;
        None: one a core.
    """

    features: FeatureKind = "pixels"
    cells: int = 7
    name: str = "efficientnet_lite0"
    image_size: Sequence[int] | None = None
    path: str | Path | None = None
    pixels: Sequence[float] = (0.0, 1.0)
    threads: int | None = None

    is_trained: ClassVar[bool] = True
    uses_tensorflow: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.is_frozen:
            # It looks at the file, if there is one.
            _ = self._pretrained
            return
        if self.image_size is not None:
            raise InputError(
                f"image_size={[*self.image_size]} is for features=maps: give both. Pixels and "
                "histograms are those of the size in which the images are read.",
                "image_size",
            )
        for option in ("name", "path"):
            if (value := getattr(self, option)) != getattr(Shallow, option):
                raise InputError(f"{option}={value} is for features=maps: give both.", option)
        if tuple(self.pixels) != Shallow.pixels:
            words = f"pixels={[*self.pixels]} is for features=maps and path=...: give both."
            raise InputError(words, "pixels")

    @property
    def is_frozen(self) -> bool:
        """Whether it sees the maps of a network."""
        return self.features == "maps"

    @property
    def variant(self) -> str:
        """The features, where they are not the pixels; of maps, whose they are."""
        if self.is_frozen:
            return f"-{self.name if self.path is None else Path(self.path).stem}"
        return "" if self.features == "pixels" else f"-{self.features}"

    def network(self) -> Network:
        """Load the network; see :meth:`BaselineBuilder.network`."""
        return self._pretrained.network()

    def adapt(
        self,
        network: Network,
        preparation: Preparation,
        train: Part,
        classes: tuple[str, ...],
        show: Show = silent,
    ) -> Adapted:
        """Take the network as it is; see :meth:`BaselineBuilder.adapt`."""
        return self._pretrained.adapt(network, preparation, train, classes, show)

    @property
    def _pretrained(self) -> Pretrained:
        return Pretrained(
            name=self.name,
            image_size=self.image_size,
            path=self.path,
            pixels=self.pixels,
            threads=self.threads,
        )

    def shape(self, image_shape: Shape, n_classes: int) -> ConvStack:
        """Give a stack without layers; see :meth:`BaselineBuilder.shape`."""
        one_of("features", self.features, get_args(FeatureKind))
        at_least("threads", self.threads, 1)
        if self.features == "hog":
            check_cells(self.cells, image_shape)
        self._check()
        return ConvStack((), image_shape)

    def build(self, train: Images, classes: tuple[str, ...], show: Show = silent) -> Baseline:
        """Train the classifier; see :meth:`BaselineBuilder.build`.

        Raises
        ------
        InputError
            Also where the labels do not belong to ``classes``, or are all the same, or for images
            where it is maps that it should see.
        """
        if self.is_frozen and not isinstance(train, Maps):
            raise InputError(
                "features=maps needs maps, and these are images: send them through a network first "
                "(slicing.backbones.maps.through).",
                "features",
            )
        stack = self.shape(train.images.shape[1:], len(classes))
        check_labels(train, len(classes))
        if (train.labels == train.labels[0]).all():
            raise InputError(
                f"All training images are of the class {classes[train.labels[0]]}: give some of "
                "another."
            )
        show(0.0, f"training {type(self).__name__} on {self.features}")
        from sklearn.exceptions import ConvergenceWarning

        model = self._classifier(len(train))
        start = time.perf_counter()
        cells = self.cells if self.features == "hog" else None
        extract, features = Extractor.fit(train.images, cells)
        # Sums of BLAS depend on the number of its threads.
        with single_threaded_blas(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # _warning says it
            model.fit(features, train.labels)
        seconds = time.perf_counter() - start
        head = ShallowHead(extract, model, self._arrays(model), len(classes))
        return Baseline(stack, classes, head, seconds, warning=self._warning(model))

    @abstractmethod
    def _check(self) -> None:
        """Refuse options out of range."""

    @abstractmethod
    def _classifier(self, n_images: int) -> Any:
        """Make the classifier of scikit-learn for so many training images."""

    @abstractmethod
    def _arrays(self, model: Any) -> Sequence[NDArray[Any]]:
        """Give what classifying needs of a trained classifier."""

    def _warning(self, model: Any) -> str | None:
        """Say what is wrong with a trained classifier, if anything is."""
        return None


class ShallowHead:
    """A trained classifier of scikit-learn.

    Parameters
    ----------
    extract : Extractor
    model : object
        The classifier.
    arrays : sequence of ndarray
        What it needs.
    n_classes : int
        Of which some may have had no training images.
    """

    def __init__(
        self, extract: Extractor, model: Any, arrays: Sequence[NDArray[Any]], n_classes: int
    ) -> None:
        self._extract, self._model, self._arrays = extract, model, arrays
        self._n_classes = n_classes

    @property
    def n_parameters(self) -> int:
        """Numbers in all arrays that classifying needs, such as weights, nodes and kept images."""
        return sum(array.size for array in self._arrays)

    @property
    def total_bytes(self) -> int:
        """Bytes of these arrays, as scikit-learn holds them."""
        return sum(array.nbytes for array in self._arrays)

    def outputs(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Compute shares, or where there are none distances from the borders of the classes."""
        gives_shares = hasattr(self._model, "predict_proba")
        outputs = np.full((len(images), self._n_classes), 0.0 if gives_shares else -np.inf)
        if len(images):
            compute = self._model.predict_proba if gives_shares else self._model.decision_function
            with single_threaded_blas():
                found = compute(self._extract(images))
            # Of two classes, the distance towards the second alone.
            both = found if found.ndim == 2 else np.stack([-found, found], axis=1)
            outputs[:, self._model.classes_] = both
        return outputs


@dataclass(frozen=True, kw_only=True)
class SVM(Shallow):
    """A support-vector machine with radial basis functions.

    Its kernel is exp(-d / n_features), of the squared distance d. For each pair of classes there is
    one; they vote, and their distances from the borders decide between equals. The time to train it
    grows with the square of the images.

    Parameters
    ----------
    C : float, default=10
        Cost of errors on the training images.
    features, cells, name, image_size, path, pixels, threads
        See :class:`Shallow`.
    """

    C: float = 10.0

    def _check(self) -> None:
        positive("C", self.C)

    def _classifier(self, n_images: int) -> Any:
        from sklearn.svm import SVC

        return SVC(C=self.C, gamma="auto")

    def _arrays(self, model: Any) -> Sequence[NDArray[Any]]:
        return model.support_vectors_, model.dual_coef_, model.intercept_, model.n_support_


@dataclass(frozen=True, kw_only=True)
class LogisticRegression(Shallow):
    """Multinomial logistic regression.

    Parameters
    ----------
    C : float, default=0.01
        Cost of errors on the training images, beside the squares of the weights.
    features, cells, name, image_size, path, pixels, threads
        See :class:`Shallow`.
    """

    C: float = 0.01

    def _check(self) -> None:
        positive("C", self.C)

    def _classifier(self, n_images: int) -> Any:
        from sklearn import linear_model

        return linear_model.LogisticRegression(C=self.C, max_iter=_STEPS)

    def _arrays(self, model: Any) -> Sequence[NDArray[Any]]:
        return model.coef_, model.intercept_

    def _warning(self, model: Any) -> str | None:
        if model.n_iter_.max() < _STEPS:
            return None
        return (
            f"The logistic regression has not converged in {_STEPS:,} steps: a smaller C than "
            f"{self.C:g} would make it"
        )


@dataclass(frozen=True, kw_only=True)
class NaiveBayes(Shallow):
    """Gaussian naive Bayes: in a class, each feature is normal and independent of the others.

    Parameters
    ----------
    smoothing : float, default=0.01
        Part of the largest variance of a feature that is added to all variances.
    features, cells, name, image_size, path, pixels, threads
        See :class:`Shallow`.
    """

    smoothing: float = 0.01

    def _check(self) -> None:
        positive("smoothing", self.smoothing)

    def _classifier(self, n_images: int) -> Any:
        from sklearn.naive_bayes import GaussianNB

        return GaussianNB(var_smoothing=self.smoothing)

    def _arrays(self, model: Any) -> Sequence[NDArray[Any]]:
        return model.theta_, model.var_, model.class_prior_


@dataclass(frozen=True, kw_only=True)
class NearestNeighbors(Shallow):
    """The k-NN on all training images, with Euclidean distances.

    Parameters
    ----------
    k : int, default=3
        Number of neighbors that vote.
    features, cells, name, image_size, path, pixels, threads
        See :class:`Shallow`.
    """

    k: int = 3

    def _check(self) -> None:
        at_least("k", self.k, 1)

    def _classifier(self, n_images: int) -> Any:
        from sklearn.neighbors import KNeighborsClassifier

        between("k", self.k, 1, n_images, "training images")
        return KNeighborsClassifier(self.k)

    def _arrays(self, model: Any) -> Sequence[NDArray[Any]]:
        return model._fit_X, model._y


@dataclass(frozen=True, kw_only=True)
class DecisionTree(Shallow):
    """A decision tree (CART, Gini impurity).

    Parameters
    ----------
    max_depth : int or None, default=None
        Splits from the root to a leaf, at most; None: until each leaf is of one class.
    seed : int, default=0
        Seeds the choice between splits that are equally good.
    features, cells, name, image_size, path, pixels, threads
        See :class:`Shallow`.
    """

    max_depth: int | None = None
    seed: int = 0

    def _check(self) -> None:
        at_least("max_depth", self.max_depth, 1)
        check_seed(self.seed)

    def _classifier(self, n_images: int) -> Any:
        from sklearn.tree import DecisionTreeClassifier

        return DecisionTreeClassifier(max_depth=self.max_depth, random_state=self.seed)

    def _arrays(self, model: Any) -> Sequence[NDArray[Any]]:
        return _nodes(model)


@dataclass(frozen=True, kw_only=True)
class RandomForest(DecisionTree):
    """A random forest (Breiman, Machine Learning 45(1), 2001).

    Parameters
    ----------
    trees : int, default=100
    seed : int, default=0
        Seeds the images and the features of each tree.
    max_depth, features, cells, name, image_size, path, pixels, threads
        See :class:`DecisionTree`.
    """

    trees: int = 100

    def _check(self) -> None:
        at_least("trees", self.trees, 1)
        super()._check()

    def _classifier(self, n_images: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(
            self.trees, max_depth=self.max_depth, random_state=self.seed,
            n_jobs=-1 if self.threads is None else self.threads,
        )  # fmt: skip

    def _arrays(self, model: Any) -> Sequence[NDArray[Any]]:
        # Threads would add the trees' shares in whichever order they finish.
        model.n_jobs = 1
        return [array for tree in model.estimators_ for array in _nodes(tree)]


def _nodes(model: Any) -> Sequence[NDArray[Any]]:
    """Give the nodes of a tree: their children, what they ask, and the shares of the classes."""
    tree = model.tree_
    return tree.children_left, tree.children_right, tree.feature, tree.threshold, tree.value
