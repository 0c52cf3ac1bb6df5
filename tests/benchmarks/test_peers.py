import sys

import numpy as np
import pytest

from benchmarks.fitness_cases import K, make_fitness
from benchmarks.peers import Faiss, Jax, KerasSklearn, find_peers
from evolve.block import layers
from evolve.protocols import Split
from slicing.data import Images
from slicing.stack import Conv, ConvStack, Pool

SHAPE = (12, 11, 1)


@pytest.fixture
def stack():
    """Everything that a stack may have: both poolings and paddings, strides, no ReLU."""
    rng = np.random.default_rng(0)

    def conv(n_in, n_out, **options):
        weights = rng.normal(size=(3, 3, n_in, n_out)).astype(np.float32)
        return Conv(weights, rng.normal(size=n_out).astype(np.float32), **options)

    layers = (
        conv(1, 4, padding="same", relu=False),
        Pool("average", (3, 3), (2, 2), "same"),
        conv(4, 6, strides=(1, 2)),
        Pool("max", (2, 2), (2, 1)),
    )
    return ConvStack(layers, SHAPE)


@pytest.fixture
def split():
    """More references than JAX takes at a time."""
    rng = np.random.default_rng(1)

    def images(n):
        labels = rng.integers(0, 3, n)
        pixels = rng.random((n, *SHAPE)) + 0.02 * labels[:, None, None, None]
        return Images(pixels.clip(0, 1).astype(np.float32), labels)

    return Split(images(620), images(70))


def check(peer, stack, split):
    """Compare a peer with ours, for candidates of all layers."""
    fitness = make_fitness(stack, split)
    for block in layers(stack, None):
        fitness.bind(block)
        start = block.read(stack)
        candidate = start + np.random.default_rng(2).normal(size=start.shape)
        right = fitness.query_losses(candidate[None])[0] == 0
        assert 0.2 < right.mean() < 1
        labels = peer(block.write(stack, candidate))
        assert ((labels == split.queries.labels) == right).mean() >= 0.98


@pytest.mark.parametrize(
    ("peer", "module"), [(KerasSklearn, "sklearn"), (Jax, "jax"), (Faiss, "faiss")]
)
def test_a_peer_agrees_with_ours(peer, module, stack, split):
    pytest.importorskip(module)
    check(peer(stack, split), stack, split)


def test_faiss_takes_features_from_keras_where_there_is_no_jax(stack, split, monkeypatch):
    pytest.importorskip("faiss")
    monkeypatch.setitem(sys.modules, "jax", None)
    peer = Faiss(stack, split)
    assert peer.way in {"predict", "predict_on_batch"}
    check(peer, stack, split)


def test_keras_takes_many_images_in_blocks(stack, split, monkeypatch):
    monkeypatch.setattr("benchmarks.peers._KERAS_BLOCK", 300)
    peer = KerasSklearn(stack, split)
    assert peer.way == "predict_on_batch"
    check(peer, stack, split)


def test_what_is_not_installed_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert find_peers() == ({"keras+sklearn": KerasSklearn}, ["jax", "faiss"])
    assert K == 9
