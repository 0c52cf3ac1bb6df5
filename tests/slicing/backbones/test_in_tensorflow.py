import numpy as np
import pytest

from slicing.backbones.in_tensorflow import as_tensorflow
from slicing.backbones.network import Network
from slicing.backend import load_keras
from slicing.engine.onnx_graph import OnnxGraph
from slicing.errors import InputError
from tests.slicing.backbones.networks import randomized, residual

onnx = pytest.importorskip("onnx")
pytest.importorskip("tf2onnx")

SHAPE = (12, 12, 3)
IMAGES = np.random.default_rng(0).random((3, *SHAPE), np.float32)


def varied():
    """Make a network of many kinds of layers."""
    keras = load_keras()
    layers = keras.layers
    images = keras.Input(SHAPE)
    out = layers.ZeroPadding2D(((0, 1), (2, 1)))(images)
    out = layers.Conv2D(4, 3, 2, name="first")(out)
    gate = layers.GlobalAveragePooling2D()(out)
    gate = layers.Dense(4, "hard_sigmoid")(layers.Reshape((1, 1, 4))(gate))
    out = start = layers.Multiply()([out, gate])
    out = layers.MaxPooling2D(3, 1, "same")(out)
    other = layers.AveragePooling2D(2, 1, "same")(start)
    out = layers.Concatenate()([out, layers.LeakyReLU()(other), layers.ELU(0.5)(start)])
    out = layers.LayerNormalization()(out)
    out = layers.SeparableConv2D(6, 3, padding="same", activation="gelu", dilation_rate=2)(out)
    out = layers.DepthwiseConv2D(3, depth_multiplier=2, activation="tanh")(out)
    out = layers.Conv2D(8, 1, groups=2, activation="hard_swish", name="last")(out)
    return randomized(keras.Model(images, out, name="varied"))


@pytest.fixture(scope="module", params=[residual, varied])
def backbone(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks")
    return Network.of_model(request.param(), SHAPE, cache_dir=folder).backbone(["first", "last"], 2)


@pytest.mark.parametrize("change", [[], ["quantized"], ["mirrored"], ["mirrored", "quantized"]])
def test_tensorflow_computes_the_same_maps(backbone, change):
    import tensorflow as tf

    for name in change:
        backbone = getattr(backbone, name)()
    wanted = backbone.maps(IMAGES)
    found = as_tensorflow(backbone)(tf.constant(IMAGES)).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_litert_computes_the_same_maps_without_a_transposition_beside_convolutions(backbone):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    import tensorflow as tf

    function = tf.function(
        as_tensorflow(backbone), input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32)]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], tf.Module()
    )
    interpreter = litert.Interpreter(model_content=converter.convert())
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], IMAGES.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], IMAGES)
    interpreter.invoke()
    wanted = backbone.maps(IMAGES)
    found = interpreter.get_tensor(made["index"])
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    kinds = [each["op_name"] for each in interpreter._get_ops_details()]
    # Those of the pooled maps, which are put side by side.
    assert kinds.count("TRANSPOSE") <= 3


def test_litert_computes_the_same_maps_of_mirrored_images(backbone):
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    import tensorflow as tf

    both = backbone.mirrored()
    function = tf.function(
        as_tensorflow(both), input_signature=[tf.TensorSpec((None, *SHAPE), tf.float32, "images")]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], tf.Module()
    )
    runner = litert.Interpreter(model_content=converter.convert()).get_signature_runner()
    (found,) = runner(images=IMAGES).values()
    wanted = both.maps(IMAGES)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())


def test_an_operator_that_is_not_known_is_named(backbone):
    model = onnx.load_model_from_string(backbone.graph)
    for node in model.graph.node:
        node.op_type = {"Relu": "Ceil", "Clip": "Ceil"}.get(node.op_type, node.op_type)
        if node.op_type == "Ceil":
            del node.input[1:]
    other = type(backbone)("other", model.SerializeToString(), backbone.cuts, backbone.channels)
    with pytest.raises(InputError, match=r"The operator Ceil of the backbone other"):
        as_tensorflow(other)


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_graph_takes_a_backbone_in(backbone, is_mirrored):
    import onnxruntime

    backbone = backbone.mirrored() if is_mirrored else backbone
    graph = OnnxGraph()
    # Twice: names do not meet.
    both = graph.add(
        "Concat",
        *(graph.add_graph("images", backbone.graph) for _ in range(2)),
        axis=3,
        name="maps",
    )
    height, width, channels = backbone.map_shape
    content = graph.finish("images", SHAPE, {both: (np.float32, (height, width, 2 * channels))})
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": IMAGES})
    wanted = backbone.maps(IMAGES)
    for half in np.split(found, 2, axis=3):
        np.testing.assert_allclose(half, wanted, atol=1e-6 * np.abs(wanted).max())
