import pickle

import numba
import numpy as np
import pytest

from slicing.backbones.backbone import Backbone
from slicing.backbones.network import Network
from slicing.errors import InputError
from slicing.quantization import LEVELS
from tests.slicing.backbones.networks import residual

onnx = pytest.importorskip("onnx")
pytest.importorskip("tf2onnx")

CUTS = ("first", "last")
IMAGES = np.random.default_rng(0).random((5, 12, 12, 3), np.float32)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    network = Network.of_model(residual(), (12, 12, 3), cache_dir=tmp_path_factory.mktemp("nets"))
    return network.backbone(CUTS)


def test_it_says_what_it_takes_gives_and_costs(backbone):
    assert backbone.input_shape == (12, 12, 3)
    assert backbone.map_shape == (1, 1, 9)
    assert backbone.channels == (4, 5)
    assert backbone.total_bytes == len(backbone.graph)
    # Batch normalization may be folded, and scaling pixels takes up to two numbers.
    kernels = 3 * 3 * 3 * 4 + 4 * 8 + 9 * 8 + 8 * 6 + 9 * 6 * 6 + 9 * 6 * 5
    assert kernels < backbone.n_parameters < kernels + 70


def test_many_images_give_what_each_gives(backbone, monkeypatch):
    monkeypatch.setattr("slicing.backbones.backbone._CHUNK", 2)
    maps = backbone.maps(IMAGES)
    alone = np.concatenate([backbone.maps(image[None]) for image in IMAGES])
    np.testing.assert_allclose(maps, alone, rtol=1e-6, atol=1e-6)
    assert backbone.maps(IMAGES[:0]).shape == (0, 1, 1, 9)


def test_bytes_and_shares_are_the_same_pixels(backbone):
    pixels = np.random.default_rng(1).integers(0, 256, (3, 12, 12, 3), np.uint8)
    shares = np.divide(pixels, np.float32(255), dtype=np.float32)
    np.testing.assert_array_equal(backbone.maps(pixels), backbone.maps(shares))


def test_it_pickles_after_use_and_gives_the_same(backbone):
    maps = backbone.maps(IMAGES)
    copy = pickle.loads(pickle.dumps(backbone))
    assert copy.digest == backbone.digest
    np.testing.assert_array_equal(copy.maps(IMAGES), maps)


def test_it_computes_with_the_threads_of_the_process(backbone, monkeypatch):
    import onnxruntime

    asked = []
    make = onnxruntime.InferenceSession

    def session(graph, options, **kwargs):
        asked.append(options.intra_op_num_threads)
        return make(graph, options, **kwargs)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    copy = pickle.loads(pickle.dumps(backbone))
    before = numba.get_num_threads()
    try:
        for threads in (1, 1, 2):
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            copy.maps(IMAGES)
    finally:
        numba.set_num_threads(before)
    assert asked == [1, 2][: numba.config.NUMBA_NUM_THREADS]


def test_names_do_not_change_the_digest_and_weights_do(backbone):
    named = Backbone("another", backbone.graph, ("a", "b"), backbone.channels)
    assert named.digest == backbone.digest
    assert backbone.quantized().digest != backbone.digest


def test_int8_weights_are_on_the_grid_of_their_kernel(backbone):
    small = backbone.quantized()
    assert small.n_parameters == backbone.n_parameters
    stored = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load_model_from_string(small.graph).graph.initializer
    }
    quantized = [array for array in stored.values() if array.dtype == np.int8]
    assert len(quantized) == 6
    for levels in quantized:
        # Every kernel uses the whole of its grid.
        assert (np.abs(levels.astype(int)).max(axis=(1, 2, 3)) == LEVELS).all()
    exact, rounded = backbone.maps(IMAGES), small.maps(IMAGES)
    error = np.linalg.norm(exact - rounded) / np.linalg.norm(exact)
    assert 0 < error < 0.02
    # It is its own rounding.
    np.testing.assert_array_equal(small.quantized().maps(IMAGES), rounded)


@pytest.mark.parametrize("pool", [1, 2, 3])
@pytest.mark.parametrize("is_int8", [False, True])
def test_a_mirrored_one_gives_the_means_of_both(tmp_path, pool, is_int8):
    plain = Network.of_model(residual(), (12, 12, 3), cache_dir=tmp_path).backbone(CUTS, pool)
    both = plain.mirrored()
    if is_int8:
        plain, both = plain.quantized(), both.quantized()
    assert both.map_shape == plain.map_shape
    assert both.n_parameters == plain.n_parameters
    wanted = (plain.maps(IMAGES) + plain.maps(IMAGES[:, :, ::-1])[:, :, ::-1]) / 2
    assert np.abs(wanted - plain.maps(IMAGES)).max() > 1e-3
    np.testing.assert_allclose(both.maps(IMAGES), wanted, atol=1e-6)


def test_int8_becomes_float32_once_when_the_graph_is_loaded(backbone, tmp_path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    small = backbone.quantized().graph
    onnxruntime.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "loaded.onnx").graph
    assert onnx.TensorProto.INT8 not in {each.data_type for each in graph.initializer}


def test_images_of_another_shape_are_refused(backbone):
    with pytest.raises(InputError, match=r"takes images of shape \(12, 12, 3\), not \(9, 9, 3\)"):
        backbone.maps(np.zeros((1, 9, 9, 3), np.float32))


def test_pixels_of_another_range_are_refused(backbone):
    with pytest.raises(InputError, match="must be from 0 to 1"):
        backbone.maps(IMAGES * 255)


def test_channels_of_others_are_refused(backbone):
    with pytest.raises(InputError, match="gives 9 channels, and its cuts have 4, 4"):
        Backbone("other", backbone.graph, CUTS, (4, 4))


def _with(graph, change):
    model = onnx.load_model_from_string(graph)
    change(model)
    return model.SerializeToString()


def _in_a_file(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.ClearField("raw_data")


def _of_others(model):
    model.graph.node[0].domain = "others"


def _random(model):
    model.graph.node.append(onnx.helper.make_node("RandomNormal", [], ["noise"], shape=[1]))


def _named(model):
    model.graph.output[0].name = model.graph.node[-1].output[0] = "other"


def _of_any_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"


def _two_inputs(model):
    model.graph.input.append(model.graph.input[0])
    model.graph.input[1].name = "more"


def _huge(model):
    for size in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
        size.dim_value = 100_000


def _constants(model, *arrays):
    names = [f"given {number}" for number in range(len(arrays))]
    for array, name in zip(arrays, names, strict=True):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(array), name))
    return names


def _add(model, operator, inputs, output, **attributes):
    model.graph.node.append(onnx.helper.make_node(operator, inputs, [output], **attributes))


def _added_to_the_maps(model, value):
    """Let the maps depend on a value."""
    (last,) = (node for node in model.graph.node if "maps" in node.output)
    last.output[:] = ["maps alone"]
    _add(model, "ReduceSum", [value], "sum", keepdims=0)
    _add(model, "Add", ["maps alone", "sum"], "maps")


def _bomb(model):
    """Sixteen gigabytes, of which one number is left."""
    _add(model, "ConstantOfShape", _constants(model, [2**32]), "bomb")
    _added_to_the_maps(model, "bomb")


def _slow_bomb(model):
    """What is small for one image, and grows with the fourth power of their number."""
    _add(model, "Shape", ["images"], "n", start=0, end=1)
    _add(model, "Mul", ["n", "n"], "square")
    _add(model, "Mul", ["square", "square"], "fourth")
    _add(model, "Mul", ["fourth", *_constants(model, [2**20])], "size")
    _add(model, "ConstantOfShape", ["size"], "bomb")
    _added_to_the_maps(model, "bomb")


def _bomb_of_seven(model):
    """What is large for seven images alone."""
    seven, one, large = _constants(model, [7], [1], [2**30])
    _add(model, "Shape", ["images"], "n", start=0, end=1)
    _add(model, "Equal", ["n", seven], "is seven")
    _add(model, "Where", ["is seven", large, one], "size")
    _add(model, "ConstantOfShape", ["size"], "bomb")
    _added_to_the_maps(model, "bomb")


def _lying_bomb(model):
    _bomb(model)
    kind = onnx.TensorProto.FLOAT
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("bomb", kind, [1]))


def _of_the_pixels(model):
    """As many numbers as the pixels say."""
    _add(model, "ReduceMax", ["images"], "brightest", keepdims=0)
    _add(model, "Cast", ["brightest"], "whole", to=onnx.TensorProto.INT64)
    _add(model, "Unsqueeze", ["whole", *_constants(model, [0])], "size")
    _add(model, "ConstantOfShape", ["size"], "bomb")
    _added_to_the_maps(model, "bomb")


def _sparse(model):
    tensor = onnx.helper.make_tensor("values", onnx.TensorProto.FLOAT, [1], [1.0])
    places = onnx.helper.make_tensor("places", onnx.TensorProto.INT64, [1], [0])
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(tensor, places, [1]))


def _tensors_in_files(model):
    attribute = model.graph.node[0].attribute.add(name="more", type=onnx.AttributeProto.TENSORS)
    attribute.tensors.add().external_data.add(key="location", value="/etc/passwd")


def _branch(model):
    body = onnx.helper.make_graph([], "body", [], [])
    model.graph.node.append(
        onnx.helper.make_node("If", ["c"], ["d"], then_branch=body, else_branch=body)
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_in_a_file, "has parts outside itself"),
        (_of_others, "has the operator"),
        (_random, "has the operator RandomNormal"),
        (_branch, "has the operator If"),
        (lambda model: model.functions.add(name="f"), "has parts outside itself"),
        (lambda model: model.graph.node.pop(), "no whole ONNX graph"),
        (_named, "does not give maps alone"),
        (_two_inputs, "does not take images alone"),
        (_of_any_size, "images are of no fixed size"),
        (_sparse, "has parts outside itself"),
        (_tensors_in_files, "has parts outside itself"),
        (_bomb, r"takes 16\.0 GB for a single map of an image: use smaller images"),
        (_lying_bomb, "takes 16.0 GB for a single map"),
        (_slow_bomb, r"takes [\d.,]+ GB for a single map"),
        (_of_the_pixels, "the operator ConstantOfShape, and the size"),
        (_huge, "is not known before it is computed"),
    ],
)
def test_a_graph_that_could_do_more_than_compute_is_refused(backbone, change, sentence):
    with pytest.raises(InputError, match=sentence):
        Backbone("foreign", _with(backbone.graph, change), CUTS, backbone.channels)


def test_a_graph_that_is_large_for_some_numbers_of_images_alone_is_not_computed(backbone):
    foreign = Backbone("foreign", _with(backbone.graph, _bomb_of_seven), CUTS, backbone.channels)
    images = np.zeros((7, *backbone.input_shape), np.uint8)
    np.testing.assert_array_equal(foreign.maps(images[:6]), backbone.maps(images[:6]))
    with pytest.raises(InputError, match=r"takes 4\.0 GB for a single map of 7 images at"):
        foreign.maps(images)


def _misfit(model):
    kernels = next(each for each in model.graph.initializer if len(each.dims) == 4)
    kernels.dims[:] = [1, *kernels.dims[1:3], kernels.dims[3] * kernels.dims[0]]


def _less(model):
    (maps,) = model.graph.output
    maps.type.tensor_type.shape.dim[1].dim_value = 7


@pytest.mark.parametrize("change", [_misfit, _less])
def test_a_graph_that_does_not_fit_together_is_one_sentence(backbone, change):
    foreign = Backbone("foreign", _with(backbone.graph, change), CUTS, backbone.channels)
    with pytest.raises(InputError, match=r"^The backbone foreign cannot be computed \(.*\): make"):
        foreign.maps(IMAGES)


@pytest.mark.parametrize("graph", [b"", b"\x00", b"no graph at all", b"\x08\x08"])
def test_what_is_no_graph_is_refused(graph):
    with pytest.raises(InputError, match="make it again"):
        Backbone("foreign", graph, ("a",), (1,))
