"""The networks that are sliced: trained, untrained, tuned by gradient, or read from a file."""

from slicing.baselines.base import Baseline, BaselineBuilder, Epoch
from slicing.baselines.gradient import Tuned, gradient_cnn
from slicing.baselines.saved import SavedCNN
from slicing.baselines.trained import TrainedCNN
from slicing.baselines.untrained import UntrainedCNN

__all__ = [
    "Baseline",
    "BaselineBuilder",
    "Epoch",
    "SavedCNN",
    "TrainedCNN",
    "Tuned",
    "UntrainedCNN",
    "gradient_cnn",
]
