import keras
import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st
from keras import layers
from sklearn.neighbors import KNeighborsClassifier

from slicing.baselines import SavedCNN, TrainedCNN, UntrainedCNN
from slicing.cutting import cut, to_keras
from slicing.data import mnist5k
from slicing.data.dataset import Images
from slicing.engine.engine import Engine
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Pool

MNIST_SHAPE = (28, 28, 1)
DIGITS = tuple("0123456789")


def images(shape, n=5):
    return np.random.default_rng(3).random((n, *shape), dtype=np.float32)


def sequential(*stack, shape=(9, 8, 2)):
    return keras.Sequential([keras.Input(shape), *stack])


def features(model, x):
    """What Keras itself computes before the head."""
    heads = (layers.Flatten, layers.GlobalAveragePooling2D, layers.Dense)
    for layer in model.layers:
        if isinstance(layer, heads):
            break
        if not isinstance(layer, layers.InputLayer):
            x = layer(x, training=False)
    return x.numpy().reshape(len(x), -1)


def test_an_engine_names_every_test_image_as_keras_and_scikit_learn_do():
    data = mnist5k(train_size=300, test_size=200)
    test = data.read_test()
    keras.utils.set_random_seed(0)
    model = sequential(
        layers.Conv2D(4, 5, activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(6, 3, activation="relu"), layers.Flatten(), layers.Dense(10),
        shape=MNIST_SHAPE,
    )  # fmt: skip
    theirs = KNeighborsClassifier(5, algorithm="brute")
    theirs.fit(features(model, data.train.images).astype(float), data.train.labels)
    engine = Engine.fit(cut(model), data.train, data.classes, k=5)
    np.testing.assert_array_equal(
        engine.predict_labels(test.images),
        theirs.predict(features(model, test.images).astype(float)),
    )


def assert_agrees(model):
    """Compare the stack with the model's own conv part, and with the model made from the stack."""
    stack = cut(model)
    x = images(stack.input_shape)
    expected = features(model, x)
    np.testing.assert_allclose(stack.forward(x), expected, rtol=1e-5, atol=1e-5)
    back = to_keras(stack)
    assert back.output_shape == (None, np.prod(stack.feature_shape))
    np.testing.assert_allclose(back(x), expected, rtol=1e-5, atol=1e-5)
    return stack


def randomize(model):
    """Give every weight, batch statistics included, a value that is neither zero nor one."""
    rng = np.random.default_rng(4)
    for weight in model.weights:
        drawn = rng.normal(size=weight.shape) / np.sqrt(max(np.prod(weight.shape[:-1]), 4))
        weight.assign(abs(drawn) + 0.1 if "variance" in weight.path else drawn)
    return model


def parameters(model):
    return [weight.numpy() for weight in model.weights]


@pytest.mark.parametrize(
    ("options", "n_parameters"),
    [
        ({"units": 128}, 225_034),
        ({"units": 64, "epochs": 2}, 121_930),
        ({"units": 32}, 70_378),
        ({"units": 16}, 44_602),
        ({"units": 8}, 31_714),
        ({"units": 8, "dropout": 0.5, "batch_norm": True, "epochs": 2}, 31_714 + 4 * (32 + 64)),
        ({"units": 128, "pooling": (False, True), "dropout": 0.5}, 1_199_882),
    ],
    ids=str,
)
def test_the_baselines_have_the_papers_sizes_and_agree_with_keras(options, n_parameters, tmp_path):
    train = Images(images(MNIST_SHAPE, 40), np.arange(40) % 10)
    baseline = TrainedCNN(cache_dir=tmp_path, **{"epochs": 1, **options}).build(train, DIGITS)
    assert baseline.n_parameters == n_parameters
    stack = assert_agrees(baseline.model)
    assert stack.n_parameters == 18_816
    assert stack.feature_shape == ((5, 5, 64) if len(stack.layers) == 4 else (12, 12, 64))


def test_the_random_and_file_baselines_agree_with_keras(tmp_path):
    train = Images(images((12, 14, 3), 10), np.arange(10) % 2)
    options = {"filters": (3, 5, 7), "kernel_size": 2, "pooling": (False, True, False)}
    stack = UntrainedCNN(**options).shape((12, 14, 3), 2)
    assert assert_agrees(to_keras(stack)).equals(stack)
    model = randomize(
        sequential(layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2), shape=(12, 14, 3))
    )
    model.save(tmp_path / "mine.keras")
    stack = assert_agrees(SavedCNN(path=tmp_path / "mine.keras").build(train, ("a", "b")).model)
    np.testing.assert_array_equal(stack.convs[0].weights, model.layers[0].kernel.numpy())


def test_the_stack_holds_the_weights_and_settings_of_the_model():
    model = randomize(
        sequential(
            layers.Conv2D(4, (3, 2), strides=(2, 1), padding="same", activation="relu"),
            layers.Dropout(0.5),
            layers.MaxPooling2D((2, 3), strides=1),
            layers.SpatialDropout2D(0.5),
            layers.Conv2D(3, 1, use_bias=False),
            layers.AveragePooling2D(2, padding="same"),
            layers.Flatten(),
            layers.Dense(6),
        )
    )
    stack = cut(model)
    kernel, bias, kernel_without_bias = parameters(model)[:3]
    first, max_pool, second, average_pool = stack.layers
    assert stack.input_shape == (9, 8, 2)
    np.testing.assert_array_equal(first.weights, kernel)
    np.testing.assert_array_equal(first.bias, bias)
    assert (first.strides, first.padding, first.relu) == ((2, 1), "same", True)
    assert max_pool == Pool("max", (2, 3), (1, 1), "valid")
    np.testing.assert_array_equal(second.weights, kernel_without_bias)
    assert second.bias.tolist() == [0, 0, 0]
    assert (second.strides, second.padding, second.relu) == ((1, 1), "valid", False)
    assert average_pool == Pool("average", (2, 2), (2, 2), "same")
    assert all(a.dtype == np.float32 for conv in stack.convs for a in (conv.weights, conv.bias))
    assert_agrees(model)


def test_the_stack_is_a_copy():
    model = sequential(layers.Conv2D(2, 3), layers.Flatten())
    before = parameters(model)[0].copy()
    cut(model).convs[0].weights[:] = 7
    np.testing.assert_array_equal(parameters(model)[0], before)


TWO = st.tuples(st.integers(1, 4), st.integers(1, 4))
PADDING = st.sampled_from(["valid", "same"])
CONVS = st.fixed_dictionaries(
    {
        "filters": st.integers(1, 5),
        "kernel_size": TWO,
        "strides": TWO,
        "padding": PADDING,
        "use_bias": st.booleans(),
        "activation": st.sampled_from(["linear", "relu"]),
    }
)
NORMS = st.fixed_dictionaries({"center": st.booleans(), "scale": st.booleans()})
RELUS = st.sampled_from([layers.ReLU, lambda: layers.Activation("relu")])
POOLINGS = st.tuples(
    st.sampled_from([layers.MaxPooling2D, layers.AveragePooling2D]),
    st.fixed_dictionaries({"pool_size": TWO, "strides": TWO, "padding": PADDING}),
)
GROUPS = st.tuples(CONVS, st.none() | NORMS, st.none() | RELUS, st.none() | POOLINGS)


def build(groups, shape):
    model = keras.Sequential([keras.Input(shape)])
    for conv, norm, relu, pooling in groups:
        if norm is not None:
            conv = {**conv, "activation": "linear"}
        model.add(layers.Conv2D(**conv))
        if norm is not None:
            model.add(layers.BatchNormalization(**norm))
        if relu is not None:
            model.add(relu())
        if pooling is not None:
            model.add(pooling[0](**pooling[1]))
    return model


def one_dnn_is_wrong(layer):
    """TensorFlow 2.21 with oneDNN differs here from itself without, and from the definition."""
    return (
        isinstance(layer, layers.Conv2D)
        and layer.input.shape[-1] == 1
        and layer.output.shape[2] == 1
        and layer.strides[0] == 1 < layer.strides[1]
    )


@settings(max_examples=40, deadline=None)
@given(
    groups=st.lists(GROUPS, min_size=1, max_size=3),
    shape=st.tuples(st.integers(4, 17), st.integers(4, 17), st.integers(1, 3)),
    head=st.sampled_from([layers.Flatten, layers.GlobalAveragePooling2D]),
)
def test_any_supported_chain_agrees_with_keras(groups, shape, head):
    try:
        model = build(groups, shape)
    except ValueError:  # Keras refuses windows larger than what is left of the image
        reject()
    assume(not any(map(one_dnn_is_wrong, model.layers)))
    model.add(head())
    assert_agrees(randomize(model))


def test_batch_normalization_is_folded_in_double_precision():
    norm = layers.BatchNormalization(epsilon=1e-3)
    model = randomize(sequential(layers.Conv2D(4, 3), norm, layers.ReLU(), layers.Flatten()))
    kernel, bias, gamma, beta, mean, variance = (p.astype(float) for p in parameters(model))
    scale = gamma / np.sqrt(variance + 1e-3)
    [conv] = cut(model).layers
    np.testing.assert_array_equal(conv.weights, (kernel * scale).astype(np.float32))
    np.testing.assert_array_equal(conv.bias, ((bias - mean) * scale + beta).astype(np.float32))
    assert conv.relu


@pytest.mark.parametrize(
    ("head", "n_layers"),
    [
        (lambda: [layers.GlobalAveragePooling2D(), layers.Dense(3)], 2),
        (lambda: [layers.Dense(3), layers.ReLU(6.0), layers.Flatten()], 2),
        (lambda: [layers.Flatten(), layers.Reshape((2, -1)), layers.LSTM(2)], 2),
        (lambda: [], 2),
    ],
)
def test_the_cut_is_at_the_first_layer_of_the_head(head, n_layers):
    model = sequential(layers.Conv2D(4, 3), layers.MaxPooling2D(), *head())
    stack = cut(model)
    assert len(stack.layers) == n_layers
    assert stack.feature_shape == (3, 3, 4)
    assert_agrees(model)


def test_a_functional_chain_is_cut_whatever_else_its_layers_are_used_for():
    conv = layers.Conv2D(2, 3, padding="same", activation="relu")
    conv(keras.Input((5, 5, 2)))
    elsewhere = layers.MaxPooling2D()
    first = keras.Input((9, 8, 2))
    middle = conv(conv(first))
    elsewhere(middle)
    model = keras.Model(first, layers.Dense(3)(layers.Flatten()(middle)))
    stack = cut(randomize(model))
    assert len(stack.layers) == 2
    x = images((9, 8, 2))
    expected = conv(conv(x)).numpy().reshape(len(x), -1)
    np.testing.assert_allclose(stack.forward(x), expected, rtol=1e-5, atol=1e-5)


def test_models_within_a_model_are_part_of_its_chain():
    augmentation = keras.Sequential([layers.RandomFlip(), layers.Rescaling(2, -1)])
    first = keras.Input((9, 8, 2))
    conv = keras.Model(first, layers.ReLU()(layers.Conv2D(3, 3)(first)))
    inner = keras.Sequential([augmentation, conv, layers.MaxPooling2D()])
    model = randomize(sequential(inner, layers.Conv2D(2, 2), layers.Flatten(), layers.Dense(3)))
    assert len(assert_agrees(model).layers) == 3
    with_head = randomize(sequential(conv, keras.Sequential([layers.Flatten(), layers.Dense(3)])))
    x = images((9, 8, 2))
    expected = conv(x).numpy().reshape(len(x), -1)
    np.testing.assert_allclose(cut(with_head).forward(x), expected, rtol=1e-5, atol=1e-5)


class MyModel(keras.Sequential):
    pass


def test_a_model_of_another_kind_within_a_model_is_refused():
    inner = MyModel([keras.Input((9, 8, 2)), layers.Conv2D(2, 3)])
    with pytest.raises(InputError, match="MyModel"):
        cut(sequential(inner, layers.Flatten()))


def test_to_keras_gives_a_model_that_cuts_to_the_same_stack():
    rng = np.random.default_rng(0)
    stack = ConvStack(
        (
            Conv(rng.random((2, 3, 1, 4), np.float32), rng.random(4, np.float32), (2, 1), "same"),
            Pool("average", (3, 2), (1, 2), "same"),
            Conv(rng.random((1, 1, 4, 2), np.float32), rng.random(2, np.float32), relu=False),
            Pool("max"),
        ),
        (10, 11, 1),
    )
    again = cut(to_keras(stack))
    assert again.input_shape == stack.input_shape
    for layer, other in zip(stack.layers, again.layers, strict=True):
        if isinstance(layer, Conv):
            np.testing.assert_array_equal(layer.weights, other.weights)
            np.testing.assert_array_equal(layer.bias, other.bias)
            assert (layer.strides, layer.padding, layer.relu) == (
                *(other.strides, other.padding, other.relu),
            )
        else:
            assert layer == other


def test_weights_moved_in_the_stack_reach_keras():
    model = sequential(layers.Conv2D(2, 3), layers.Flatten())
    stack = cut(model)
    conv = stack.convs[0]
    moved = stack.with_conv(0, Conv(conv.weights + 1, conv.bias - 1, relu=False))
    x = images((9, 8, 2))
    np.testing.assert_allclose(to_keras(moved)(x), moved.forward(x), rtol=1e-5, atol=1e-5)
    assert np.abs(moved.forward(x) - stack.forward(x)).min() > 0.1


class MyConv(layers.Conv2D):
    pass


@pytest.mark.parametrize(
    ("stack", "named", "why"),
    [
        (lambda: [layers.Conv2D(2, 3, dilation_rate=2)], "Conv2D", "dilation rate"),
        (lambda: [layers.Conv2D(2, 3, groups=2)], "Conv2D", "groups"),
        (lambda: [layers.Conv2D(2, 3, activation="tanh")], "Conv2D", "tanh"),
        (lambda: [layers.Conv2D(2, 3, activation=layers.ReLU(6))], "Conv2D", "ReLU instead"),
        (lambda: [MyConv(2, 3)], "MyConv", "this type"),
        (lambda: [layers.Conv2D(2, 3), layers.Activation("sigmoid")], "Activation", "sigmoid"),
        (lambda: [layers.Conv2D(2, 3), layers.ReLU(6.0)], "ReLU", "plain ReLU"),
        (lambda: [layers.Conv2D(2, 3), layers.ReLU(negative_slope=0.1)], "ReLU", "plain ReLU"),
        (lambda: [layers.Conv2D(2, 3), layers.ReLU(threshold=1)], "ReLU", "plain ReLU"),
        (lambda: [layers.Conv2D(2, 3), layers.LeakyReLU()], "LeakyReLU", "this type"),
        (
            lambda: [layers.Conv2D(2, 3), layers.BatchNormalization(axis=1)],
            "BatchNormalization",
            "axis",
        ),
        (lambda: [layers.DepthwiseConv2D(3)], "DepthwiseConv2D", "this type"),
        (lambda: [layers.SeparableConv2D(2, 3)], "SeparableConv2D", "this type"),
        (
            lambda: [layers.Normalization(axis=(1, 2, 3)), layers.Conv2D(2, 3)],
            "Normalization",
            r"axes \(1, 2, 3\)",
        ),
        (
            lambda: [layers.MaxPooling2D(2, data_format="channels_first")],
            "MaxPooling2D",
            "data format",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_unsupported_layer_is_named_with_what_is_supported(stack, named, why):
    stack = stack()
    model = sequential(*stack, layers.Flatten(), layers.Dense(3))
    with pytest.raises(InputError, match=why) as caught:
        cut(model)
    message = str(caught.value)
    [layer] = [layer for layer in stack if type(layer).__name__ == named]
    assert message.startswith(f"The layer '{layer.name}' ({named}) cannot be cut")
    assert "supported are Conv2D" in message
    assert "\n" not in message


def test_channels_first_is_refused():
    model = sequential(
        layers.Conv2D(2, 3, data_format="channels_first", padding="same"), layers.Flatten()
    )
    with pytest.raises(InputError, match="channels_first, not channels_last"):
        cut(model)


def branched():
    first = keras.Input((9, 8, 2))
    conv = layers.Conv2D(2, 3, padding="same")(first)
    return keras.Model(first, layers.Flatten()(layers.Add(name="skip")([first, conv])))


def operator():
    first = keras.Input((9, 8, 2))
    return keras.Model(first, layers.Flatten()(layers.Conv2D(2, 3)(first) * 2))


def two_outputs():
    first = keras.Input((9, 8, 2))
    flat = layers.Flatten()(layers.Conv2D(2, 3)(first))
    return keras.Model(first, [layers.Dense(2)(flat), layers.Dense(3)(flat)])


class Subclassed(keras.Model):
    def call(self, x):
        return x


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (branched, "'skip' .Add. .* joins several branches"),
        (operator, r"'multiply\w*' .Multiply. .* this type"),
        (two_outputs, "1 inputs and 2 outputs"),
        (Subclassed, "does not say what its layers are connected to"),
        (lambda: keras.Sequential([layers.Conv2D(2, 3)]), "starts with keras.Input"),
        (lambda: sequential(layers.Flatten()), "no convolution"),
        (
            lambda: sequential(
                layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), shape=(None, None, 1)
            ),
            "fixed height",
        ),
        (lambda: sequential(layers.Conv1D(2, 3), shape=(9, 2)), "fixed height"),
    ],
)
def test_what_is_no_chain_of_image_layers_is_refused(model, message):
    with pytest.raises(InputError, match=message):
        cut(model())
