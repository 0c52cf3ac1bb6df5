"""What lies below the cut: a frozen network from images to maps, run by ONNX Runtime."""

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from slicing.backbones import graph as graphs
from slicing.backbones.sizes import largest
from slicing.errors import InputError, installing
from slicing.pixels import Pixels, unit_pixels
from slicing.stack import Shape

# Images that are computed at a time, or fewer: their largest maps stay within so many numbers.
_CHUNK, _NUMBERS = 16, 2**24
# Numbers of the largest map that one image may take.
_MOST = 2**28


@dataclass(frozen=True, eq=False)
class Backbone:
    """A frozen network, from images to the maps at its cuts.

    The same graph is run in experiments and in engines. Range of pixels, order of channels and
    normalization are part of it.

    Attributes
    ----------
    name : str
        What the network is called.
    graph : bytes
        An ONNX graph in canonical form, from ``images`` (n, height, width, channels), pixels in
        [0, 1], gray or RGB, to ``maps`` (n, height, width, channels), float32.
    cuts : tuple of str
        The layers whose outputs are pooled to one height and width and lie side by side in the
        channels of the maps.
    channels : tuple of int
        How many channels each has.

    Raises
    ------
    InputError
        Where the graph is none, has other channels, or takes gigabytes for an image.
    """

    name: str
    graph: bytes
    cuts: tuple[str, ...]
    channels: tuple[int, ...]

    def __post_init__(self) -> None:
        graphs.input_shape(self._model)
        if [*graphs.shapes(self._model)] != [graphs.OUTPUT]:
            raise InputError(f"The backbone {self.name} does not give maps alone: make it again.")
        self._require_small(self._largest, _MOST)
        if len(self.cuts) != len(self.channels) or sum(self.channels) != self.map_shape[2]:
            raise InputError(
                f"The backbone {self.name} gives {self.map_shape[2]} channels, and its cuts have "
                f"{', '.join(map(str, self.channels))}: make it again."
            )

    @cached_property
    def _model(self) -> Any:
        return graphs.parsed(self.graph)

    @cached_property
    def input_shape(self) -> Shape:
        """Height, width and channels of an image."""
        return graphs.input_shape(self._model)

    @cached_property
    def map_shape(self) -> Shape:
        """Height, width and channels of the maps of an image."""
        return graphs.shapes(self._model)[graphs.OUTPUT]

    @cached_property
    def n_parameters(self) -> int:
        """Number of weights and biases."""
        return graphs.n_parameters(self._model)

    @property
    def total_bytes(self) -> int:
        """Bytes of the graph, which are all that the maps need."""
        return len(self.graph)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that determines the maps; names of network and layers do not."""
        return hashlib.sha256(self.graph).hexdigest()

    def mirrored(self) -> "Backbone":
        """Give one whose maps are the means of those of an image and of its mirror image.

        The mirror image's maps are mirrored back first. It takes twice the time.
        """
        return replace(self, graph=graphs.mirrored(graphs.parsed(self.graph)))

    def quantized(self) -> "Backbone":
        """Give the same network with weights in int8, each kernel on a grid of its own.

        It has a quarter of the bytes, and computes in float32, as fast as before.
        """
        return replace(self, graph=graphs.quantized(graphs.parsed(self.graph)))

    def checked(self, images: Pixels) -> NDArray[np.float32]:
        """Give images as they are computed with, see :func:`~slicing.pixels.unit_pixels`."""
        return unit_pixels(images)

    def maps(self, images: Pixels) -> NDArray[np.float32]:
        """Send images through the network, some at a time.

        Parameters
        ----------
        images : ndarray of shape (n, height, width, channels)
            Of uint8 from 0 to 255, or of floats from 0 to 1.

        Returns
        -------
        ndarray of shape (n, ``*map_shape``), float32

        Raises
        ------
        InputError
            Where the images do not have ``input_shape``, or ONNX Runtime is not installed or cannot
            compute the graph.
        """
        if images.shape[1:] != self.input_shape:
            raise InputError(
                f"The backbone {self.name} takes images of shape {self.input_shape}, not "
                f"{images.shape[1:]}: resize them, and convert their channels."
            )
        session = self._session(numba.get_num_threads())
        size = max(1, min(_CHUNK, _NUMBERS // self._largest))
        maps = np.empty((len(images), *self.map_shape), np.float32)
        for start in range(0, len(images), size):
            chunk = np.ascontiguousarray(self.checked(images[start : start + size]))
            if len(chunk) > 1:
                # A foreign graph may be small for one image and for many, and large in between.
                self._require_small(self._numbers_for(len(chunk)), _NUMBERS, len(chunk))
            maps[start : start + size] = self._run(session, chunk)
        return maps

    def _run(self, session: Any, images: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            (maps,) = session.run([graphs.OUTPUT], {graphs.INPUT: images})
        except Exception as error:  # ONNX Runtime's own have no common type
            raise self._not_computed(error) from error
        if maps.shape[1:] != self.map_shape:
            raise self._not_computed(f"it gives maps of shape {maps.shape[1:]}")
        return np.asarray(maps, np.float32)

    def _not_computed(self, reason: object) -> InputError:
        text = " ".join(str(reason).split()).rstrip(".")
        return InputError(
            f"The backbone {self.name} cannot be computed ({text}): make it again, or use smaller "
            "images."
        )

    @property
    def _largest(self) -> int:
        """Numbers of the largest map, for each image."""
        return max(-(-self._numbers_for(n) // n) for n in (1, _CHUNK))

    def _numbers_for(self, n: int) -> int:
        """Count the numbers of the largest map of n images at a time, once."""
        if n not in self._counted:
            self._counted[n] = largest(self._model, n)
        return self._counted[n]

    @cached_property
    def _counted(self) -> dict[int, int]:
        return {}

    def _require_small(self, numbers: int, most: int, n: int = 1) -> None:
        if numbers > most:
            images = "an image" if n == 1 else f"{n} images at a time"
            raise InputError(
                f"The backbone {self.name} takes {4 * numbers / 2**30:,.1f} GB for a single map of "
                f"{images}: use smaller images, or another network."
            )

    @cached_property
    def _sessions(self) -> dict[int, Any]:
        return {}

    def _session(self, threads: int) -> Any:
        """Make a session of ONNX Runtime for a number of threads, or give the one that is there."""
        if threads not in self._sessions:
            try:
                import onnxruntime
            except ImportError as error:
                raise InputError(
                    "ONNX Runtime is not installed, and the backbone "
                    f"{self.name} needs it: {installing('onnx')}, or '.[pretrained]' to cut "
                    "networks, too."
                ) from error
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            options.log_severity_level = 3
            # Between two calls, its threads would keep the cores from everybody else.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            self._sessions.clear()
            try:
                self._sessions[threads] = onnxruntime.InferenceSession(
                    self.graph, options, providers=["CPUExecutionProvider"]
                )
            except Exception as error:  # ONNX Runtime's own have no common type
                raise self._not_computed(error) from error
        return self._sessions[threads]

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the session: it does not pickle, and is made again when needed."""
        return {name: getattr(self, name) for name in ("name", "graph", "cuts", "channels")}
