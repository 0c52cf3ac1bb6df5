"""A user's own trained network, read from a file."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from slicing.backend import configure_threads, load_keras
from slicing.baselines.base import Baseline, BaselineBuilder
from slicing.cutting import cut
from slicing.data.dataset import Images
from slicing.errors import InputError
from slicing.show import Show, silent
from slicing.stack import ConvStack, Shape

if TYPE_CHECKING:
    import keras

# How HDF5 files begin, whatever their names.
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, kw_only=True)
class SavedCNN(BaselineBuilder):
    """A model that was saved by ``model.save("name.keras")``.

    It must take images of the dataset's shape, with pixels in [0, 1], and give one output for each
    of the dataset's classes, in their order. Keras' safe mode refuses files that would run code of
    their own.

    Parameters
    ----------
    path : path
        The ``.keras`` file.
    threads : int or None, default=None
        Threads to predict with, see :func:`slicing.backend.configure_threads`.
    """

    path: str | Path
    threads: int | None = None

    is_trained: ClassVar[bool] = False
    uses_tensorflow: ClassVar[bool] = True

    def shape(self, image_shape: Shape, n_classes: int) -> ConvStack:
        """Read the file, and give its conv stack; see :meth:`BaselineBuilder.shape`."""
        return cut(self._load(image_shape, n_classes))

    def build(self, train: Images, classes: tuple[str, ...], show: Show = silent) -> Baseline:
        """Read the file; see :meth:`BaselineBuilder.build`."""
        model = self._load(train.images.shape[1:], len(classes))
        return Baseline(cut(model), classes, model)

    def _load(self, image_shape: Shape, n_classes: int) -> "keras.Model":
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise InputError(
                f"path={path} is not a model file: give the path of a .keras file.", "path"
            )
        with path.open("rb") as file:
            is_hdf5 = file.read(len(_HDF5)) == _HDF5
        if is_hdf5:
            raise InputError(
                f"path={path} is HDF5, an older format: name it .h5, load it with "
                "keras.models.load_model, and save it with model.save('name.keras').",
                "path",
            )
        if path.suffix != ".keras" or not zipfile.is_zipfile(path):
            raise InputError(
                f"path={path} is not a complete .keras file: save the model with "
                "model.save('name.keras').",
                "path",
            )
        configure_threads(self.threads)
        keras = load_keras()
        try:
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # what a foreign archive raises is open-ended
            reason = (str(error) or type(error).__name__).splitlines()[0].split(". ")[0].rstrip(".")
            raise InputError(
                f"path={path} cannot be loaded as a Keras model ({reason}): save a model of Keras' "
                "own layers, without Lambda, with model.save('name.keras').",
                "path",
            ) from error
        for what, shapes, wanted in (
            ("takes inputs", getattr(model, "input_shape", None), (None, *image_shape)),
            ("gives outputs", getattr(model, "output_shape", None), (None, n_classes)),
        ):
            if shapes != wanted:
                raise InputError(
                    f"path={path} holds a model that {what} of shape {shapes}, and the dataset "
                    f"needs {wanted}.",
                    "path",
                )
        return model
