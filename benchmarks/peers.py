"""The peers: other ways to classify the queries under a candidate, on the CPU and in float32.

Each is made for a network and a split; a call puts the weights of another stack of the same shape
into the network and predicts the label of every query. What a peer needs is imported when it is
made, since JAX and faiss are optional.
"""

import os
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.fitness_cases import K
from benchmarks.machine import timed
from evolve.protocols import Split
from slicing.cutting import to_keras
from slicing.stack import Conv, ConvStack

# Images, or queries, that JAX takes at a time: activations and distances of 60,000 references stay
# within some hundred megabytes.
_JAX_BLOCK = 500
# The same for Keras' predict_on_batch; where there are more than twice as many images, predict
# is not tried.
_KERAS_BLOCK = 5000


class Peer(Protocol):
    """Another way to evaluate candidates.

    Attributes
    ----------
    way : str
        How it computes the features.
    """

    way: str

    def __init__(self, stack: ConvStack, split: Split) -> None: ...

    def __call__(self, stack: ConvStack) -> NDArray[np.int64]:
        """Predict the labels of the queries with the weights of ``stack``."""


class _Features(Protocol):
    way: str

    def __call__(self, stack: ConvStack) -> NDArray[np.float32]: ...


class KerasSklearn:
    """The paper's stack: a Keras model and scikit-learn's brute-force k-NN."""

    def __init__(self, stack: ConvStack, split: Split) -> None:
        self._features = KerasFeatures(stack, _images(split))
        self._labels = split.references.labels
        self.way = self._features.way

    def __call__(self, stack: ConvStack) -> NDArray[np.int64]:
        """Compute the features, fit the k-NN and predict."""
        from sklearn.neighbors import KNeighborsClassifier

        features = self._features(stack)
        n_references = len(self._labels)
        knn = KNeighborsClassifier(K, algorithm="brute")
        knn.fit(features[:n_references], self._labels)
        labels: NDArray[np.int64] = knn.predict(features[n_references:])
        return labels


class Jax:
    """One jitted graph from the images to the labels, with the kernels as arguments."""

    way = "jax"

    def __init__(self, stack: ConvStack, split: Split) -> None:
        jax = _import_jax()
        features = _jax_features(jax, stack)
        n_references = len(split.references)
        n_classes = int(split.references.labels.max()) + 1

        def predict(weights: Any, images: Any, labels: Any) -> Any:
            points = features(weights, images)
            references = points[:n_references]
            squares = (references**2).sum(axis=1)

            def classify(query: Any) -> Any:
                distances = (query**2).sum() + squares - 2 * (query @ references.T)
                _, nearest = jax.lax.top_k(-distances, K)
                return jax.nn.one_hot(labels[nearest], n_classes).sum(axis=0).argmax()

            return jax.lax.map(classify, points[n_references:], batch_size=_JAX_BLOCK)

        self._predict = jax.jit(predict)
        self._images = jax.numpy.asarray(_images(split))
        self._labels = jax.numpy.asarray(split.references.labels.astype(np.int32))

    def __call__(self, stack: ConvStack) -> NDArray[np.int64]:
        """Run the graph."""
        return np.asarray(self._predict(_weights(stack), self._images, self._labels), np.int64)


class Faiss:
    """Features by JAX, or by Keras where there is none, and faiss' exact index."""

    def __init__(self, stack: ConvStack, split: Split) -> None:
        self._features: _Features
        try:
            self._features = _JaxFeatures(stack, _images(split))
        except ImportError:
            self._features = KerasFeatures(stack, _images(split))
        self._index = import_module("faiss").IndexFlatL2(int(np.prod(stack.feature_shape)))
        self._labels = split.references.labels
        self.way = self._features.way

    def __call__(self, stack: ConvStack) -> NDArray[np.int64]:
        """Compute the features, fill the index, search and vote."""
        features = self._features(stack)
        n_references = len(self._labels)
        self._index.reset()
        self._index.add(features[:n_references])
        _, nearest = self._index.search(features[n_references:], K)
        votes = np.eye(self._labels.max() + 1, dtype=np.int64)[self._labels[nearest]].sum(axis=1)
        labels: NDArray[np.int64] = votes.argmax(axis=1)
        return labels


# In the order of the table, each with the module without which it is left out.
_PEERS: dict[str, tuple[str, type[Peer]]] = {
    "keras+sklearn": ("sklearn", KerasSklearn),
    "jax": ("jax", Jax),
    "faiss": ("faiss", Faiss),
}


def find_peers() -> tuple[dict[str, type[Peer]], list[str]]:
    """Return the peers that are installed, and the names of those that are not."""
    found, missing = {}, []
    for name, (module, peer) in _PEERS.items():
        try:
            _import_jax() if module == "jax" else import_module(module)
        except ImportError:
            missing.append(name)
        else:
            found[name] = peer
    return found, missing


class KerasFeatures:
    """Features by the faster of Keras' two ways, at this number of images."""

    def __init__(self, stack: ConvStack, images: NDArray[np.float32]) -> None:
        self._model = to_keras(stack)
        self._images = images
        self._ways = {"predict_on_batch": self._predict_on_batch}
        if len(images) <= 2 * _KERAS_BLOCK:
            self._ways["predict"] = self._predict
        times = {}
        for name, way in self._ways.items() if len(self._ways) > 1 else ():
            way()
            times[name] = min(timed(way)[1] for _ in range(3))
        self.way = min(times, key=times.__getitem__, default="predict_on_batch")

    def __call__(self, stack: ConvStack) -> NDArray[np.float32]:
        """Predict the features of all images with the weights of ``stack``."""
        self._model.set_weights([array for pair in _weights(stack) for array in pair])
        return self._ways[self.way]()

    def _predict(self) -> NDArray[np.float32]:
        features: NDArray[np.float32] = self._model.predict(self._images, batch_size=512, verbose=0)
        return features

    def _predict_on_batch(self) -> NDArray[np.float32]:
        starts = range(0, len(self._images), _KERAS_BLOCK)
        return np.concatenate(
            [self._model.predict_on_batch(self._images[s : s + _KERAS_BLOCK]) for s in starts]
        )


class _JaxFeatures:
    way = "jax"

    def __init__(self, stack: ConvStack, images: NDArray[np.float32]) -> None:
        jax = _import_jax()
        self._features = jax.jit(_jax_features(jax, stack))
        self._images = jax.numpy.asarray(images)

    def __call__(self, stack: ConvStack) -> NDArray[np.float32]:
        return np.asarray(self._features(_weights(stack), self._images))


def _import_jax() -> Any:
    # The others run on the CPU.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    return import_module("jax")


def _jax_features(jax: Any, stack: ConvStack) -> Any:
    """Return the function of weights and images (n, height, width, channels) to the features."""
    lax, jnp = jax.lax, jax.numpy

    def windows(maps: Any, layer: Any, start: float, combine: Any) -> Any:
        size, strides = (1, *layer.size, 1), (1, *layer.strides, 1)
        return lax.reduce_window(maps, start, combine, size, strides, layer.padding.upper())

    def features(weights: Any, image: Any) -> Any:
        maps, pairs = image[None], iter(weights)
        for layer in stack.layers:
            if isinstance(layer, Conv):
                kernels, bias = next(pairs)
                maps = bias + lax.conv_general_dilated(
                    maps,
                    kernels,
                    layer.strides,
                    layer.padding.upper(),
                    dimension_numbers=("NHWC", "HWIO", "NHWC"),
                )
                maps = jnp.maximum(maps, 0) if layer.relu else maps
            elif layer.kind == "max":
                maps = windows(maps, layer, -jnp.inf, lax.max)
            else:
                counts = windows(jnp.ones_like(maps), layer, 0.0, lax.add)
                maps = windows(maps, layer, 0.0, lax.add) / counts
        return maps.ravel()

    return lambda weights, images: lax.map(
        lambda image: features(weights, image), images, batch_size=_JAX_BLOCK
    )


def _images(split: Split) -> NDArray[np.float32]:
    assert split.queries is not None
    return np.concatenate([split.references.images, split.queries.images])


def _weights(stack: ConvStack) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    return [(conv.weights, conv.bias) for conv in stack.convs]
