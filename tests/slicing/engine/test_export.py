import json
import os

import numpy as np
import pytest

from slicing.baselines import UntrainedCNN
from slicing.data import Images, mnist, mnist5k
from slicing.engine.engine import Engine
from slicing.engine.export import to_litert, to_onnx
from slicing.engine.reduction import project
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Pool

CLASSES = ("a", "b", "c")


def make_engine(metric="euclidean", storage="float32", projected=False, average=0):
    rng = np.random.default_rng(0)

    def conv(n_in, n_out, *options, **more):
        weights = rng.normal(size=(3, 3, n_in, n_out)).astype(np.float32)
        return Conv(weights, rng.normal(size=n_out).astype(np.float32), *options, **more)

    stack = ConvStack(
        (
            conv(2, 4), Pool("average", (3, 2), (2, 1), "same"),
            conv(4, 5, (2, 1), "same", relu=False), Pool("max", (2, 2), (1, 1), "same"),
            conv(5, 3, (1, 1), "valid"),
        ), (11, 8, 2),
    )  # fmt: skip
    train = Images(rng.random((90, 11, 8, 2), dtype=np.float32), np.arange(90) % 3)
    if projected:
        stack = project(stack, train, "pca", 6)
    return Engine.fit(stack, train, CLASSES, 5, metric, storage, average)


def run_onnx(content, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert len(json.loads(session.get_modelmeta().custom_metadata_map["classes"])) > 1
    return session.run(["label", "votes"], {"images": images})


def run_litert(content, images):
    from ai_edge_litert.interpreter import Interpreter

    found = Interpreter(model_content=content).get_signature_runner()(images=images)
    return found["label"], found["votes"]


@pytest.mark.parametrize(("convert", "execute"), [(to_onnx, run_onnx), (to_litert, run_litert)])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize(("projected", "average"), [(False, 0), (True, 0), (True, 2)])
def test_the_graph_votes_as_the_engine_does(convert, execute, metric, storage, projected, average):
    engine = make_engine(metric, storage, projected, average)
    images = np.random.default_rng(1).random((300, 11, 8, 2), dtype=np.float32)
    label, votes = execute(convert(engine), images)
    np.testing.assert_array_equal(votes, engine.votes(images))
    np.testing.assert_array_equal(label, engine.predict_labels(images))
    # And one image alone.
    label, votes = execute(convert(engine), images[:1])
    np.testing.assert_array_equal(votes, engine.votes(images[:1]))


@pytest.mark.parametrize(("convert", "execute"), [(to_onnx, run_onnx), (to_litert, run_litert)])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_graph_classifies_all_test_images_as_the_engine_does(convert, execute, metric):
    # All references once; to compare with so many takes a while.
    n = 4000 if (metric, convert) == ("euclidean", to_onnx) else 1000
    data = mnist(train_size=n) if "MNIST_DIR" in os.environ else mnist5k(train_size=n)
    stack = UntrainedCNN(filters=(8, 16)).build(data.train, data.classes).stack
    images = data.read_test().images
    for engine in (
        Engine.fit(stack, data.train, data.classes, 9, metric),
        Engine.fit(stack, data.train[:500], data.classes, 1, metric, "int8"),
    ):
        content = convert(engine)
        found = [execute(content, images[i : i + 500])[0] for i in range(0, len(images), 500)]
        np.testing.assert_array_equal(np.concatenate(found), engine.predict_labels(images))


def test_int8_stays_int8_in_onnx():
    small, large = (len(to_onnx(make_engine(storage=each))) for each in ("int8", "float32"))
    engine = make_engine()
    saved = 3 * (engine.references.size + sum(conv.weights.size for conv in engine.stack.convs))
    # The steps, and the nodes that multiply by them, take some of it.
    assert 0.85 * saved < large - small < saved


def test_the_files_say_which_pixels_they_take():
    import onnx
    from tensorflow.lite.tools import flatbuffer_utils

    rule = "float32 from 0 to 1, which is not checked"
    model = onnx.load_from_string(to_onnx(make_engine()))
    assert rule in {each.key: each.value for each in model.metadata_props}["pixels"]
    content = bytearray(to_litert(make_engine()))
    assert rule in flatbuffer_utils.read_model_from_bytearray(content).description.decode()


def test_int8_becomes_float32_once_when_the_graph_is_loaded(tmp_path):
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "loaded.onnx")
    content = to_onnx(make_engine(storage="int8"))
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "loaded.onnx").graph
    assert onnx.TensorProto.INT8 not in {each.data_type for each in graph.initializer}


def test_a_missing_onnx_is_one_sentence(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        InputError,
        match=r"ONNX is not installed: \S+ -m pip install -c constraints.txt -e '\.\[onnx\]'",
    ):
        to_onnx(make_engine())
