"""Classifiers that learn no features, to compare with: those of scikit-learn."""

import time
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from slicing.baselines.base import Baseline, BaselineBuilder, check_labels
from slicing.baselines.hog import check_cells, hog
from slicing.checks import at_least, between, check_seed, one_of, positive
from slicing.data.dataset import Images
from slicing.errors import InputError
from slicing.show import Show, silent
from slicing.stack import ConvStack, Shape
from slicing.threads import single_threaded_blas

FeatureKind = Literal["pixels", "hog"]

# Steps after which a logistic regression ends.
_STEPS = 1000


@dataclass(frozen=True, kw_only=True)
class Shallow(BaselineBuilder):
    """A classifier of scikit-learn on features that are not learned.

    The baseline has no convolutions: its stack gives the pixels.

    Parameters
    ----------
    features : {"pixels", "hog"}, default="pixels"
        The pixels as they are, or :func:`~slicing.baselines.hog.hog`.
    cells : int, default=7
        Cells of these histograms along the shorter side of an image.
    """

    features: FeatureKind = "pixels"
    cells: int = 7

    is_trained: ClassVar[bool] = True
    uses_tensorflow: ClassVar[bool] = False

    @property
    def variant(self) -> str:
        """The features, where they are not the pixels."""
        return "" if self.features == "pixels" else f"-{self.features}"

    def shape(self, image_shape: Shape, n_classes: int) -> ConvStack:
        """Give a stack without layers; see :meth:`BaselineBuilder.shape`."""
        one_of("features", self.features, get_args(FeatureKind))
        if self.features == "hog":
            check_cells(self.cells, image_shape)
        self._check()
        return ConvStack((), image_shape)

    def build(self, train: Images, classes: tuple[str, ...], show: Show = silent) -> Baseline:
        """Train the classifier; see :meth:`BaselineBuilder.build`.

        Raises
        ------
        InputError
            Also where the labels do not belong to ``classes``, or are all the same.
        """
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


@dataclass(frozen=True)
class Extractor:
    """Computes the features of images.

    They are shifted and scaled by the same two numbers, so that those of the training images have a
    mean of 0 and a standard deviation of 1: it does not matter which range the pixels have.

    Attributes
    ----------
    cells : int or None
        Of :func:`~slicing.baselines.hog.hog`; None: the features are the pixels.
    mean, deviation : float
    """

    cells: int | None
    mean: float
    deviation: float

    @classmethod
    def fit(
        cls, images: NDArray[np.float32], cells: int | None
    ) -> tuple["Extractor", NDArray[np.float32]]:
        """Learn the two numbers from the training images; give their features, too."""
        features = _computed(images, cells)
        mean, deviation = features.mean(dtype=float), features.std(dtype=float)
        extract = cls(cells, float(mean), float(deviation) or 1.0)
        return extract, extract._scaled(features)

    def __call__(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Compute features of shape (n, n_features), float32."""
        return self._scaled(_computed(images, self.cells))

    def _scaled(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return (features - np.float32(self.mean)) / np.float32(self.deviation)


def _computed(images: NDArray[np.float32], cells: int | None) -> NDArray[np.float32]:
    return images.reshape(len(images), -1) if cells is None else hog(images, cells)


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
    features, cells
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
    features, cells
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
    features, cells
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
    features, cells
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
    features, cells
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
    threads : int or None, default=None
        Threads to train with, which change no result; None: one a core.
    max_depth, features, cells
        See :class:`DecisionTree`.
    """

    trees: int = 100
    threads: int | None = None

    def _check(self) -> None:
        at_least("trees", self.trees, 1)
        at_least("threads", self.threads, 1)
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
