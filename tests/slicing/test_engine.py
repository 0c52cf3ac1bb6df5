import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from slicing.data import Images
from slicing.engine import Engine
from slicing.stack import Conv, ConvStack, Pool


def test_engine_is_scikit_learns_k_nn_on_the_features():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(3, 3, 1, 4)).astype(np.float32)
    stack = ConvStack((Conv(weights, np.zeros(4, np.float32)), Pool()), (8, 8, 1))
    train = Images(rng.random((60, 8, 8, 1), dtype=np.float32), rng.integers(0, 3, 60))
    images = rng.random((20, 8, 8, 1), dtype=np.float32)
    engine = Engine.fit(stack, train, ("a", "b", "c"), k=5)
    theirs = KNeighborsClassifier(5, algorithm="brute")
    theirs.fit(stack.forward(train.images).astype(np.float64), train.labels)
    expected = theirs.predict(stack.forward(images).astype(np.float64))
    np.testing.assert_array_equal(engine.predict(images), expected)
    assert (engine.votes(images).sum(axis=1) == 5).all()
    assert engine.conv_bytes == 4 * 40
    assert engine.total_bytes == 4 * 40 + 60 * 36 * 4 + 60
