"""The network side: datasets, baselines, the cut, the conv stack, exact k-NN and the engine.

What most programs need is here: ``from slicing import mnist5k, TrainedCNN, Recipe``. Each name is
imported when it is first used, so that importing the package takes no time; TensorFlow starts only
where a network is trained, read or converted.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slicing.baselines import (
        Baseline,
        BaselineBuilder,
        SavedCNN,
        TrainedCNN,
        Tuned,
        UntrainedCNN,
        gradient_cnn,
    )
    from slicing.classifier import Classifier
    from slicing.cutting import cut, to_keras
    from slicing.data import (
        Dataset,
        Images,
        fashion_mnist,
        folder,
        mnist,
        mnist5k,
        mnist_held_out,
    )
    from slicing.engine.classifier import Engine
    from slicing.engine.recipe import Recipe
    from slicing.errors import InputError
    from slicing.stack import Conv, ConvStack, Pool

__all__ = [
    "Baseline",
    "BaselineBuilder",
    "Classifier",
    "Conv",
    "ConvStack",
    "Dataset",
    "Engine",
    "Images",
    "InputError",
    "Pool",
    "Recipe",
    "SavedCNN",
    "TrainedCNN",
    "Tuned",
    "UntrainedCNN",
    "cut",
    "fashion_mnist",
    "folder",
    "gradient_cnn",
    "mnist",
    "mnist5k",
    "mnist_held_out",
    "to_keras",
]

_MODULES = {
    "slicing.baselines": (
        *("Baseline", "BaselineBuilder", "SavedCNN", "TrainedCNN", "Tuned", "UntrainedCNN"),
        "gradient_cnn",
    ),
    "slicing.classifier": ("Classifier",),
    "slicing.cutting": ("cut", "to_keras"),
    "slicing.data": (
        *("Dataset", "Images", "fashion_mnist", "folder", "mnist", "mnist5k", "mnist_held_out"),
    ),
    "slicing.engine.classifier": ("Engine",),
    "slicing.engine.recipe": ("Recipe",),
    "slicing.errors": ("InputError",),
    "slicing.stack": ("Conv", "ConvStack", "Pool"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a name of the package at its first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what can be imported."""
    return sorted({*globals(), *__all__})
