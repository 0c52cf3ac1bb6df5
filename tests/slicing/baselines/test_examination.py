import logging

import keras
import numpy as np
import pytest

from slicing.baselines import SavedCNN
from slicing.baselines.examination import check_features
from slicing.data.dataset import Images
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Pool

NAMES = ("black", "dark", "gray", "light", "white")
LEVELS = np.linspace(0.1, 0.9, 5)


def brightness():
    """Images whose class is their brightness."""
    rng = np.random.default_rng(0)
    labels = rng.integers(5, size=1200)
    images = LEVELS[labels][:, None, None, None] + rng.normal(0, 0.2, (1200, 6, 6, 1))
    return Images(images.clip(0, 1).astype(np.float32), labels)


@pytest.fixture(scope="module")
def train():
    return brightness()


def save(path, pixels=(0, 1), order=NAMES, padding="valid", scale=1.0):
    """Save a model that names the nearest brightness, for pixels of some range."""
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(1, 3, padding=padding)])
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(5))
    center = np.zeros((3, 3, 1, 1))
    center[1, 1] = 1.0
    levels = pixels[0] + (pixels[1] - pixels[0]) * LEVELS[[NAMES.index(name) for name in order]]
    model.layers[0].set_weights([center, np.zeros(1)])
    model.layers[-1].set_weights([scale * 2 * levels[None], -scale * levels**2])
    model.save(path)
    return model


def refusal(train, path, **options):
    with pytest.raises(InputError) as caught:
        SavedCNN(path=path, **options).build(train, NAMES)
    assert "\n" not in str(caught.value)
    return caught.value


def assert_is_right(baseline, train):
    assert (baseline.predict_labels(train.images) == train.labels).mean() > 0.9
    assert baseline.warning is None


RANGES = [(0, 1), (0, 255), (-1, 1), (1, 0)]


@pytest.mark.parametrize("pixels", RANGES)
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_network_is_measured_and_cut_on_the_range_of_its_own(pixels, padding, train, tmp_path):
    path = tmp_path / "mine.keras"
    model = save(path, pixels, padding=padding)
    baseline = SavedCNN(path=path, pixels=pixels).build(train, NAMES)
    assert_is_right(baseline, train)
    low, high = pixels
    expected = model.layers[0](train.images[:5] * (high - low) + low).numpy().reshape(5, -1)
    scale = max(map(abs, pixels))
    np.testing.assert_allclose(
        baseline.stack.forward(train.images[:5]), expected, rtol=1e-5, atol=1e-6 * scale
    )


@pytest.mark.parametrize("pixels", RANGES[1:])
def test_another_range_of_pixels_is_found_out(pixels, train, tmp_path):
    path = tmp_path / "mine.keras"
    save(path, pixels)
    error = refusal(train, path)
    assert error.option == "pixels"
    low, high = pixels
    assert str(error).startswith("pixels=[0,1] is not the range that the model was trained on: ")
    assert str(error).endswith(f" %; set pixels=[{low},{high}].")
    assert "of 1,000 training images it names " in str(error)
    assert_is_right(SavedCNN(path=path, pixels=pixels).build(train, NAMES), train)
    # As well the other way round.
    save(path)
    assert str(refusal(train, path, pixels=pixels)).endswith("; set pixels=[0,1].")


def test_standardized_pixels_are_found_out(train, tmp_path):
    path = tmp_path / "mine.keras"
    mean, deviation = train.images.mean(), train.images.std()
    save(path, (-mean / deviation, (1 - mean) / deviation))
    sentence = str(refusal(train, path))
    pixels = [float(text) for text in sentence.split("set pixels=[")[1][:-2].split(",")]
    assert_is_right(SavedCNN(path=path, pixels=pixels).build(train, NAMES), train)


@pytest.mark.parametrize("seed", range(2))
def test_another_order_of_the_classes_is_found_out(seed, train, tmp_path):
    path = tmp_path / "mine.keras"
    order = [str(name) for name in np.random.default_rng(seed).permutation(NAMES)]
    save(path, order=order)
    error = refusal(train, path)
    assert error.option == "classes"
    assert str(error).startswith("classes are in another order in the model: ")
    value = ",".join(map(repr, order))
    assert str(error).endswith(f"; set classes=[{value}].")
    assert_is_right(SavedCNN(path=path, classes=order).build(train, NAMES), train)
    # A wrong order that was given, too.
    other = [*order[1:], order[0]]
    assert str(refusal(train, path, classes=other)).endswith(f"; set classes=[{value}].")


def test_both_are_found_out_at_once(train, tmp_path):
    path = tmp_path / "mine.keras"
    order = ("gray", "white", "black", "dark", "light")
    save(path, (0, 255), order)
    sentence = str(refusal(train, path))
    assert "trained on, and classes are in another order" in sentence
    assert sentence.endswith(
        "; set pixels=[0,255], and set classes=['gray','white','black','dark','light']."
    )
    assert_is_right(SavedCNN(path=path, pixels=(0, 255), classes=order).build(train, NAMES), train)


def test_a_network_that_knows_nothing_is_a_warning(train, tmp_path, caplog):
    path = tmp_path / "mine.keras"
    save(path, scale=0.0)
    with caplog.at_level(logging.WARNING, "slicing"):
        baseline = SavedCNN(path=path).build(train, NAMES)
    assert "no better than chance" in baseline.warning
    assert baseline.warning in caplog.text


def test_a_weak_network_is_a_warning_that_names_what_is_better(train, tmp_path):
    path = tmp_path / "mine.keras"
    noise = np.random.default_rng(1).random(1200) < 0.5
    labels = np.where(noise, np.random.default_rng(2).integers(5, size=1200), train.labels)
    save(path, (0, 255))
    warning = SavedCNN(path=path).build(Images(train.images, labels), NAMES).warning
    assert warning.startswith("The model names ")
    assert warning.endswith(" % with pixels=[0,255]")


def test_a_few_images_prove_nothing(train, tmp_path):
    path = tmp_path / "mine.keras"
    save(path, (0, 255))
    warning = SavedCNN(path=path).build(train[:15], NAMES).warning
    assert "of 15 training images right, no better than chance" in warning


def stack_of(*biases):
    shapes = [(3, 3, 1, 4), (2, 2, 4, 6)]
    rng = np.random.default_rng(1)
    convs = [
        Conv(rng.random(shape, np.float32), np.full(shape[-1], bias, np.float32))
        for shape, bias in zip(shapes, biases, strict=True)
    ]
    return ConvStack((convs[0], Pool(), convs[1]), (6, 6, 1))


@pytest.mark.parametrize(
    ("biases", "sentence"),
    [
        ((-1e3, 0.0), "all 4 kernels of convolution 1 give 0 everywhere"),
        ((-1e3, 1.0), "all 4 kernels of convolution 1 give 0 everywhere"),
        ((0.0, -1e3), "all 6 kernels of convolution 2 give 0 everywhere"),
    ],
)
def test_dead_kernels_are_refused(biases, sentence, train):
    with pytest.raises(InputError, match=f"dead: its 6 features are the same .* as {sentence}"):
        check_features(stack_of(*biases), train)


def test_features_that_tell_any_two_images_apart_are_enough(train):
    check_features(stack_of(0.0, 0.0), train)
    images = np.zeros((200, 6, 6, 1), np.float32)
    images[150] = 1.0
    check_features(stack_of(0.0, 0.0), Images(images, np.arange(200) % 2))
    with pytest.raises(InputError, match="the same for all 150"):
        check_features(stack_of(0.0, 0.0), Images(images[:150], np.arange(150) % 2))


def test_features_that_are_not_finite_are_refused(train):
    with pytest.raises(InputError, match="not finite numbers"):
        check_features(stack_of(3e38, 3e38), train)
