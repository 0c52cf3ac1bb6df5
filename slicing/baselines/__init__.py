"""What is sliced, or compared with: networks of all kinds, and shallow classifiers."""

from slicing.baselines.base import Adapted, Baseline, BaselineBuilder, Epoch
from slicing.baselines.finetuned import FineTuned
from slicing.baselines.gradient import Tuned, gradient_cnn
from slicing.baselines.head import Head, KerasHead
from slicing.baselines.pretrained import Pretrained
from slicing.baselines.recurrent import LSTM
from slicing.baselines.saved import SavedCNN
from slicing.baselines.shallow import (
    SVM,
    DecisionTree,
    LogisticRegression,
    NaiveBayes,
    NearestNeighbors,
    RandomForest,
    Shallow,
)
from slicing.baselines.trained import TrainedCNN
from slicing.baselines.untrained import UntrainedCNN

__all__ = [
    "LSTM",
    "SVM",
    "Adapted",
    "Baseline",
    "BaselineBuilder",
    "DecisionTree",
    "Epoch",
    "FineTuned",
    "Head",
    "KerasHead",
    "LogisticRegression",
    "NaiveBayes",
    "NearestNeighbors",
    "Pretrained",
    "RandomForest",
    "SavedCNN",
    "Shallow",
    "TrainedCNN",
    "Tuned",
    "UntrainedCNN",
    "gradient_cnn",
]
