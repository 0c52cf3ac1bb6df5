import pytest

from slicing.backbones.tracing import Trace
from slicing.backend import load_keras


def cuts_of(model):
    import tensorflow as tf

    trace = Trace()
    function = tf.function(lambda images: trace.run(model, images), autograph=False)
    function.get_concrete_function(tf.TensorSpec((None, *model.input_shape[1:])))
    return trace.cuts()


@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        # Each pointwise convolution ends what a depthwise one has begun.
        ("MobileNet", [f"conv_pw_{number}_relu" for number in range(1, 14)]),
        # A pooling belongs to the convolution before it.
        (
            "VGG16",
            [
                f"block{block}_{end}"
                for block, convolutions in ((1, 2), (2, 2), (3, 3), (4, 3), (5, 3))
                for end in (*(f"conv{number}" for number in range(1, convolutions)), "pool")
            ],
        ),
    ],
)
def test_known_networks_are_cut_at_the_ends_of_their_units(name, cuts):
    model = getattr(load_keras().applications, name)(
        weights=None, include_top=name == "MobileNet", input_shape=(32, 32, 3), pooling=None
    )
    assert cuts_of(model) == cuts


def test_a_shortcut_past_a_map_keeps_it_from_being_a_cut():
    keras = load_keras()
    layers = keras.layers
    images = keras.Input((8, 8, 3))
    out = start = layers.Conv2D(4, 1, name="start")(images)
    for number in range(2):
        out = layers.Conv2D(4, 3, padding="same", name=f"within{number}")(out)
    out = layers.ReLU(name="joined")(start + out)
    out = layers.ZeroPadding2D(name="padded")(out)
    out = layers.Conv2D(2, 3, name="end")(out)
    out = layers.Dropout(0.5, name="dropped")(out)
    assert cuts_of(keras.Model(images, layers.Flatten()(out))) == ["start", "joined", "end"]


def test_what_comes_before_the_first_kernels_is_no_cut():
    keras = load_keras()
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Rescaling(2.0, name="scaled"),
            layers.Conv2D(2, 3, name="first"),
            layers.GlobalAveragePooling2D(keepdims=True, name="pooled"),
            layers.Conv2D(5, 1, name="classes"),
        ]
    )
    assert cuts_of(model) == ["first"]


def test_a_layer_that_is_called_again_has_another_name():
    keras = load_keras()
    images = keras.Input((8, 8, 2))
    conv = keras.layers.Conv2D(2, 3, padding="same", name="conv")
    within = keras.Sequential([keras.Input((8, 8, 2)), conv], name="within")
    model = keras.Model(images, within(within(conv(images))))
    assert cuts_of(model) == ["conv", "within/conv:2", "within/conv:3"]
