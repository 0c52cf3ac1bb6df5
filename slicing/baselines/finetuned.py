"""A pretrained network whose last blocks are trained on the images, before it is cut."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from slicing.backbones.backbone import Backbone
from slicing.backbones.maps import through
from slicing.backbones.network import Network
from slicing.backbones.tracing import Trace
from slicing.backend import configure_threads, load_keras
from slicing.baselines.augmentation import Altered, Augmentation
from slicing.baselines.base import Adapted
from slicing.baselines.fitting import Plan, Trainee, fit
from slicing.baselines.head import SCORES
from slicing.baselines.pretrained import Pretrained
from slicing.baselines.rates import Policy
from slicing.baselines.training import cache_folder, environment
from slicing.baselines.weight_cache import cache_file, read_trained, write_trained
from slicing.checks import at_least, between
from slicing.data.dataset import Part
from slicing.data.preparation import Preparation
from slicing.data.sampling import held_out
from slicing.errors import InputError
from slicing.memory import demand
from slicing.show import Show, silent

if TYPE_CHECKING:
    import keras

# Options that change no weights, or do so in the environment.
_NO_RECIPE = (
    *("name", "image_size", "weights", "path", "pixels", "mirrored", "storage"),
    *("kernels", "kernel_size", "threads", "cache_dir"),
)


@dataclass(frozen=True, kw_only=True)
class FineTuned(Pretrained):
    """A pretrained network whose last blocks are trained with a dense layer on top.

    What lies below these blocks is frozen: its maps are computed once, those of each version of an
    image, and the training sees maps. On one machine, with the same versions, at one seed and one
    number of threads, the weights are the same bit for bit from run to run, also where a training
    was killed and goes on.

    Parameters
    ----------
    name, image_size, weights, path, pixels, mirrored, storage, kernels, kernel_size, seed, threads
        See :class:`~slicing.baselines.pretrained.Pretrained`. The seed is that of the order of the
        images, of dropout, of the choice images and of the versions, too.
    layers : int, default=2
        Blocks that are trained, counted from the end; 0: the dense layer alone. A block ends where
        the network can be cut.
    epochs : int, default=20
        Passes over the training images, at most.
    batch_size : int, default=32
    optimizer : {"adam", "adamw", "sgd"}, default="adam"
    learning_rate : float or "auto", default=0.0003
        The largest rate; "auto": what a range test proposes.
    momentum : float, default=0.9
        Of ``sgd``.
    weight_decay : float, default=0.01
        Of ``adamw``.
    policy : str, default="cosine"
        How the learning rate changes, see :class:`~slicing.baselines.rates.Policy`.
    warm_up : float, default=0.5
        Epochs in which it rises from 0 before that.
    decay, period : float, default=0.1, 5
        Of some policies: a factor, and epochs.
    dropout : float, default=0.2
        Before the dense layer.
    choice_fraction : float, default=0.1
        Part of the training images that are not trained with: a stratified sample, on which the
        best epoch is chosen. 0: there are none, and the last epoch is taken.
    patience : int or None, default=5
        Epochs without a smaller loss on these images after which the training ends; None: it does
        not end early.
    versions : int or None, default=1
        Versions of each image that are trained with, one in each epoch, in turn. The first is the
        image itself, the others are altered. Their maps are kept. None: a new one in each epoch,
        whose maps are computed each time.
    flip, shift, crop, color, cutout
        How they are altered, see :class:`~slicing.baselines.augmentation.Augmentation`.
    cache_dir : path or None, default=None
        Folder of the trained weights; None is ``baselines`` in the user's cache for knn-slicing.
    """

    layers: int = 2
    epochs: int = 20
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float | str = 3e-4
    momentum: float = 0.9
    weight_decay: float = 0.01
    policy: str = "cosine"
    warm_up: float = 0.5
    decay: float = 0.1
    period: float = 5.0
    dropout: float = 0.2
    choice_fraction: float = 0.1
    patience: int | None = 5
    versions: int | None = 1
    flip: bool = True
    shift: float = 0.0
    crop: float = 0.2
    color: float = 0.2
    cutout: float = 0.0
    cache_dir: str | Path | None = None

    @property
    def variant(self) -> str:
        """The network that it starts from."""
        return f"-{self.name if self.path is None else Path(self.path).stem}"

    def adapt(
        self,
        network: Network,
        preparation: Preparation,
        train: Part,
        classes: tuple[str, ...],
        show: Show = silent,
    ) -> Adapted:
        """Train the last blocks, or read them from the cache; see :meth:`BaselineBuilder.adapt`."""
        plan, augmentation = self._plan(), self._augmentation()
        frozen = self._frozen(network)
        training, choice = self._roles(train, len(classes))
        threads = configure_threads(self.threads)
        names = [each.name for each in fields(self) if each.name not in _NO_RECIPE]
        determinants = {
            "network": network.digest,
            "images": train.digest,
            # Copies decide, too, which images choose the epoch.
            "choice": _digest([choice]),
            "preparation": repr(preparation),
            "n_classes": len(classes),
            **{name: getattr(self, name) for name in names},
            "environment": environment(threads),
        }
        folder = cache_folder(self.cache_dir)
        path = cache_file(folder, determinants)
        state = cache_file(folder, {**determinants, "state": True})
        parts = _parts(network, frozen.cuts[0], self.layers, len(classes))
        trained = read_trained(path, [weight.shape for weight in parts.weights])
        from_cache = trained is not None
        if trained is None:
            demand(
                4 * (self.versions or 0) * len(train) * int(np.prod(frozen.map_shape)),
                f"layers={self.layers}: the maps below them take",
                "train fewer, take smaller images or fewer versions, or keep none (versions=null)",
                "layers",
            )
            source = _Versions(
                frozen, preparation, train[training], augmentation, self.seed, self.versions, show
            )
            chosen = None
            if len(choice):
                maps = through(frozen, preparation, train[choice], show=show)
                chosen = maps.images, maps.labels
            trainee = Trainee(parts.tail, parts.head, plan)
            trained = fit(trainee, source.maps, train.labels[training], chosen, state, show)
            write_trained(path, trained)
            state.unlink(missing_ok=True)
        for weight, value in zip(parts.weights, trained.weights, strict=True):
            weight.assign(value)
        adapted = Network(
            f"fine-tuned {network.name}",
            network.input_shape,
            f"{network.digest} {frozen.cuts[0]} {_digest(trained.weights)}",
            lambda: (parts.whole, network.scaling),
            network.cache_dir,
            SCORES,
        )
        return Adapted(
            adapted, trained.seconds, from_cache, trained.epochs, choice, knows_labels=True
        )

    def _plan(self) -> Plan:
        at_least("epochs", self.epochs, 1)
        rate = self.learning_rate
        if rate != "auto" and not isinstance(rate, int | float):
            raise InputError(
                f"learning_rate={rate} is no rate: give a number above 0, or auto.",
                "learning_rate",
            )
        return Plan(
            Policy(self.policy, self.epochs, self.warm_up, self.decay, self.period),
            None if isinstance(rate, str) else rate,
            self.optimizer,
            self.momentum,
            self.weight_decay,
            self.batch_size,
            self.dropout,
            self.patience,
            self.seed,
        )

    def _augmentation(self) -> Augmentation:
        at_least("versions", self.versions, 1)
        return Augmentation(self.flip, self.shift, self.crop, self.color, self.cutout)

    def _frozen(self, network: Network) -> Backbone:
        """Cut the network before the first block that is trained; without one, average its maps."""
        cuts = network.cuts
        between("layers", self.layers, 0, len(cuts) - 1, f"blocks of {network.name}")
        return network.backbone([cuts[-1 - self.layers]], None if self.layers else 1)

    def _roles(self, train: Part, n_classes: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Give the images to train with, and those to choose the epoch with: sorted indices."""
        between("choice_fraction", self.choice_fraction, 0, 0.5)
        n = min(round(self.choice_fraction * len(train)), len(train) - n_classes)
        if n < 1:
            return np.arange(len(train)), np.arange(0)
        return held_out(train.labels, n, self.seed, train.groups)


class _Versions:
    """The maps of the training images and of their altered versions.

    Those that are kept are computed when they are first asked for.
    """

    def __init__(
        self,
        frozen: Backbone,
        preparation: Preparation,
        part: Part,
        augmentation: Augmentation,
        seed: int,
        versions: int | None,
        show: Show,
    ) -> None:
        self._frozen, self._preparation, self._part = frozen, preparation, part
        self._augmentation, self._seed, self._versions = augmentation, seed, versions
        self._show = show
        self._kept = dict[int, NDArray[np.float32]]()

    def maps(self, rows: NDArray[np.intp], epoch: int) -> NDArray[np.float32]:
        """See :data:`slicing.baselines.fitting.GiveMaps`."""
        if self._versions is None:
            images = self._version(epoch, self._part[rows]).prepared(self._preparation)
            return self._frozen.maps(images)
        version = epoch % self._versions
        if version not in self._kept:
            part = self._version(version, self._part)
            self._kept[version] = through(
                self._frozen, self._preparation, part, show=self._show
            ).images
        return self._kept[version][rows]

    def _version(self, number: int, part: Part) -> Part:
        return Altered(part, self._augmentation, self._seed, number) if number else part


class _Parts(NamedTuple):
    """The layers that are trained, and the network that they are part of.

    Attributes
    ----------
    tail : keras.Model
    head : keras.layers.Conv2D
    whole : keras.Model
        From images to scores; it shares their weights.
    """

    tail: "keras.Model"
    head: Any
    whole: "keras.Model"

    @property
    def weights(self) -> list[Any]:
        """Those that are trained, with the statistics of normalizations between them."""
        return [*self.tail.weights, *self.head.weights]


def _parts(network: Network, after: str, layers: int, n_classes: int) -> _Parts:
    """Take a network apart, and put a dense layer in place of its own head."""
    keras = load_keras()
    images = keras.Input(network.input_shape, name="images")
    trace = Trace()
    trace.run(network.model, images)
    maps = trace.maps()
    last = maps[network.cuts[-1]]
    if layers:
        place = [call.name for call in trace.calls].index(after) + 1
        below = {id(call.layer) for call in trace.calls[:place]}
        if any(id(call.layer) in below for call in trace.calls[place:]):
            raise InputError(
                f"layers={layers} is not possible for {network.name}, which uses layers of the "
                f"last {layers} blocks in what is frozen, too: choose another number, such as 0.",
                "layers",
            )
        tail = keras.Model(maps[after], last)
        # Whoever made the network may have frozen them.
        for layer in tail.layers:
            layer.trainable = True
    else:
        averaged = keras.Input((1, 1, last.shape[-1]))
        tail = keras.Model(averaged, keras.layers.Identity()(averaged))
    # It learns from the first step on, whatever its start.
    head = keras.layers.Conv2D(n_classes, 1, kernel_initializer="zeros", name=SCORES)
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="head_pooled")(last)
    return _Parts(tail, head, keras.Model(images, head(pooled), name="finetuned"))


def _digest(arrays: Sequence[NDArray[Any]]) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
