"""From a Keras network to one ONNX graph that gives the maps at all its cuts."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from slicing.backbones import graph as graphs
from slicing.backbones.tracing import Trace
from slicing.backend import load_keras, withheld_stderr
from slicing.errors import InputError, installing
from slicing.stack import Shape

if TYPE_CHECKING:
    import keras


class Scaling(NamedTuple):
    """How pixels in [0, 1] become what a network takes: factor times pixel plus offset.

    Attributes
    ----------
    factors, offsets : tuple of float
        For each channel that the network takes; one stands for all.
    order : tuple of int or None
        Which channel of the images each is; None: the same.
    """

    factors: tuple[float, ...] = (1.0,)
    offsets: tuple[float, ...] = (0.0,)
    order: tuple[int, ...] | None = None

    def __call__(self, images: Any) -> Any:
        """Scale a tensor of images."""
        import tensorflow as tf

        if self.order is not None:
            images = tf.gather(images, self.order, axis=-1)
        return images * tf.constant(self.factors) + tf.constant(self.offsets)


UNSCALED = Scaling()
"""For a network that takes pixels in [0, 1]."""


class Converted(NamedTuple):
    """A network's graph.

    Attributes
    ----------
    graph : bytes
        Its outputs are the maps at the cuts, by number.
    cuts : tuple of str
    """

    graph: bytes
    cuts: tuple[str, ...]


def convert(
    model: "keras.Model",
    image_shape: Shape,
    scaling: Scaling,
    wanted: Sequence[str] = (),
    head: str | None = None,
) -> Converted:
    """Convert a network up to its last cut.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, with one input.
    image_shape : (int, int, int)
    scaling : Scaling
    wanted : sequence of str
        Layers where to cut; none: the model's own cuts, see :meth:`Trace.cuts`.
    head : str, optional
        A layer that is added to these.

    Returns
    -------
    Converted

    Raises
    ------
    InputError
        Where a wanted layer is not there or gives no maps, where there is no place to cut, or
        where the network computes what ONNX cannot.
    """
    load_keras()
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    tf2onnx = _load_tf2onnx()
    cuts = list[str]()

    def network(images: Any) -> list[Any]:
        trace = Trace()
        trace.run(model, scaling(images))
        maps = trace.maps()
        cuts[:] = _checked(wanted, maps, model.name) if wanted else trace.cuts()
        if not cuts:
            raise InputError(
                f"The network {model.name!r} has no layer with maps of a fixed size that all "
                "behind it is made of: give one with convolutions."
            )
        if head is not None and head not in cuts:
            cuts.append(head)
        return [maps[cut] for cut in cuts]

    images = tf.TensorSpec((None, *image_shape), tf.float32, graphs.INPUT)
    with _quiet():
        try:
            # Functions within: Keras has one for convolutions in groups.
            with _inlined(tf.config):
                function = tf.function(network, autograph=False).get_concrete_function(images)
            # Also what was captured as a constant: tf2onnx would make inputs of it.
            frozen = convert_variables_to_constants_v2(function)
            # Its optimizers are left out: ONNX Runtime has its own, and they take long.
            converted = tf2onnx.tfonnx.process_tf_graph(
                frozen.graph,
                opset=graphs.OPSET,
                input_names=[tensor.name for tensor in frozen.inputs],
                output_names=[tensor.name for tensor in frozen.outputs],
                custom_op_handlers={"Erfc": (_erfc, [])},
            ).make_model(model.name)
        except InputError:
            raise
        except Exception as error:  # what layers of others raise is open-ended
            reason = (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
            raise InputError(
                f"The network {model.name!r} cannot be converted to ONNX ({reason}): use one of "
                "Keras' own layers, with a fixed size of images and no random numbers."
            ) from error
    graph = graphs.numbered(converted)
    graphs.parsed(graph)
    return Converted(graph, tuple(cuts))


def _checked(wanted: Sequence[str], maps: dict[str, Any], network: str) -> Sequence[str]:
    for cut in wanted:
        if cut not in maps:
            near = get_close_matches(cut, maps, n=3)
            way_out = f"did you mean {' or '.join(near)}?" if near else f"one is {[*maps][-1]}."
            raise InputError(
                f"cuts={cut} is no layer of {network} that gives maps of a fixed size: {way_out}",
                "cuts",
            )
    return wanted


def _load_tf2onnx() -> Any:
    try:
        import tf2onnx.tfonnx
    except ImportError as error:
        raise InputError(
            "tf2onnx is not installed, and networks are converted by it: "
            f"{installing('pretrained')}"
        ) from error
    return tf2onnx


def _erfc(graph: Any, node: Any, name: str, _: Any) -> None:
    """Convert 1 - erf, which Keras' GELU has and tf2onnx does not know."""
    erf = graph.make_node("Erf", [node.input[0]], name=f"{name} erf")
    one = graph.make_const(f"{name} one", np.ones((), np.float32))
    shapes, types = [graph.get_shape(node.output[0])], [graph.get_dtype(node.output[0])]
    graph.remove_node(name)
    inputs = [one.output[0], erf.output[0]]
    graph.make_node("Sub", inputs, name=name, outputs=node.output, shapes=shapes, dtypes=types)


@contextmanager
def _inlined(config: Any) -> Iterator[None]:
    """Let functions of TensorFlow within another one become part of it."""
    before = config.functions_run_eagerly()
    config.run_functions_eagerly(True)
    try:
        yield
    finally:
        config.run_functions_eagerly(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Withhold what TensorFlow and tf2onnx say of their steps."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with withheld_stderr():
            yield
    finally:
        logging.disable(level)
