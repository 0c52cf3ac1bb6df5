import zipfile

import keras
import numpy as np
import pytest

from slicing.baselines import SavedCNN
from slicing.data.dataset import Images
from slicing.data.preparation import Preparation
from slicing.errors import InputError
from tests.slicing.backbones.networks import maps_by_keras, randomized
from tests.slicing.baselines.blobs import CLASSES, blobs, flipped, truncated
from tests.slicing.baselines.fitted import save_fitted


@pytest.fixture(scope="module")
def train():
    return blobs()


def brightest_third():
    """A model that names the third of the width that is bright, whatever the range of pixels."""
    model = keras.Sequential(
        [
            keras.Input((10, 10, 1)),
            keras.layers.Conv2D(2, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    columns = np.repeat([0, 1, 2], [3, 2, 3])
    thirds = np.eye(3)[np.broadcast_to(columns[None, :, None], (8, 8, 2)).ravel()]
    model.layers[0].set_weights([np.ones((3, 3, 1, 2)), np.zeros(2)])
    model.layers[-1].set_weights([thirds / thirds.sum(axis=0), np.zeros(3)])
    return model


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    model = brightest_third()
    model.compile("adam", "mse")
    path = tmp_path_factory.mktemp("model") / "mine.keras"
    model.save(path)
    return path, model


def test_a_users_model_is_loaded(train, model_file):
    path, model = model_file
    baseline = SavedCNN(path=str(path)).build(train, CLASSES)
    assert baseline.model is not None
    assert baseline.train_seconds == 0
    assert not baseline.from_cache
    assert baseline.warning is None
    expected = model.predict(train.images, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(baseline.predict_labels(train.images), expected)
    assert (expected == train.labels).mean() > 0.95
    assert SavedCNN(path=path).shape((10, 10, 1), 3).equals(baseline.stack)


def of_fixed_batches(model):
    first = keras.Input(batch_shape=(32, 10, 10, 1))
    return keras.Model(first, model(first))


def of_lists(model):
    first = keras.Input((10, 10, 1))
    return keras.Model([first], [model(first)])


def of_dicts(model):
    first = keras.Input((10, 10, 1), name="image")
    return keras.Model({"image": first}, {"class": model(first)})


def of_bytes(model):
    first = keras.Input((10, 10, 1), dtype="uint8")
    return keras.Model(first, model(keras.layers.Rescaling(1 / 255)(first)))


@pytest.mark.parametrize("around", [of_fixed_batches, of_lists, of_dicts, of_bytes])
def test_the_same_model_in_another_dress_is_the_same(around, train, model_file, tmp_path):
    _, model = model_file
    around(model).save(tmp_path / "mine.keras")
    pixels = (0, 255) if around is of_bytes else (0, 1)
    exact = Images(np.rint(255 * train.images / 2) / np.float32(255), train.labels)
    baseline = SavedCNN(path=tmp_path / "mine.keras", pixels=pixels).build(exact, CLASSES)
    expected = model.predict(exact.images, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(baseline.predict_labels(exact.images), expected)
    np.testing.assert_allclose(
        baseline.stack.convs[0].weights, model.layers[0].get_weights()[0], rtol=1e-6
    )


def test_weights_that_are_not_finite_are_refused_at_once(model_file, tmp_path):
    model = keras.models.clone_model(model_file[1])
    model.layers[0].set_weights([np.full((3, 3, 1, 2), np.nan), np.zeros(2)])
    model.save(tmp_path / "mine.keras")
    with pytest.raises(InputError, match=r"not finite, in .*kernel.*did not diverge") as caught:
        SavedCNN(path=tmp_path / "mine.keras").shape((10, 10, 1), 3)
    assert caught.value.option == "path"


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("pixels", (0, 0), r"pixels=\[0, 0\] is no range"),
        ("pixels", (0, float("inf")), "is no range"),
        ("pixels", (1,), "is no range"),
        ("classes", ["left", "right", "top"], "classes=.*each of left, center, right once"),
        ("classes", ["left", "right"], "classes="),
        ("classes", ["left", "left", "right"], "classes="),
    ],
)
def test_bad_options_are_one_clear_error(option, value, message, train, model_file):
    with pytest.raises(InputError, match=message) as caught:
        SavedCNN(path=model_file[0], **{option: value}).build(train, CLASSES)
    assert caught.value.option == option
    assert "\n" not in str(caught.value)


def foreign_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "not a model")


def hdf5_model(path):
    keras.Sequential([keras.Input((10, 10, 1)), keras.layers.Flatten()]).save(f"{path}.h5")
    path.with_name(f"{path.name}.h5").rename(path)


def lambda_model(path):
    doubled = keras.layers.Lambda(lambda images: images * 2)
    keras.Sequential([keras.Input((10, 10, 1)), doubled, keras.layers.Flatten()]).save(path)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("missing.keras", lambda path: None, "is not there: give the path of a .keras file"),
        ("model.h5", lambda path: path.write_bytes(b"x"), "not a complete .keras file"),
        ("text.keras", lambda path: path.write_text("text"), "not a complete .keras file"),
        ("hdf5.keras", hdf5_model, "is an HDF5 file: under"),
        ("hdf5.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n"), "is an HDF5 file: under"),
        ("foreign.keras", foreign_archive, "cannot be loaded as a Keras model"),
        ("lambda.keras", lambda_model, "cannot be loaded as a Keras model .*Lambda"),
    ],
)
def test_a_bad_model_file_is_one_clear_error(name, write, message, train, tmp_path):
    path = tmp_path / name
    write(path)
    with pytest.raises(InputError, match=message) as caught:
        SavedCNN(path=path).build(train, CLASSES)
    assert str(caught.value).startswith(f"path={path} ")
    assert caught.value.option == "path"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [(truncated, "not a complete .keras file"), (flipped, "cannot be loaded as a Keras model")],
)
def test_a_damaged_model_file_is_one_clear_error(damage, message, train, model_file, tmp_path):
    path = tmp_path / "damaged.keras"
    path.write_bytes(damage(model_file[0].read_bytes()))
    with pytest.raises(InputError, match=message):
        SavedCNN(path=path).build(train, CLASSES)


def test_a_small_file_with_huge_layers_is_refused(model_file, tmp_path):
    path = tmp_path / "huge.keras"
    model = keras.Sequential(
        [keras.Input((10, 10, 1)), keras.layers.Normalization(mean=0.5, variance=2.0),
         keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.Dropout(0.5),
         keras.layers.Flatten(), keras.layers.Dense(3)]
    )  # fmt: skip
    model.compile("adam", "mse")
    model.save(path)
    SavedCNN(path=path).shape((10, 10, 1), 3)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    # A terabyte, of a file of 30 KB.
    members["config.json"] = members["config.json"].replace(b'"units": 3', b'"units": 1000000000')
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(InputError, match=r"has layers of 1,028\.0 GB and holds no such weights"):
        SavedCNN(path=path).shape((10, 10, 1), 3)
    # Nothing of it is left behind to be made later.
    keras.layers.Dense(3).build((None, 2))
    with keras.StatelessScope():
        pass


def test_a_model_for_other_images_or_classes_is_refused(train, model_file):
    path, _ = model_file
    with pytest.raises(InputError, match=r"inputs of shape \(None, 10, 10, 1\)"):
        SavedCNN(path=path).build(blobs(2, side=12), CLASSES)
    with pytest.raises(InputError, match=r"outputs of shape \(None, 3\).*\(None, 4\)"):
        SavedCNN(path=path).build(train, (*CLASSES, "none"))


@pytest.fixture(scope="module")
def branches(tmp_path_factory):
    """A network with branches, in a file, and what it tells apart: pixels of 0 to 255."""
    pytest.importorskip("tf2onnx")
    photos = blobs(120, side=12, channels=3)
    path = tmp_path_factory.mktemp("branches") / "mine.keras"
    return path, photos, save_fitted(path, 255 * photos.images, photos.labels)


def adapted(photos, names=CLASSES, **options):
    builder = SavedCNN(**options)
    assert builder.is_frozen
    preparation = Preparation(photos.images.shape[1:3], photos.images.shape[3])
    return builder.adapt(builder.network(), preparation, photos, names)


@pytest.mark.parametrize("order", [None, ("right", "left", "center")])
def test_a_network_with_branches_is_frozen_and_answers_as_in_keras(branches, order):
    path, photos, model = branches
    meant = CLASSES if order is None else order
    labels = np.array([CLASSES.index(meant[label]) for label in photos.labels])
    photos = Images(np.rint(255 * photos.images / 2) / np.float32(255), labels)
    found = adapted(photos, path=path, pixels=(0, 255), classes=order)
    assert found.warning is None
    # They may have taught it, wherever it comes from.
    assert found.knows_labels
    network = found.network
    assert network.cuts == ("first", "shrunk", "joined", "last")
    given = photos.images[:20]
    wanted = model.predict_on_batch(255 * given)
    scores = network.backbone([network.head]).maps(given)[:, 0, 0]
    np.testing.assert_allclose(
        scores[:, [CLASSES.index(name) for name in meant]], wanted, rtol=1e-4, atol=1e-4
    )


def test_a_network_with_branches_is_examined_as_a_chain_is(branches):
    path, photos, _ = branches
    with pytest.raises(InputError, match=r"^pixels=\[0,1\] is not the range.*set pixels=\[0,255\]"):
        adapted(photos, path=path)
    with pytest.raises(InputError, match="classes are in another order in the model"):
        adapted(photos.relabeled((photos.labels + 1) % 3), path=path, pixels=(0, 255))
    with pytest.raises(InputError, match=r"gives outputs of shape \(None, 3\).*\(None, 4\)"):
        adapted(photos, (*CLASSES, "none"), path=path, pixels=(0, 255))


def test_a_network_without_a_head_has_maps_alone(branches, tmp_path):
    _, photos, model = branches
    keras.Model(model.inputs, model.get_layer("last").output).save(tmp_path / "maps.keras")
    found = adapted(photos, path=tmp_path / "maps.keras", pixels=(0, 255))
    assert found.network.head is None
    assert found.network.cuts[-1] == "last"


LAYERS = keras.layers
UNCOMMON = {
    "scaled outside a layer": lambda images: images / 255.0 - 0.5,
    "scaled by a layer": LAYERS.Rescaling(1 / 255, -0.5),
    "depthwise": LAYERS.DepthwiseConv2D(3, 2, "same", depth_multiplier=2),
    "separable": LAYERS.SeparableConv2D(8, 3, padding="same"),
    "grouped": LAYERS.Conv2D(6, 3, groups=3, activation="relu6"),
    "dilated": LAYERS.Conv2D(4, 3, dilation_rate=2, activation="leaky_relu"),
    "transposed": LAYERS.Conv2DTranspose(4, 3, 2, "same"),
}


@pytest.mark.parametrize("kind", UNCOMMON)
def test_layers_that_are_no_part_of_a_conv_stack_are_frozen(kind, tmp_path):
    pytest.importorskip("tf2onnx")
    images = keras.Input((12, 12, 3))
    out = UNCOMMON[kind](images)
    out = LAYERS.BatchNormalization()(LAYERS.Conv2D(5, 3, use_bias=False)(out))
    out = LAYERS.ReLU(name="last")(out)
    head = LAYERS.Dense(3, "softmax")(LAYERS.Flatten()(out))
    model = randomized(keras.Model(images, head))
    model.save(tmp_path / "mine.keras")
    builder = SavedCNN(path=tmp_path / "mine.keras", pixels=(0, 255))
    # What a layer of its own scales is folded into the convolution behind it.
    assert builder.is_frozen == (kind != "scaled by a layer")
    photos = np.random.default_rng(0).random((4, 12, 12, 3), np.float32)
    backbone = builder.network().backbone(["last"], None)
    [wanted] = maps_by_keras(model, ["last"], 255 * photos)
    found = backbone.maps(photos)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * wanted.max())
    assert wanted.std() > 0


@pytest.mark.parametrize("shape", [(None, None, 3), (12, 12, 4)])
def test_a_frozen_network_takes_images_of_files(shape, tmp_path):
    images = keras.Input(shape)
    twice = keras.layers.Add()([keras.layers.Conv2D(2, 3)(images)] * 2)
    keras.Model(images, keras.layers.GlobalAveragePooling2D()(twice)).save(tmp_path / "my.keras")
    builder = SavedCNN(path=tmp_path / "my.keras")
    assert builder.is_frozen
    with pytest.raises(InputError, match=r"path=.* one image of a fixed height and width") as error:
        builder.network()
    assert error.value.option == "path"
