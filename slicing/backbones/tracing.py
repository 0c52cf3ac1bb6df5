"""Where a network can be cut: its layers as they are called, and where it is narrow.

A network is narrow at a map that everything behind it is made of: no other branch leads past it.
Of these, the maps at the ends of units are cuts. A unit begins with a layer that has kernels, or
where the network forks, and takes in what follows of normalizations, activations and poolings; a
depthwise convolution belongs to the unit of the pointwise ones around it.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slicing.backend import load_keras
from slicing.errors import InputError

if TYPE_CHECKING:
    import keras

# What a map was last made by: the next pointwise convolution ends what a depthwise one has begun.
_OTHER, _POINTWISE, _DEPTHWISE = range(3)


@dataclass(frozen=True)
class Call:
    """A layer that was called.

    Attributes
    ----------
    name : str
        Of a layer in a model within the model, the names of both with ``/`` between. Where it is
        called again, with ``:2`` behind, and so on.
    layer : keras.Operation
    inputs : list of tensor
    output : tensor
    """

    name: str
    layer: Any
    inputs: list[Any]
    output: Any


@dataclass
class Trace:
    """The calls of a network's layers, in order.

    Attributes
    ----------
    calls : list of Call
    """

    calls: list[Call] = field(default_factory=list)

    def run(self, model: "keras.Model", images: Any, path: str = "") -> Any:
        """Send a tensor through a model layer by layer, also through models within it.

        Returns
        -------
        tensor
            What the model gives.

        Raises
        ------
        InputError
            Where the model does not say what its layers are connected to.
        """
        graph = _functional(model)
        if graph is None:
            raise InputError(
                f"The model {model.name!r} does not say what its layers are connected to: use a "
                "Sequential model that starts with keras.Input, or a functional one."
            )
        return graph._run_through_graph(images, lambda layer: self._recording(layer, path))

    def _recording(self, layer: Any, path: str) -> Callable[..., Any]:
        name = path + layer.name
        if _functional(layer) is not None:
            return lambda inputs, **_: self.run(layer, inputs, f"{name}/")

        def call(*args: Any, **kwargs: Any) -> Any:
            tree = load_keras().tree
            output = layer(*args, **kwargs)
            inputs = [each for each in tree.flatten((args, kwargs)) if hasattr(each, "shape")]
            if hasattr(output, "shape"):
                known = sum(each.layer is layer for each in self.calls)
                own = f"{name}:{known + 1}" if known else name
                self.calls.append(Call(own, layer, inputs, output))
            return output

        return call

    def maps(self) -> dict[str, Any]:
        """Give the outputs that are maps (n, height, width, channels) of known size, by layer."""
        return {call.name: call.output for call in self.calls if _is_map(call.output)}

    def cuts(self) -> list[str]:
        """Name the layers after which cutting makes sense, in order."""
        # What does nothing at inference gives the very tensor that it took.
        calls = [call for call in self.calls if all(call.output is not x for x in call.inputs)]
        uses = Counter(id(tensor) for call in calls for tensor in call.inputs)
        next_use = {id(tensor): call for call in reversed(calls) for tensor in call.inputs}
        made = {id(call.output) for call in calls}
        made_by = dict[int, int]()
        begun, cuts = False, []
        left = Counter[int]()  # uses still to come, of each tensor that has some
        for call in calls:
            left -= Counter(id(tensor) for tensor in call.inputs if id(tensor) in made)
            key = id(call.output)
            is_narrow = not left
            left[key] = uses[key]
            last = max((made_by.get(id(tensor), _OTHER) for tensor in call.inputs), default=_OTHER)
            if _has_kernels(call.layer):
                begun = True
                last = (
                    _DEPTHWISE
                    if _is_depthwise(call.layer)
                    else _POINTWISE
                    if last == _DEPTHWISE
                    else _OTHER
                )
            made_by[key] = last
            if not is_narrow:
                continue
            if _is_head(call):
                break
            follower = next_use.get(key) if uses[key] == 1 else None
            if follower is not None and not (_begins(follower) or _is_head(follower)):
                continue
            while follower is not None and _is_padding(follower.layer):
                follower = next_use.get(id(follower.output))
            is_inside = last == _DEPTHWISE or (
                last == _OTHER and follower is not None and _is_depthwise(follower.layer)
            )
            if begun and not is_inside and not _is_padding(call.layer):
                cuts.append(call.name)
        return cuts


def _functional(layer: Any) -> Any:
    """Give a model's graph of layers; None for what is no model, or has none."""
    kinds = load_keras().models
    if isinstance(layer, kinds.Sequential):
        return layer._functional
    is_model = isinstance(layer, kinds.Model) and type(layer).__module__.startswith("keras.")
    return layer if is_model and hasattr(layer, "_run_through_graph") else None


def _is_map(tensor: Any) -> bool:
    return len(tensor.shape) == 4 and None not in tensor.shape[1:]


def _has_kernels(layer: Any) -> bool:
    return any(len(weight.shape) > 1 for weight in getattr(layer, "weights", ()))


def _is_depthwise(layer: Any) -> bool:
    kinds = load_keras().layers
    return isinstance(layer, kinds.DepthwiseConv2D) or (
        isinstance(layer, kinds.Conv2D) and 1 < layer.groups == layer.filters
    )


def _is_padding(layer: Any) -> bool:
    return isinstance(layer, load_keras().layers.ZeroPadding2D)


def _begins(call: Call) -> bool:
    return _has_kernels(call.layer) or _is_padding(call.layer)


def _is_head(call: Call) -> bool:
    """Whether a layer gives one number for each channel, or no map at all."""
    kinds = load_keras().layers
    pooled = (kinds.GlobalAveragePooling2D, kinds.GlobalMaxPooling2D)
    return isinstance(call.layer, pooled) or not _is_map(call.output)
