"""ONNX graphs, node by node."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slicing.backbones.graph import INPUT, IR_VERSION, OPSET, OUTPUT, load_onnx, parsed
from slicing.shifts import corners
from slicing.stack import Conv, ConvStack


class OnnxGraph:
    """A graph under construction: nodes and constants in the order in which they are computed.

    Raises
    ------
    InputError
        Where the package onnx is not installed.
    """

    def __init__(self) -> None:
        self._onnx = load_onnx()
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        """Store a value; give its name."""
        name = f"constant{len(self._constants)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.asarray(value), name))
        return name

    def stored(self, numbers: NDArray[Any], step: NDArray[np.float32] | None) -> str:
        """Store float32 numbers, or int8 ones that the graph multiplies by steps along axis 0.

        Not by ``DequantizeLinear``, which ONNX Runtime computes at each call and not once.
        """
        name = self.constant(np.ascontiguousarray(numbers))
        if step is None:
            return name
        others = tuple(range(1, numbers.ndim)) if step.ndim else ()
        cast = self.add("Cast", name, to=self._onnx.TensorProto.FLOAT)
        return self.add("Mul", cast, self.constant(np.expand_dims(step, others)))

    def add(
        self, operator: str, *inputs: str, name: str = "", outputs: int = 1, **attributes: Any
    ) -> str:
        """Add a node; give the name of its last output."""
        name = name or f"{operator}{len(self._nodes)}"
        names = [f"{name}_{number}" for number in range(1, outputs)] + [name]
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, names, **attributes))
        return names[-1]

    def add_stack(
        self,
        images: str,
        stack: ConvStack,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        average: int = 0,
    ) -> str:
        """Send images (n, height, width, channels) through a conv stack: features (n, n_features).

        Parameters
        ----------
        images : str
        stack : ConvStack
        arrays : mapping, optional
            The kernels and steps as they are stored, see ``Engine.conv_arrays``; by default the
            kernels of the stack.
        average : int, default=0
            The features are averaged over copies shifted by up to so many pixels each way, as by
            :func:`slicing.shifts.averaged`.
        """
        out = self.add("Transpose", images, perm=(0, 3, 1, 2))
        if average:
            out = self._copies(out, stack.input_shape, average)
        arrays = arrays or {}
        number = 0
        for layer in stack.layers:
            padding = {"valid": "VALID", "same": "SAME_UPPER"}[layer.padding]
            if isinstance(layer, Conv):
                number += 1
                kernels = arrays.get(f"kernels{number}", layer.weights).transpose(3, 2, 0, 1)
                weights = self.stored(kernels, arrays.get(f"steps{number}"))
                bias = self.constant(layer.bias)
                out = self.add("Conv", out, weights, bias, strides=layer.strides, auto_pad=padding)
                out = self.add("Relu", out) if layer.relu else out
            else:
                kind = {"max": "MaxPool", "average": "AveragePool"}[layer.kind]
                out = self.add(
                    kind, out, kernel_shape=layer.size, strides=layer.strides, auto_pad=padding
                )
        features = self.add("Flatten", self.add("Transpose", out, perm=(0, 2, 3, 1)))
        if average:
            shape = np.array([len(corners(average)), -1, int(np.prod(stack.feature_shape))])
            features = self.add("Reshape", features, self.constant(shape))
            features = self.add("ReduceMean", features, axes=(0,), keepdims=0)
        return features

    def add_graph(self, images: str, backbone: bytes) -> str:
        """Send images (n, height, width, channels) through a backbone: maps of its shape.

        Parameters
        ----------
        images : str
        backbone : bytes
            See :class:`~slicing.backbones.backbone.Backbone`.
        """
        graph = parsed(backbone).graph
        names = {"": "", INPUT: images}
        for weights in graph.initializer:
            names[weights.name] = self.constant(self._onnx.numpy_helper.to_array(weights))
        for node in graph.node:
            made = f"{node.op_type}{len(self._nodes)}"
            names |= {name: f"{made}_{number}" for number, name in enumerate(node.output) if name}
            copy = type(node)()
            copy.CopyFrom(node)
            copy.input[:] = [names[name] for name in node.input]
            copy.output[:] = [names[name] for name in node.output]
            self._nodes.append(copy)
        return names[OUTPUT]

    def _copies(self, images: str, shape: Sequence[int], shift: int) -> str:
        """Put all shifted copies of images (n, channels, height, width) one after another."""
        margin = self.constant(np.array([0, 0, shift, shift] * 2))
        padded = self.add("Pad", images, margin, mode="edge")
        axes = self.constant(np.array([2, 3]))
        copies = []
        for corner in corners(shift):
            starts, ends = np.array(corner), np.array(corner) + shape[:2]
            copies.append(
                self.add("Slice", padded, self.constant(starts), self.constant(ends), axes)
            )
        return self.add("Concat", *copies, axis=0)

    def finish(
        self,
        images: str,
        input_shape: Sequence[int],
        outputs: Mapping[str, tuple[type, tuple[int, ...]]],
        properties: Mapping[str, str] | None = None,
    ) -> bytes:
        """Make a model of the graph, and check it.

        Parameters
        ----------
        images : str
            Name of the input, float32.
        input_shape : sequence of int
            Height, width and channels of an image.
        outputs : mapping of str to (type, tuple of int)
            NumPy type, and shape without the first axis.
        properties : mapping of str to str, optional
            Metadata.

        Returns
        -------
        bytes
            The content of a ``.onnx`` file.
        """
        helper = self._onnx.helper

        def value(name: str, kind: type, shape: Sequence[int]) -> Any:
            element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
            return helper.make_tensor_value_info(name, element, ["n", *shape])

        graph = helper.make_graph(
            self._nodes,
            "engine",
            [value(images, np.float32, input_shape)],
            [value(name, *kind_and_shape) for name, kind_and_shape in outputs.items()],
            self._constants,
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="knn-slicing",
        )
        helper.set_model_props(model, dict(properties or {}))
        self._onnx.checker.check_model(model)
        return bytes(model.SerializeToString())
