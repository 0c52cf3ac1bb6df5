import zipfile

import keras
import numpy as np
import pytest

from slicing.baselines import SavedCNN
from slicing.errors import InputError
from tests.slicing.baselines.blobs import CLASSES, blobs, flipped, truncated


@pytest.fixture(scope="module")
def train():
    return blobs()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    model = keras.Sequential(
        [
            keras.Input((10, 10, 1)),
            keras.layers.Conv2D(2, 3),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
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
    expected = model.predict(train.images, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(baseline.predict_labels(train.images), expected)
    assert SavedCNN(path=path).shape((10, 10, 1), 3).equals(baseline.stack)


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
        ("missing.keras", lambda path: None, "not a model file"),
        ("model.h5", lambda path: path.write_bytes(b"x"), "not a complete .keras file"),
        ("text.keras", lambda path: path.write_text("text"), "not a complete .keras file"),
        ("hdf5.keras", hdf5_model, "is HDF5, an older format: name it .h5, load it"),
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


def test_a_model_for_other_images_or_classes_is_refused(train, model_file):
    path, _ = model_file
    with pytest.raises(InputError, match=r"inputs of shape \(None, 10, 10, 1\)"):
        SavedCNN(path=path).build(blobs(2, side=12), CLASSES)
    with pytest.raises(InputError, match=r"outputs of shape \(None, 3\).*\(None, 4\)"):
        SavedCNN(path=path).build(train, (*CLASSES, "none"))
