"""Read the images of a run: into memory, or as the maps of a frozen network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.monitor import Monitor
from slicing.backbones.maps import Maps, MapsAtHand, through
from slicing.data.dataset import Dataset, Images, Part
from slicing.data.image_files import ImageFiles
from slicing.data.image_folder import DEFAULT, read_files
from slicing.data.preparation import Preparation
from slicing.errors import InputError
from slicing.stack import Shape

if TYPE_CHECKING:
    from slicing.backbones.backbone import Backbone
    from slicing.backbones.network import Network
    from slicing.baselines import Baseline, BaselineBuilder
    from slicing.baselines.base import Adapted

# Images a class, of those that a network was not trained with, that can tell where to cut it.
_JUDGES = 10

ALL_CUTS = {"cut": "auto", "pool": 1}
"""Options of the group ``slicing`` for a network that is looked at, and not cut for an engine."""

OF_FILES = ("image_size", "channels", "fit")
"""Options of a dataset that say how its files become images."""


@dataclass(frozen=True)
class Read:
    """The images of a run, as they were read.

    Attributes
    ----------
    dataset, whole : Dataset
        Without, and with the classes that only the finished engine learns.
    preparation : Preparation or None
        How files became images, where they are files.
    backbone : Backbone or None
        What made the maps of them that stand in their place.
    classifier : Backbone or None
        The whole network, where it has a head of its own: its maps are scores.
    adapted : Adapted or None
        The network that was cut.
    digest : str
        Of the training images without the new classes, as they were given.
    """

    dataset: Dataset[Images]
    whole: Dataset[Images]
    preparation: Preparation | None = None
    backbone: "Backbone | None" = None
    classifier: "Backbone | None" = None
    adapted: "Adapted | None" = None
    digest: str = ""

    @property
    def input_shape(self) -> Shape:
        """Height, width and channels of an image that the engine takes."""
        if self.backbone is not None:
            return self.backbone.input_shape
        height, width, channels = self.dataset.train.images.shape[1:]
        return height, width, channels

    def on_network(self, baseline: "Baseline") -> "Baseline":
        """Say of a baseline on maps what has made them, and how that was trained.

        One that classifies maps is given them: they are at hand.
        """
        if self.adapted is None or self.backbone is None:
            return baseline
        _, train_seconds, from_cache, training, _, warning, _ = self.adapted
        at_hand = None if baseline.head is None else MapsAtHand.of(self.backbone)
        return replace(
            baseline,
            backbone=at_hand or self.classifier or self.backbone,
            train_seconds=train_seconds + baseline.train_seconds,
            from_cache=from_cache,
            training=training,
            warning=warning or baseline.warning,
        )

    @property
    def knows_labels(self) -> bool:
        """Whether the network may have been trained with the labels of these images."""
        return self.adapted is not None and self.adapted.knows_labels

    @property
    def libraries(self) -> tuple[str, ...]:
        """What the engine needs that others do not."""
        return () if self.backbone is None else ("onnx", "onnxruntime")


def into_memory(
    dataset: Dataset[Any], whole: Dataset[Any], options: Mapping[str, Any], monitor: Monitor
) -> Read:
    """Read all training images, resized as the options of the group ``data`` say."""
    if not isinstance(dataset.train, ImageFiles):
        return Read(dataset, whole)
    preparation = Preparation.of(
        options["image_size"] or DEFAULT.image_size,
        options["channels"] or DEFAULT.channels,
        options["fit"],
    )
    preparation.require(dataset.train.max_megapixels)
    with monitor.task("images"):
        every = read_files(whole, preparation, monitor.show)
    if whole is dataset:
        return Read(every, every, preparation)
    # Among all, those without the new classes are read already.
    return Read(replace(every.of_classes(dataset.classes), name=dataset.name), every, preparation)


class Loaded(NamedTuple):
    """A network, and how files become its input."""

    builder: "BaselineBuilder"
    network: "Network"
    preparation: Preparation


def load_network(
    builder: "BaselineBuilder", options: Mapping[str, Mapping[str, Any]], monitor: Monitor
) -> Loaded:
    """Load a network before any image is read: a mistake about it is told at once.

    Parameters
    ----------
    builder : BaselineBuilder
    options : mapping
        Those of the groups ``data`` and ``slicing``.
    monitor : Monitor

    Raises
    ------
    InputError
        Also where it takes other images than the options say, or cannot be cut where they say.
    """
    monitor.say("Loading the network")
    data, slicing, network = options["data"], options["slicing"], builder.network()
    height, width, channels = network.input_shape
    for name, taken in (("image_size", [height, width]), ("channels", channels)):
        if data.get(name) not in (None, taken):
            other = f", or give baseline.{name}" if hasattr(builder, name) else ""
            raise InputError(
                f"{name}={data[name]} is for networks that are trained on your images, and "
                f"{network.name} takes {name}={taken}: leave it out{other}.",
                name,
            )
    monitor.say(f"Converting {network.name}, or reading it from the cache")
    cuts = _named(slicing["cut"])
    network.backbone(network.cuts[-1:] if cuts is None else cuts, slicing["pool"])
    preparation = Preparation((height, width), channels, data.get("fit", DEFAULT.fit))
    return Loaded(builder, network, preparation)


def _named(cut: str | Sequence[str]) -> Sequence[str] | None:
    """Give the layers that an option names; None where they are to be found."""
    if cut == "auto":
        return None
    return [cut] if isinstance(cut, str) else cut


def through_network(
    dataset: Dataset[Any],
    whole: Dataset[Any],
    references: Part,
    slicing: Mapping[str, Any],
    loaded: Loaded,
    monitor: Monitor,
) -> Read:
    """Send all images through the frozen part of a network, those of the test, too.

    Parameters
    ----------
    dataset, whole : Dataset of Part
    references : Part
        The training images that the protocol does not hold out.
    slicing : mapping
        Options of this group.
    loaded : Loaded
        Its network is adapted to the references, and cut where the options say.
    monitor : Monitor
    """
    from evolve.cuts import best, scores

    builder, network, preparation = loaded
    cuts, pool = _named(slicing["cut"]), slicing["pool"]
    with monitor.task("training"):
        adapted = builder.adapt(network, preparation, references, dataset.classes, monitor.show)
    network = adapted.network
    monitor.say(f"Converting {network.name}, or reading it from the cache")

    def send(part: Part, backbone: "Backbone") -> "Maps":
        with monitor.task("features"):
            return through(backbone, preparation, part, show=monitor.show)

    head = [] if network.head is None else [network.head]
    classifier = builder.frozen(network, head) if head else None
    every = None
    if cuts is None:
        every = builder.frozen(network, [*network.cuts, *head])
        judges = send(references, every)
        unseen = adapted.unseen
        if unseen is not None and len(unseen) >= _JUDGES * len(dataset.classes):
            # A network flatters the images that it was trained with.
            judges = judges[unseen]
        with monitor.task("cuts"):
            n_cuts = len(network.cuts)
            given = judges, every.cuts[:n_cuts], every.channels[:n_cuts]
            found = best([*scores(*given, show=monitor.show)])
        cuts = found.cuts
        monitor.say(f"{network.name} is cut at {found}")
    backbone = builder.frozen(network, cuts, pool)
    if every is None and head:
        every = builder.frozen(network, [*dict.fromkeys((*cuts, *head))])

    def maps(part: Part) -> Images:
        if every is not None and pool == 1:
            # They are at hand, among those of every cut, and with the scores.
            sent = send(part, every)
            chosen = sent.of(every, backbone)
            own = None if classifier is None else sent.of(every, classifier)
        else:
            chosen = send(part, backbone)
            own = None if classifier is None else send(part, classifier)
        return replace(chosen, scores=own.images[:, 0, 0]) if own is not None else chosen

    read = dataset.map(maps)
    # Those of the test images are computed now, and looked at when they are needed.
    read.read_test()
    return Read(
        read,
        read if whole is dataset else whole.map(maps),
        preparation,
        backbone,
        classifier,
        adapted,
    )


def features_of(
    paths: Sequence[Path], parts: Sequence[Images | None]
) -> NDArray[np.float32] | None:
    """Give the maps of image files, flat: of shape (n, n_features), float32; None without any."""
    rows = dict[Path, NDArray[np.float32]]()
    for part in parts:
        if isinstance(part, Maps) and isinstance(part.source, ImageFiles):
            rows |= zip(part.source.paths, part.images.reshape(len(part), -1), strict=True)
    return np.stack([rows[path] for path in paths]) if rows.keys() >= {*paths} else None
