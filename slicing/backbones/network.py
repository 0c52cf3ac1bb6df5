"""A network that can be cut: its model, and the graph that is made of it once."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import platformdirs

from slicing import tensor_file
from slicing.backbones import graph as graphs
from slicing.backbones.backbone import Backbone
from slicing.backbones.conversion import UNSCALED, Converted, Scaling, convert
from slicing.checks import between
from slicing.errors import InputError, installing
from slicing.files import delete_oldest
from slicing.machine import TENSORFLOW, processor, switches
from slicing.stack import Shape

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

# Part of the cache's key: raise it with every change to the graphs that are made here.
_RECIPE = 2
_PACKAGES = ("keras", "tensorflow", "tf2onnx", "onnx", "numpy")

# Bytes of all cache files of a folder.
LIMIT = 2_000_000_000

_KIND = "knn-slicing network 1"
# Of the names of cache files: others in the folder are left alone.
_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")


@dataclass(frozen=True, eq=False)
class Network:
    """A network from images to maps, which becomes a backbone where it is cut.

    TensorFlow starts only where the network was not converted before: its graph is kept on disk.

    Attributes
    ----------
    name : str
    input_shape : (int, int, int)
        Height, width and channels of an image.
    digest : str
        Tells what ``load`` makes from all else.
    load : callable
        Makes the Keras model, and says how pixels in [0, 1] become what it takes.
    cache_dir : Path or None
        Folder of the graphs; None is ``networks`` in the user's cache for knn-slicing.
    head : str or None
        The layer whose maps, of 1 x 1, are scores of the classes: the larger, the likelier. None:
        the network has no such head.
    """

    name: str
    input_shape: Shape
    digest: str
    load: Callable[[], tuple["keras.Model", Scaling]]
    cache_dir: Path | None = None
    head: str | None = None

    @classmethod
    def of_model(
        cls,
        model: "keras.Model",
        input_shape: Shape,
        scaling: Scaling = UNSCALED,
        name: str | None = None,
        cache_dir: Path | None = None,
    ) -> "Network":
        """Take a Keras model as it is now.

        Parameters
        ----------
        model : keras.Model
            Functional or Sequential, with one input.
        input_shape : (int, int, int)
        scaling : Scaling
        name : str, optional
            By default, the model's own.
        cache_dir : Path, optional
        """
        sha = hashlib.sha256(f"{model.to_json()} {scaling}".encode())
        for weight in model.weights:
            sha.update(np.ascontiguousarray(weight.numpy()).tobytes())
        loaded = model, scaling
        return cls(name or model.name, input_shape, sha.hexdigest(), lambda: loaded, cache_dir)

    @cached_property
    def _loaded(self) -> tuple["keras.Model", Scaling]:
        return self.load()

    @property
    def model(self) -> "keras.Model":
        """The Keras model, made when it is first asked for."""
        return self._loaded[0]

    @property
    def scaling(self) -> Scaling:
        """How pixels in [0, 1] become what the model takes."""
        return self._loaded[1]

    @property
    def cuts(self) -> tuple[str, ...]:
        """The layers after which cutting makes sense, from the images on.

        These are the ends of blocks, where all that is behind is made of one map: see
        :mod:`slicing.backbones.tracing`.
        """
        return tuple(cut for cut in self._converted.cuts if cut != self.head)

    def backbone(self, cuts: Sequence[str], pool: int | None = 1) -> Backbone:
        """Cut the network.

        Parameters
        ----------
        cuts : sequence of str
            Layers whose maps are put side by side: of :attr:`cuts`, or any other that gives maps.
            One in a model within the model is called by the names of both with ``/`` between.
        pool : int or None, default=1
            Rows and columns to which each map is average-pooled; 1 is the global average. None:
            the maps of one cut as they are.

        Returns
        -------
        Backbone

        Raises
        ------
        InputError
            Where there is no such layer, or a map has fewer rows or columns than ``pool``.
        """
        if not cuts or len({*cuts}) < len(cuts):
            raise InputError(
                f"cuts={[*cuts]} is not possible: name one or more layers, each once.", "cuts"
            )
        known = {*cuts} <= {*self._converted.cuts}
        graph, names = self._converted if known else self._convert(cuts)
        network = graphs.parsed(graph)
        shapes = [graphs.shapes(network)[str(names.index(cut))] for cut in cuts]
        if pool is not None:
            narrowest = min(range(len(cuts)), key=lambda number: min(shapes[number][:2]))
            smallest = min(shapes[narrowest][:2])
            between("pool", pool, 1, smallest, f"rows and columns, as cut {cuts[narrowest]} has")
        outputs = [str(names.index(cut)) for cut in cuts]
        content = graphs.cut_and_pooled(network, outputs, pool)
        return Backbone(self.name, content, tuple(cuts), tuple(shape[2] for shape in shapes))

    @cached_property
    def _converted(self) -> Converted:
        return self._convert(())

    def _convert(self, wanted: Sequence[str]) -> Converted:
        """Read the graph from the cache, or make it of the model."""
        path = self._cache_file(wanted)
        try:
            if path.exists():
                settings, arrays = tensor_file.read(path, _KIND)
                os.utime(path)  # now it is the one that was used last
                return Converted(arrays["graph"].tobytes(), tuple(settings["cuts"]))
        except (InputError, LookupError, OSError) as error:
            log.warning("A cached network is not used, it is converted again: %s", error)
        graph, cuts = convert(self.model, self.input_shape, self.scaling, wanted, self.head)
        content = {"graph": np.frombuffer(graph, np.uint8)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            tensor_file.write(path, tensor_file.pack(_KIND, {"cuts": cuts}, content))
            delete_oldest(path, _NAME, LIMIT)
        except OSError as error:
            log.warning("The network cannot be cached (%s): the next run converts it again.", error)
        return Converted(graph, cuts)

    def _cache_file(self, wanted: Sequence[str]) -> Path:
        folder = self.cache_dir or platformdirs.user_cache_path("knn-slicing") / "networks"
        try:
            versions = [version(package) for package in _PACKAGES]
        except PackageNotFoundError as error:
            raise InputError(
                "Networks are converted by tf2onnx and onnx, and one is not installed: "
                f"{installing('pretrained')}"
            ) from error
        determinants = {
            "network": self.digest,
            "images": self.input_shape,
            "wanted": [*wanted],
            "recipe": _RECIPE,
            "versions": versions,
            # What is computed of weights alone is computed by the conversion.
            "processor": processor(),
            "switches": switches(TENSORFLOW),
        }
        key = hashlib.sha256(json.dumps(determinants).encode()).hexdigest()
        return folder / f"{key}.safetensors"
