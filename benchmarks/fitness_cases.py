"""The cases of the benchmark: blocks, their candidates, images, and the least work they take."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import dataset_of
from benchmarks.machine import peak_memory
from evolve.block import Block, kernels, layers
from evolve.fitness.knn import KNNFitness
from evolve.protocols import Split
from slicing.stack import ConvStack, slide

K = 9

# The first images of every dataset that together have all classes.
FEWEST = 100, 10

Kind = Literal["kernel", "layer"]
BLOCKS: dict[Kind, Callable[[ConvStack, Sequence[int]], list[Block]]] = {
    "kernel": kernels, "layer": layers
}  # fmt: skip

# Candidates lie this many standard deviations of the block's weights around the trained ones.
_SPREAD = 0.3


@dataclass(frozen=True)
class Case:
    """A block of the network and the size of its generations.

    Attributes
    ----------
    name : str
    kind : {"kernel", "layer"}
        What the block is.
    layer : int
        The convolution that the block is the first of: 1 is the first, -1 the last.
    n_candidates : int
        Candidates a generation.
    """

    name: str
    kind: Kind
    layer: int
    n_candidates: int

    def block(self, stack: ConvStack) -> Block:
        """Return the case's block of a stack."""
        return BLOCKS[self.kind](stack, [self.layer])[0]

    def candidates(self, stack: ConvStack) -> NDArray[np.float64]:
        """Return a generation of shape (n_candidates, dim), the same at every call."""
        start = self.block(stack).read(stack)
        spread = _SPREAD * start.std()
        return np.random.default_rng(0).normal(start, spread, (self.n_candidates, len(start)))

    def flops(self, stack: ConvStack, n_references: int, n_queries: int) -> int:
        """Count the operations of a candidate if it is computed directly.

        They are defined in `benchmarks.fitness_speed`.
        """
        n_images = n_references + n_queries
        distances = 2 * n_references * n_queries * int(np.prod(stack.feature_shape))
        last = len(stack.convs) - 1
        if self.layer == 1:
            following = stack.convs[1].n_kernels * _flops(stack, 1, 1)
            return n_images * (_flops(stack, 0, stack.input_shape[2]) + following) + distances
        own = n_images * _flops(stack, last, stack.convs[last].weights.shape[2])
        if self.kind == "kernel":
            return own
        return own * stack.convs[last].n_kernels + distances


CASES = {
    case.name: case
    for case in (
        Case("last_layer_kernel", "kernel", -1, 20),
        Case("first_layer_kernel", "kernel", 1, 20),
        Case("layer", "layer", -1, 4),
    )
}


def load(data: str, n_references: int, n_queries: int) -> Split:
    """Load the first training images of a dataset as references, the first test ones as queries."""
    dataset = dataset_of(data, train_size=n_references, test_size=n_queries)
    return Split(dataset.train, dataset.read_test())


def first(split: Split, n_references: int, n_queries: int) -> Split:
    """Take the first images of a split that has queries."""
    assert split.queries is not None
    return Split(split.references[:n_references], split.queries[:n_queries])


def make_fitness(stack: ConvStack, split: Split) -> KNNFitness:
    """Make the fitness that is measured."""
    return KNNFitness(stack, split, "accuracy", k=K)


def evaluate(case: Case, stack: ConvStack, split: Split) -> None:
    """Bind a case's block and evaluate one generation."""
    fitness = make_fitness(stack, split)
    fitness.bind(case.block(stack))
    fitness.query_losses(case.candidates(stack))


def peak_memory_of(
    case: Case, stack: ConvStack, data: str, n_references: int, n_queries: int
) -> int:
    """Measure the peak memory, in bytes, of a process that does nothing but bind and evaluate.

    It is started afresh: this one holds the peers, and a fork would hold them too.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_peak_memory, case, stack, data, n_references, n_queries).result()


def _peak_memory(case: Case, stack: ConvStack, data: str, n_references: int, n_queries: int) -> int:
    evaluate(case, stack, load(data, n_references, n_queries))
    return peak_memory()


def _flops(stack: ConvStack, index: int, channels: int) -> int:
    """Count the operations that turn some channels of an image into one of a convolution.

    Only at the positions that the pooling behind it reads, if there is one.
    """
    conv, pools = stack.stages[index]
    shape = stack.input_shape
    for layer in stack.layers[: stack.conv_layers[index] + 1]:
        shape = layer.output_shape(shape)
    positions = 1
    for axis in (0, 1):
        read = set(range(shape[axis]))
        if pools:
            size, step = pools[0].size[axis], pools[0].strides[axis]
            n_windows, margin = slide(shape[axis], size, step, pools[0].padding)
            read &= {w * step - margin + i for w in range(n_windows) for i in range(size)}
        positions *= len(read)
    height, width = conv.weights.shape[:2]
    return int(2 * positions * height * width * channels)
