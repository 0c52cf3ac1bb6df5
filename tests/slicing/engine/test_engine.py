import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_info

from slicing import files, tensor_file
from slicing.data import Images
from slicing.engine.engine import Engine, quantized
from slicing.errors import InputError
from slicing.shifts import averaged
from slicing.stack import Conv, ConvStack, Pool
from tests.limits import run_limited

CLASSES = ("a", "b", "c")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def stack(rng):
    first = Conv(
        rng.normal(size=(3, 3, 1, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    )
    last = Conv(
        rng.normal(size=(3, 3, 4, 5)).astype(np.float32), np.zeros(5, np.float32), (2, 1), "same",
        relu=False,
    )  # fmt: skip
    return ConvStack((first, Pool("average", (2, 2), (1, 1), "same"), last, Pool()), (9, 8, 1))


@pytest.fixture
def train(rng):
    labels = np.arange(60) % 3
    images = rng.random((60, 9, 8, 1), dtype=np.float32) * 0.7
    images[:, 0, 0, 0] += labels * 0.1
    return Images(images, labels)


@pytest.fixture
def images(rng):
    return rng.random((20, 9, 8, 1), dtype=np.float32)


@pytest.fixture(params=["float32", "int8"])
def engine(request, stack, train):
    return Engine.fit(stack, train, CLASSES, k=5, storage=request.param)


def test_engine_is_scikit_learns_k_nn_on_the_features(stack, train, images):
    engine = Engine.fit(stack, train, CLASSES, k=5)
    theirs = KNeighborsClassifier(5, algorithm="brute")
    names = np.array(CLASSES)[train.labels]
    theirs.fit(stack.forward(train.images).astype(np.float64), names)
    features = stack.forward(images).astype(np.float64)
    np.testing.assert_array_equal(engine.predict(images), theirs.predict(features))
    np.testing.assert_array_equal(engine.predict_proba(images), theirs.predict_proba(features))
    np.testing.assert_array_equal(engine.classes_, theirs.classes_)
    assert engine.score(images, theirs.predict(features)) == 1.0
    assert engine.score(images, engine.predict_labels(images)) == 1.0
    np.testing.assert_array_equal(
        engine.classes_[engine.predict_labels(images)], engine.predict(images)
    )


def test_the_file_is_the_engine(engine, images, tmp_path):
    path = tmp_path / "engine.safetensors"
    engine.save(path)
    assert path.stat().st_size == engine.total_bytes
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    loaded = Engine.load(path)
    np.testing.assert_array_equal(loaded.votes(images), engine.votes(images))
    np.testing.assert_array_equal(loaded.references, engine.references)
    assert loaded.stack.equals(engine.stack)
    assert (loaded.classes, loaded.k, loaded.metric) == (engine.classes, 5, "euclidean")
    loaded.save(path)
    assert path.read_bytes() == loaded._packed() == engine._packed()


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_features_are_averaged_over_shifted_copies(stack, train, images, storage, tmp_path):
    engine = Engine.fit(stack, train, CLASSES, 5, storage=storage, average=2)

    def mean(pixels):
        padded = np.pad(pixels, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
        copies = [padded[:, i : i + 9, j : j + 8] for i in range(5) for j in range(5)]
        return np.mean([engine.stack.forward(copy) for copy in copies], axis=0, dtype=np.float64)

    off = 1e-5 if storage == "float32" else 0.501 * engine.step
    np.testing.assert_allclose(engine.references, mean(train.images), rtol=0, atol=off)
    theirs = KNeighborsClassifier(5, algorithm="brute").fit(engine.references, engine.labels)
    np.testing.assert_array_equal(engine.predict_labels(images), theirs.predict(mean(images)))
    new = engine.add_class(images[:3], "d").references[-3:]
    # Within the grid, whose ends are the outermost references.
    end = np.abs(engine.references).max() if storage == "int8" else np.inf
    np.testing.assert_allclose(new, np.clip(mean(images[:3]), -end, end), rtol=0, atol=off)
    path = tmp_path / "engine.safetensors"
    engine.save(path)
    np.testing.assert_array_equal(Engine.load(path).votes(images), engine.votes(images))
    single = Engine.fit(stack, train, CLASSES, 5, storage=storage)
    assert (engine.predict_labels(images) != single.predict_labels(images)).any()
    assert 0 < engine.total_bytes - single.total_bytes < 20
    with pytest.raises(InputError, match="takes images of shape"):
        engine.predict(images[:, :, 1:])
    beyond, no_number = "out of range: choose 0 to 7 pixels", "not a whole number"
    for wrong, reason in ((-1, beyond), (8, beyond), (1.0, no_number), ("1", no_number)):
        with pytest.raises(InputError, match=rf"average=.* is {reason}"):
            Engine.fit(stack, train, CLASSES, average=wrong)


@pytest.mark.parametrize("storage", ["float32", "int8"])
@pytest.mark.parametrize("average", [0, 1])
def test_without_convolutions_it_is_the_k_nn_on_the_pixels(
    storage, average, train, images, tmp_path
):
    stack = ConvStack((), (9, 8, 1))
    engine = Engine.fit(stack, train, CLASSES, k=5, storage=storage, average=average)
    engine.save(tmp_path / "engine")
    read = Engine.load(tmp_path / "engine")
    np.testing.assert_array_equal(read.votes(images), engine.votes(images))
    assert (read.n_parameters, read.conv_bytes) == (0, 0)
    if storage == "float32" and not average:
        theirs = KNeighborsClassifier(5, algorithm="brute")
        theirs.fit(train.images.reshape(60, -1), train.labels)
        np.testing.assert_array_equal(
            engine.predict_proba(images), theirs.predict_proba(images.reshape(20, -1))
        )


def test_bytes_are_those_of_the_arrays(stack, train):
    weights, biases, references = 9 * 4 + 9 * 4 * 5, 4 + 5, 60 * 2 * 3 * 5
    whole = Engine.fit(stack, train, CLASSES)
    assert whole.conv_bytes == 4 * (weights + biases)
    assert whole.reference_bytes == 4 * references + 60
    small = Engine.fit(stack, train, CLASSES, storage="int8")
    assert small.conv_bytes == weights + 4 * 9 + 4 * biases
    assert small.reference_bytes == references + 60
    for engine in (whole, small):
        rest = engine.total_bytes - engine.conv_bytes - engine.reference_bytes
        assert 0 < rest < 1500


def test_int8_is_near_and_lies_on_its_grid(stack, train):
    once = quantized(stack)
    assert quantized(once).equals(once)
    for conv, original in zip(once.convs, stack.convs, strict=True):
        largest = np.abs(original.weights).max(axis=(0, 1, 2))
        assert (np.abs(conv.weights - original.weights) <= largest / 127 * 0.501).all()
        for kernel in range(conv.n_kernels):
            assert len(np.unique(conv.weights[..., kernel])) <= 255
    engine = Engine.fit(stack, train, CLASSES, storage="int8")
    assert len(np.unique(engine.references)) <= 255
    features = once.forward(train.images)
    assert np.abs(engine.references - features).max() <= np.abs(features).max() / 127 * 0.501


def test_a_new_class_is_learned_and_forgotten_without_training(engine, images, tmp_path):
    new = np.full((7, 9, 8, 1), 0.9, np.float32)
    wider = engine.add_class(new, "new")
    assert wider.classes == (*CLASSES, "new")
    assert (wider.predict(new) == "new").all()
    wider.save(tmp_path / "wider")
    loaded = Engine.load(tmp_path / "wider")
    np.testing.assert_array_equal(loaded.votes(images), wider.votes(images))
    again = wider.remove_class("new")
    np.testing.assert_array_equal(again.votes(images), engine.votes(images))
    fewer = wider.remove_class("a")
    assert fewer.classes == ("b", "c", "new")
    assert (fewer.predict(new) == "new").all()
    # The references of the others stay what they were, and where.
    np.testing.assert_array_equal(fewer.references, wider.references[wider.labels != 0])
    fewer.save(tmp_path / "fewer")
    np.testing.assert_array_equal(
        Engine.load(tmp_path / "fewer").votes(images), fewer.votes(images)
    )


def test_mistakes_are_one_sentence(engine, stack, images):
    for mistake, sentence in (
        (lambda: engine.add_class(images, "a"), "There is a class a already"),
        (lambda: engine.add_class(images[:0], "d"), "has no images"),
        (lambda: engine.add_class(images[:, :5], "d"), r"images of shape \(9, 8, 1\)"),
        (lambda: engine.remove_class("d"), "There is no class d: choose one of a, b, c"),
        (lambda: Engine(stack, engine.references, engine.labels, ("a", "b", "b")), "one name"),
        (lambda: Engine(stack, engine.references, engine.labels, CLASSES, 1.5), "k=1.5"),
        (lambda: Engine(stack, engine.references.astype(float), engine.labels, CLASSES), "float32"),
        (lambda: engine.predict(images[:, :5]), r"images of shape \(9, 8, 1\)"),
        (lambda: engine.remove_class("a").remove_class("b").remove_class("c"), "k=5"),
        (lambda: Engine(stack, engine.references[:, 1:], engine.labels, CLASSES), "have shape"),
        (lambda: Engine(stack, engine.references, engine.labels, ("a",)), "1 classes"),
        (lambda: Engine(stack, engine.references, engine.labels, CLASSES, 61), "k=61"),
        (lambda: Engine(stack, engine.references, engine.labels, CLASSES, 1, "l1"), "metric=l1"),
        (lambda: engine.add_class(images, 5), "The new class has no name"),
        (lambda: engine.add_class(images, " "), "The new class has no name"),
        (lambda: engine.add_class("d", images), "The new class has no name"),
        (
            lambda: engine.add_class(images, "\u00e9").add_class(images, "e\u0301"),
            "is a class \u00e9 al",
        ),
        (lambda: engine.score(images, np.zeros((20, 1), int)), r"shape \(20, 1\): give the name"),
        (lambda: engine.score(images, np.zeros(20)), "type float64"),
        (lambda: Engine.fit(stack, Images(images, None), CLASSES, storage="int4"), "storage=int4"),
    ):
        with pytest.raises(InputError, match=sentence) as caught:
            mistake()
        assert "\n" not in str(caught.value)


@pytest.fixture
def file(engine, tmp_path):
    path = tmp_path / "engine"
    engine.save(path)
    return path


def test_what_is_cut_short_or_foreign_is_refused(file, tmp_path):
    content = file.read_bytes()
    with pytest.raises(
        InputError,
        match=r"cannot be read \(No such .*\): give a file of a knn-slicing",
    ):
        Engine.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match="cannot be read"):
        Engine.load(tmp_path)
    for length in (0, 5, 8, 100, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:length])
        with pytest.raises(InputError, match="cut short"):
            Engine.load(file)
    for foreign in (b"PK\x03\x04" * 100, b"\x93NUMPY" * 100, b"\x80\x04." * 50, b"\xff" * 64):
        file.write_bytes(foreign)
        with pytest.raises(InputError, match="is not a file of a knn-slicing engine"):
            Engine.load(file)
    save_file({"weights": np.zeros(3)}, file)
    with pytest.raises(InputError, match="is not a file of a knn-slicing engine"):
        Engine.load(file)


def test_no_flipped_bit_goes_unnoticed(file):
    content = file.read_bytes()
    rng = np.random.default_rng(1)
    places = [*range(0, 1000, 7), *rng.integers(len(content), size=200)]
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        file.write_bytes(damaged)
        with pytest.raises(InputError):
            Engine.load(file)


@pytest.mark.parametrize(
    "change",
    [
        lambda settings, arrays: settings.update(k=0),
        lambda settings, arrays: settings.update(metric="other"),
        lambda settings, arrays: settings.update(classes=["a"]),
        lambda settings, arrays: settings.update(input=[9, 8]),
        lambda settings, arrays: settings.update(layers=[{"conv": [1]}]),
        lambda settings, arrays: settings.update(layers=[]),
        lambda settings, arrays: settings["layers"][0].update(conv=[[0, 0], "valid", True]),
        lambda settings, arrays: settings["layers"][0].update(conv=[[1, 1], "full", True]),
        lambda settings, arrays: settings["layers"][1].update(pool=["min", [2, 2], [1, 1], "same"]),
        lambda settings, arrays: settings["layers"][1].update(pool=["max", [0, 2], [1, 1], "same"]),
        lambda settings, arrays: settings.update(layers=[1]),
        lambda settings, arrays: settings.update(classes="abc"),
        lambda settings, arrays: settings.update(classes=[["a"], "b", "c"]),
        lambda settings, arrays: settings.update(classes=["a", "a", "c"]),
        lambda settings, arrays: settings.update(k=True),
        lambda settings, arrays: settings.update(average=-1),
        lambda settings, arrays: settings.update(average=8),
        lambda settings, arrays: settings.update(average=1.0),
        lambda settings, arrays: settings.update(step=-1.0),
        lambda settings, arrays: settings.update(step="1"),
        lambda settings, arrays: arrays.update(labels=arrays["labels"].astype(float)),
        lambda settings, arrays: arrays.update(labels=arrays["labels"][:, None]),
        lambda settings, arrays: arrays.update(kernels1=arrays["kernels1"][None]),
        lambda settings, arrays: arrays.update(biases2=arrays["biases2"] * np.float32(np.nan)),
        lambda settings, arrays: settings.update(input=[9.0, 8, 1]),
        lambda settings, arrays: settings.update(input=[10**30, 8, 1]),
        lambda settings, arrays: settings["layers"][1].update(
            pool=["max", [10**30, 2], [1, 1], "same"]
        ),
        lambda settings, arrays: arrays.update(kernels1=arrays["kernels1"][:0]),
        lambda settings, arrays: settings.pop("k"),
        lambda settings, arrays: arrays.pop("kernels2"),
        lambda settings, arrays: arrays.update(labels=arrays["labels"][:-1]),
        lambda settings, arrays: arrays.update(biases1=arrays["biases1"][:-1]),
        lambda settings, arrays: arrays.update(references=arrays["references"].astype(float) / 0),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero|invalid value")
def test_parts_that_do_not_fit_are_refused(file, change):
    kind = "knn-slicing engine 1"
    settings, arrays = tensor_file.read(file, kind)
    change(settings, arrays)
    file.write_bytes(tensor_file.pack(kind, settings, arrays))
    with pytest.raises(InputError, match="fits together"):
        Engine.load(file)


LOAD = """
import sys
from slicing.engine.engine import Engine
from slicing.errors import InputError
for path in sys.argv[1:]:
    try:
        Engine.load(path)
    except InputError as error:
        print(error)
"""


def small_settings(**more):
    layers = [
        {"conv": [[1, 1], "same", True]},
        {"pool": ["max", [9999, 9999], [9999, 9999], "same"]},
    ]
    return {
        "input": [9999, 9999, 1],
        "layers": layers,
        "k": 1,
        "metric": "euclidean",
        "classes": ["a"],
    } | more


GREEDY = {
    # 2.8 billion numbers of an image, of 784 weights.
    "takes": (
        small_settings(),
        {
            "kernels1": np.zeros((28, 28, 1, 1), np.float32),
            "biases1": np.zeros(1, np.float32),
            "references": np.zeros((1, 4), np.float32),
            "labels": np.zeros(1, np.uint8),
        },
    ),
    # A gigabyte, where each kernel had all steps.
    "steps of": (
        small_settings(step=0.1),
        {
            "kernels1": np.ones((16_000, 1, 1, 1), np.int8),
            "steps1": np.ones(16_000, np.float32),
            "biases1": np.zeros(1, np.float32),
            "references": np.zeros((1, 4), np.int8),
            "labels": np.zeros(1, np.uint8),
        },
    ),
}


@pytest.mark.parametrize("sentence", GREEDY)
def test_a_small_file_that_asks_for_gigabytes_is_refused(tmp_path, sentence):
    path = tmp_path / "engine"
    path.write_bytes(tensor_file.pack("knn-slicing engine 1", *GREEDY[sentence]))
    assert path.stat().st_size < 100_000
    with pytest.raises(InputError, match=rf"fits together \(.*{sentence}"):
        Engine.load(path)


def test_a_large_file_of_another_kind_is_not_read(tmp_path):
    paths = []
    for start in (b"\x10" + bytes(7) + b'{"a":1}          ', b"\xff" * 8, bytes(8), b"{" * 99):
        paths.append(tmp_path / f"engine {len(paths)}")
        paths[-1].write_bytes(start)
        os.truncate(paths[-1], 2**36)
    found = run_limited(LOAD, *paths, megabytes=4096)
    assert found.stderr == ""
    for path, said in zip(paths, found.stdout.splitlines(), strict=True):
        assert f"{path} is not a file of a knn-slicing engine" in said


@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "a\0b", ""])
def test_what_is_no_file_is_not_opened(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"cannot be read \(it"):
        Engine.load(tmp_path / name)


def test_of_a_folder_with_one_engine_the_engine_is_named(file, tmp_path):
    inside = file.rename(tmp_path / "engine.safetensors")
    with pytest.raises(InputError, match=rf"is a folder\): give {re.escape(str(inside))}\.$"):
        Engine.load(tmp_path)
    (tmp_path / "another.safetensors").touch()
    with pytest.raises(InputError, match="give a file of a knn-slicing engine"):
        Engine.load(tmp_path)


@pytest.mark.parametrize("settings", ["[1]", '"text"', "no JSON", "[" * 100_000])
def test_settings_that_are_none_are_refused(file, settings, monkeypatch):
    monkeypatch.setattr(tensor_file.json, "dumps", lambda *_, **__: settings)
    file.write_bytes(tensor_file.pack("knn-slicing engine 1", {}, {"a": np.zeros(1)}))
    with pytest.raises(InputError, match="holds no settings"):
        Engine.load(file)


def test_threads_may_use_an_engine_side_by_side(engine, images):
    expected = engine.votes(images)
    before = [library["num_threads"] for library in threadpool_info()]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: engine.votes(images), range(40)):
            np.testing.assert_array_equal(found, expected)
    assert [library["num_threads"] for library in threadpool_info()] == before


def test_no_images_have_no_classes(engine, images):
    assert engine.predict(images[:0]).shape == (0,)


def test_the_file_is_safetensors(file):
    assert {"kernels1", "biases1", "kernels2", "biases2", "references", "labels"} <= set(
        load_file(file)
    )


def test_a_full_disk_keeps_the_file_that_was_there(engine, file, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    before = file.read_bytes()
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        engine.add_class(np.zeros((1, 9, 8, 1), np.float32), "d").save(file)
    assert file.read_bytes() == before
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_an_engine_works_without_tensorflow(file):
    code = (
        "import json, sys, numpy as np; from slicing.engine.engine import Engine;"
        f"engine = Engine.load({str(file)!r});"
        "print(json.dumps(engine.predict(np.zeros((2, 9, 8, 1), np.float32)).tolist()));"
        "assert not {'tensorflow', 'keras', 'sklearn', 'mlflow', 'evolve'} & set(sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(json.loads(found.stdout)) == 2


@pytest.mark.parametrize("average", [0, 1])
def test_scores_are_the_distances_to_the_nearest_reference_of_each_class(
    stack, train, images, average
):
    engine = Engine.fit(stack, train, CLASSES, k=1, average=average)
    scores = engine.scores(images)
    assert (scores.dtype, scores.shape) == (np.float32, (20, 3))
    to_all = ((engine.features(images)[:, None].astype(float) - engine.references) ** 2).sum(axis=2)
    expected = np.stack([to_all[:, engine.labels == c].min(axis=1) for c in range(3)], axis=1)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    np.testing.assert_array_equal(scores.argmin(axis=1), engine.predict_labels(images))
    one = np.concatenate([engine.scores(images[i : i + 1]) for i in range(20)])
    np.testing.assert_array_equal(one, scores)
    order = np.random.default_rng(2).permutation(20)
    np.testing.assert_array_equal(engine.scores(images[order]), scores[order])


def test_features_at_hand_are_averaged_to_the_same_bits(stack, train):
    whole = averaged(stack, train.images, 1)
    known = averaged(stack, train.images, 1, unshifted=stack.forward(train.images))
    np.testing.assert_array_equal(known, whole)
