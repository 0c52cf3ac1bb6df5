"""A backbone whose maps are easily said: the mean color of an image, and mixtures of it."""

import numpy as np

from slicing.backbones import graph
from slicing.backbones.backbone import Backbone

MIXTURES = np.array([[1, 2], [3, 4], [5, 6]], np.float32)


def mean_colors(side=6, factor=2.0, cuts=("color", "mixed"), pool=1):
    """Give ``factor`` times the mean color (``color``), and two mixtures of it (``mixed``)."""
    onnx = graph.load_onnx()
    helper, arrays = onnx.helper, onnx.numpy_helper
    kind = onnx.TensorProto.FLOAT
    images = helper.make_tensor_value_info(graph.INPUT, kind, ["n", side, side, 3])
    sizes = {"0": 3, "1": 2}
    network = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Mul", [graph.INPUT, "factor"], ["0"]),
                helper.make_node("MatMul", ["0", "mixtures"], ["1"]),
            ],
            "colors",
            [images],
            [
                helper.make_tensor_value_info(name, kind, ["n", side, side, channels])
                for name, channels in sizes.items()
            ],
            [
                arrays.from_array(np.array([factor], np.float32), "factor"),
                arrays.from_array(MIXTURES, "mixtures"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", graph.OPSET)],
        ir_version=graph.IR_VERSION,
    )
    names = [{"color": "0", "mixed": "1"}[cut] for cut in cuts]
    content = graph.cut_and_pooled(network, names, pool)
    return Backbone("colors", content, tuple(cuts), tuple(sizes[name] for name in names))
