"""ONNX graphs of backbones: cut, pooled, mirrored, in int8, and each in one form only.

A graph here takes ``images`` (n, height, width, channels) and keeps the names of its outputs;
:func:`canonical` numbers everything else. So equal networks are equal bytes, and the SHA-256 of the
bytes tells them apart.
"""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from slicing.errors import InputError, NotInstalledError, installing
from slicing.quantization import levels, step_of
from slicing.stack import Shape

INPUT, OUTPUT = "images", "maps"
# An opset and a version of the format that current runtimes read.
OPSET, IR_VERSION = 17, 8

_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
# Operators whose answers differ from call to call.
_RANDOM = {"Bernoulli", "Multinomial"}


def load_onnx() -> Any:
    """Import onnx.

    Returns
    -------
    module
        ``onnx``.

    Raises
    ------
    InputError
        Where it is not installed.
    """
    try:
        import onnx
        import onnx.reference
    except ImportError as error:
        raise NotInstalledError(
            f"ONNX is not installed: {installing('onnx')}, or '.[pretrained]' to cut networks, too."
        ) from error
    return onnx


def parsed(graph: bytes) -> Any:
    """Read a graph that computes by ONNX's own operators alone, and always the same.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    InputError
        For what is no graph, reads other files, has operators of others, loops or branches, or
        draws random numbers.
    """
    onnx = load_onnx()
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(graph)
    except DecodeError as error:
        raise InputError("The backbone is no ONNX graph: make it again.") from error
    nodes = model.graph.node
    attributes = [each for node in nodes for each in node.attribute]
    tensors = [*model.graph.initializer]
    tensors += [tensor for each in attributes for tensor in (each.t, *each.tensors)]
    is_sparse = model.graph.sparse_initializer or any(
        each.HasField("sparse_tensor") or each.sparse_tensors for each in attributes
    )
    # A sparse tensor consists of others, which could be in files as well.
    if model.functions or is_sparse or any(each.external_data for each in tensors):
        raise InputError("The backbone's graph has parts outside itself: make it again.")
    for node in nodes:
        kind = node.op_type
        if (
            node.domain
            or not onnx.defs.has(kind)
            or kind.startswith("Random")
            or kind in _RANDOM
            or any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
        ):
            raise InputError(
                f"The backbone's graph has the operator {kind}, and may have those that ONNX "
                "Runtime computes from the images alone: use a network without."
            )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise InputError("The backbone is no whole ONNX graph: make it again.") from error
    if [each.name for each in model.graph.input] != [INPUT]:
        raise InputError(f"The backbone's graph does not take {INPUT} alone: make it again.")
    return model


def canonical(model: Any) -> bytes:
    """Drop what no output needs, and number all values in the order in which they are needed.

    Parameters
    ----------
    model : onnx.ModelProto
        With one input.

    Returns
    -------
    bytes
    """
    onnx = load_onnx()
    helper, arrays = onnx.helper, onnx.numpy_helper
    made_by = {name: node for node in model.graph.node for name in node.output if name}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        node.input[:] = [_source(name, made_by) for name in node.input]
    (images,) = model.graph.input
    names = {"": "", images.name: INPUT}
    names |= {output.name: output.name for output in model.graph.output}
    nodes, stored = list[Any](), list[Any]()
    for wanted in _in_order([output.name for output in model.graph.output], made_by):
        if wanted in weights:
            names.setdefault(wanted, f"w{len(stored)}")
            stored.append(arrays.from_array(arrays.to_array(weights[wanted]), names[wanted]))
        elif wanted in made_by:
            node = made_by[wanted]
            for number, name in enumerate(node.output):
                names.setdefault(name, f"v{len(nodes)}" + (f"_{number}" if number else ""))
            copy = helper.make_node(
                node.op_type, [names[n] for n in node.input], [names[n] for n in node.output]
            )
            copy.attribute.extend(sorted(node.attribute, key=lambda attribute: attribute.name))
            nodes.append(copy)
    graph = helper.make_graph(
        nodes, "backbone", [_value(INPUT, _shape(images))], [*model.graph.output], stored
    )
    return bytes(
        helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="knn-slicing",
        ).SerializeToString(deterministic=True)
    )


def numbered(model: Any) -> bytes:
    """Give a graph in canonical form whose outputs are called 0, 1 and so on.

    What is computed of weights alone is computed here.

    Parameters
    ----------
    model : onnx.ModelProto
        It is changed.
    """
    onnx, graph = load_onnx(), model.graph
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in graph.initializer}
    nodes = [*graph.node]
    del graph.node[:]
    for node in nodes:
        inputs = {name: weights[name] for name in node.input if name in weights}
        if inputs and len(inputs) == len({*node.input}):
            values = onnx.reference.ReferenceEvaluator(node).run(None, inputs)
            for name, value in zip(node.output, values, strict=True):
                weights[name] = value
                graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        else:
            graph.node.append(node)
    for number, output in enumerate(graph.output):
        graph.node.append(onnx.helper.make_node("Identity", [output.name], [str(number)]))
        output.name = str(number)
    return canonical(model)


def _source(name: str, made_by: dict[str, Any]) -> str:
    """Give the value that a value is a copy of."""
    while (node := made_by.get(name)) and node.op_type == "Identity":
        name = node.input[0]
    return name


def _in_order(outputs: Sequence[str], made_by: dict[str, Any]) -> Iterator[str]:
    """Yield each value after those it is made of, one name for each node."""
    done = set[str]()
    waiting = [(name, False) for name in reversed(outputs)]
    while waiting:
        name, is_ready = waiting.pop()
        node = made_by.get(name)
        key = node.output[0] if node else name
        if key in done:
            continue
        if is_ready or node is None:
            done.add(key)
            yield key
        else:
            waiting.append((name, True))
            waiting += [(each, False) for each in reversed(node.input) if each]


def shapes(model: Any) -> dict[str, Shape]:
    """Give the shapes of a graph's outputs (height, width, channels), by name."""
    return {output.name: _shape(output) for output in model.graph.output}


def input_shape(model: Any) -> Shape:
    """Give height, width and channels of the images that a graph takes."""
    return _shape(model.graph.input[0])


def cut_and_pooled(network: Any, cuts: Sequence[str], pool: int | None) -> bytes:
    """Cut a graph at some of its outputs, average-pool each, and put them side by side.

    Parameters
    ----------
    network : onnx.ModelProto
        Its outputs are maps (n, height, width, channels); it is changed.
    cuts : sequence of str
        Names of outputs.
    pool : int or None
        Rows and columns of the pooled maps. With s = ⌊length / pool⌋, windows of
        length - (pool - 1) s numbers, s apart, cover each axis. None: as many as the maps have.

    Returns
    -------
    bytes
        In canonical form, with the output ``maps`` (n, rows, columns, channels).
    """
    helper, graph = load_onnx().helper, network.graph
    made_by = {name: node for node in graph.node for name in node.output}
    sizes = shapes(network)

    def add(operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"pooled {len(graph.node)}"
        graph.node.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    rows, columns = sizes[cuts[0]][:2] if pool is None else (pool, pool)
    pooled = []
    for cut in cuts:
        source = _source(cut, made_by)
        node = made_by[source]
        if node.op_type == "Transpose" and tuple(node.attribute[0].ints) == _TO_CHANNELS_LAST:
            maps = node.input[0]
        else:
            maps = add("Transpose", source, perm=_TO_CHANNELS_FIRST)
        height, width, _ = sizes[cut]
        strides = [height // rows, width // columns]
        window = [height - (rows - 1) * strides[0], width - (columns - 1) * strides[1]]
        pooled.append(add("AveragePool", maps, kernel_shape=window, strides=strides))
    joined = add("Concat", *pooled, axis=1)
    add("Transpose", joined, output=OUTPUT, perm=_TO_CHANNELS_LAST)
    del graph.output[:]
    channels = sum(sizes[cut][2] for cut in cuts)
    graph.output.append(_value(OUTPUT, (rows, columns, channels)))
    return canonical(network)


def mirrored(model: Any) -> bytes:
    """Let a graph give the mean of its maps of an image and of its mirror image, left to right.

    Both go through it side by side, like two images; the maps of the second are mirrored back.

    Parameters
    ----------
    model : onnx.ModelProto
        It is changed.

    Returns
    -------
    bytes
        In canonical form.
    """
    onnx, graph = load_onnx(), model.graph
    nodes = [*graph.node]
    del graph.node[:]

    def constant(*values: int) -> str:
        name = f"constant {len(graph.initializer)}"
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(values), name))
        return name

    def add(operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"mirrored {len(graph.node)}"
        graph.node.append(onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output

    # From the last column to the one before the first.
    end = np.iinfo(np.int64).min
    mirror = add("Slice", INPUT, constant(-1), constant(end), constant(2), constant(-1))
    both = add("Concat", INPUT, mirror, axis=0)
    for node in nodes:
        node.input[:] = [both if name == INPUT else name for name in node.input]
        node.output[:] = ["maps of both" if name == OUTPUT else name for name in node.output]
    graph.node.extend(nodes)
    pairs = add("Reshape", "maps of both", constant(2, -1, *shapes(model)[OUTPUT]))
    maps = add("Slice", pairs, constant(0), constant(1), constant(0))
    mirrored_back = add(
        "Slice", pairs, constant(1, -1), constant(2, end), constant(0, 3), constant(1, -1)
    )
    joined = add("Concat", maps, mirrored_back, axis=0)
    add("ReduceMean", joined, axes=[0], keepdims=0, output=OUTPUT)
    return canonical(model)


def quantized(model: Any) -> bytes:
    """Store the weights of convolutions and dense layers as int8 levels, with a step a kernel.

    ``Cast`` and ``Mul`` make float32 of them, which runtimes do once, when the graph is loaded.
    What ``DequantizeLinear`` says they would do at each call: lite0 took three times as long.

    Parameters
    ----------
    model : onnx.ModelProto
        It is changed.

    Returns
    -------
    bytes
        In canonical form.
    """
    onnx, graph = load_onnx(), model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    gridded = set[str]()
    for node in list(graph.node):
        axis = _kernel_axis(node)
        if axis is None or node.input[1] not in weights:
            continue
        name = node.input[1]
        values = onnx.numpy_helper.to_array(weights[name])
        if values.ndim < 2 or values.dtype != np.float32:
            continue
        on_grid = f"{name} on its grid {axis}"
        if on_grid not in gridded:
            gridded.add(on_grid)
            others = tuple(each for each in range(values.ndim) if each != axis)
            step = np.expand_dims(step_of(values, others), others)
            for array, stored in (
                (levels(values, step), f"{on_grid}: levels"),
                (step, f"{on_grid}: steps"),
            ):
                graph.initializer.append(onnx.numpy_helper.from_array(array, stored))
            numbers = f"{on_grid}: numbers"
            kind = onnx.TensorProto.FLOAT
            graph.node.append(
                onnx.helper.make_node("Cast", [f"{on_grid}: levels"], [numbers], to=kind)
            )
            graph.node.append(
                onnx.helper.make_node("Mul", [numbers, f"{on_grid}: steps"], [on_grid])
            )
        node.input[1] = on_grid
    return canonical(model)


def _kernel_axis(node: Any) -> int | None:
    """Give the axis of a node's weights that counts its kernels; None where it has none."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if any(each.name == "transB" and each.i for each in node.attribute) else 1
    return 1 if node.op_type == "MatMul" else None


def n_parameters(model: Any) -> int:
    """Count the weights, biases and other numbers of a graph; steps of a grid are none."""
    kinds = load_onnx().TensorProto
    stored = {each.name for each in model.graph.initializer if each.data_type == kinds.INT8}
    cast = {node.output[0] for node in model.graph.node if stored & {*node.input[:1]}}
    steps = {node.input[1] for node in model.graph.node if cast & {*node.input[:1]}}
    return sum(
        prod(tensor.dims)
        for tensor in model.graph.initializer
        if tensor.data_type in (kinds.FLOAT, kinds.INT8) and tensor.name not in steps
    )


def _value(name: str, shape: Shape) -> Any:
    onnx = load_onnx()
    return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", *shape])


def _shape(value: Any) -> Shape:
    sizes = [each.dim_value for each in value.type.tensor_type.shape.dim]
    if len(sizes) != 4 or min(sizes[1:]) < 1:
        raise InputError(f"The backbone's {value.name} are of no fixed size: make it again.")
    return sizes[1], sizes[2], sizes[3]
