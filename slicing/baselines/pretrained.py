"""A pretrained network, frozen up to its cut: nothing of it is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, get_args

from slicing.backbones.backbone import Backbone
from slicing.backbones.named import named, require_weights
from slicing.backbones.network import Network
from slicing.baselines.base import Adapted, Baseline, BaselineBuilder
from slicing.baselines.keras_file import check_file, network_of, pixel_range, read_model
from slicing.baselines.untrained import UntrainedCNN
from slicing.checks import at_least, one_of
from slicing.data.dataset import Images, Part
from slicing.data.preparation import Preparation
from slicing.errors import InputError
from slicing.show import Show, silent
from slicing.stack import ConvStack, Shape

Storage = Literal["float32", "int8"]


@dataclass(frozen=True, kw_only=True)
class Pretrained(BaselineBuilder):
    """A pretrained network, frozen up to its cut.

    Parameters
    ----------
    name : str, default="efficientnet_lite0"
        See :func:`~slicing.backbones.named.named`.
    image_size, weights
        See there. Smaller images take less time.
    path : path or None, default=None
        A ``.keras`` file of one's own, whose network takes the place of ``name``, whatever it was
        trained for: nothing above its maps is used.
    pixels : (float, float), default=(0, 1)
        Of such a file: what stands for black and for white in its inputs. Nothing can tell here
        whether it is right.
    mirrored : bool, default=False
        Whether an image's maps are averaged with those of its mirror image, left to right, which
        takes twice the time.
    storage : {"float32", "int8"}, default="float32"
        Type of its weights. With int8 they take a quarter of the bytes, and are rounded before
        anything is learned from its maps.
    kernels : int, default=0
        Kernels of a new convolution on its maps, which evolution finds; 0: there is none.
    kernel_size : int, default=3
        Height and width of these kernels.
    seed : int, default=0
        Seeds these kernels.
    threads : int or None, default=None
        Threads to make the network with, see :func:`slicing.backend.configure_threads`.

    Raises
    ------
    InputError
        For options that exclude each other, and where the file of weights is none, or the
        ``.keras`` file. Whether weights fit is found out when they are read.
    """

    name: str = "efficientnet_lite0"
    image_size: Sequence[int] | None = None
    weights: str | Path | None = None
    path: str | Path | None = None
    pixels: Sequence[float] = (0.0, 1.0)
    mirrored: bool = False
    storage: Storage = "float32"
    kernels: int = 0
    kernel_size: int = 3
    seed: int = 0
    threads: int | None = None

    is_trained: ClassVar[bool] = False
    uses_tensorflow: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.path is not None:
            for option in ("image_size", "weights"):
                if (value := getattr(self, option)) is not None:
                    raise InputError(
                        f"{option}={value} is not possible with path={self.path}, which has its "
                        "own: leave it out.",
                        option,
                    )
            pixel_range(self.pixels)
            check_file(Path(self.path).expanduser())
        elif tuple(self.pixels) != Pretrained.pixels:
            raise InputError(
                f"pixels={[*self.pixels]} is for path=..., a network of one's own, and {self.name} "
                "knows its range: leave it out.",
                "pixels",
            )
        if self.weights is not None:
            require_weights(self.name, self.weights)

    @property
    def is_frozen(self) -> bool:
        """Always."""
        return True

    def network(self) -> Network:
        """Load the network; see :meth:`BaselineBuilder.network`."""
        one_of("storage", self.storage, get_args(Storage))
        if self.path is not None:
            file = Path(self.path).expanduser()
            return network_of(read_model(file, self.threads), file, self.pixels)
        size = self.image_size
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise InputError(
                f"image_size={[*size]} is not a size: give height and width.", "image_size"
            )
        image_size = None if size is None else (size[0], size[1])
        return named(self.name, image_size, self.weights, self.threads)

    def adapt(
        self,
        network: Network,
        preparation: Preparation,
        train: Part,
        classes: tuple[str, ...],
        show: Show = silent,
    ) -> Adapted:
        """Take the network as it is; see :meth:`BaselineBuilder.adapt`."""
        # These images may have taught a network of one's own.
        return Adapted(network, knows_labels=self.path is not None)

    def frozen(self, network: Network, cuts: Sequence[str], pool: int = 1) -> Backbone:
        """Cut the network, mirror it, round its weights; see :meth:`BaselineBuilder.frozen`."""
        backbone = super().frozen(network, cuts, pool)
        backbone = backbone.mirrored() if self.mirrored else backbone
        return backbone.quantized() if self.storage == "int8" else backbone

    def shape(self, image_shape: Shape, n_classes: int) -> ConvStack:
        """Give what is put on the maps; see :meth:`BaselineBuilder.shape`."""
        at_least("kernels", self.kernels, 0)
        if not self.kernels:
            return ConvStack((), image_shape)
        return UntrainedCNN(
            filters=[self.kernels],
            kernel_size=self.kernel_size,
            pooling=[False],
            seed=self.seed,
        ).shape(image_shape, n_classes)

    def build(self, train: Images, classes: tuple[str, ...], show: Show = silent) -> Baseline:
        """Put what is evolved on the maps; see :meth:`BaselineBuilder.build`."""
        height, width, channels = train.images.shape[1:]
        return Baseline(self.shape((height, width, channels), len(classes)), classes)
