import numpy as np
import pytest

from slicing.baselines import UntrainedCNN
from slicing.data.dataset import Images
from slicing.errors import InputError

DIGITS = tuple("0123456789")


def test_random_kernels_are_seeded_he_normal_and_untrained():
    tiny = Images(np.zeros((1, 28, 28, 1), np.float32), np.zeros(1, np.int64))
    baseline = UntrainedCNN().build(tiny, DIGITS)
    assert baseline.model is None
    assert not baseline.from_cache
    assert baseline.train_seconds == 0
    assert baseline.n_parameters == 18_816
    stack = baseline.stack
    assert stack.feature_shape == (5, 5, 64)
    assert not any(conv.bias.any() for conv in stack.convs)
    assert stack.convs[1].weights.std() == pytest.approx(np.sqrt(2 / (9 * 32)), rel=0.02)
    assert UntrainedCNN().build(tiny, DIGITS).stack.equals(stack)
    assert not UntrainedCNN(seed=1).build(tiny, DIGITS).stack.equals(stack)
    with pytest.raises(InputError, match="no trained head"):
        baseline.predict_labels(tiny.images)
    with pytest.raises(InputError, match="filters="):
        UntrainedCNN(filters=(), pooling=()).build(tiny, DIGITS)
