"""Blocks: the coordinates of a network that an optimizer moves together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from slicing.errors import InputError
from slicing.stack import ConvStack

BlockKind = Literal["kernel", "group", "layer", "network"]


@dataclass(frozen=True)
class Block:
    """Some kernels of a conv stack, as one vector.

    The vector holds the kernels one after the other, of each the weights in the order (row, column,
    input channel), then the bias.

    Attributes
    ----------
    kernels : tuple of (int, int)
        Pairs (convolution, kernel), both counted from 0, in ascending order.
    """

    kernels: tuple[tuple[int, int], ...]

    @property
    def layers(self) -> tuple[int, ...]:
        """The convolutions that the block touches, counted from 0."""
        return tuple(dict.fromkeys(layer for layer, _ in self.kernels))

    @property
    def name(self) -> str:
        """Name in progress and plots, as ``conv2[17]`` or ``conv2[0-7]``; layers from 1."""
        parts = []
        for layer, pairs in groupby(self.kernels, key=lambda pair: pair[0]):
            indices = [kernel for _, kernel in pairs]
            span = f"{indices[0]}-{indices[-1]}" if len(indices) > 1 else f"{indices[0]}"
            parts.append(f"conv{layer + 1}[{span}]")
        return "+".join(parts)

    def read(self, stack: ConvStack) -> NDArray[np.float64]:
        """Take the block's vector, of shape (dim,), float64, out of a stack."""
        convs = stack.convs
        return np.concatenate(
            [
                np.append(convs[layer].weights[..., kernel].ravel(), convs[layer].bias[kernel])
                for layer, kernel in self.kernels
            ]
        ).astype(np.float64)

    def write(self, stack: ConvStack, vector: NDArray[np.float64]) -> ConvStack:
        """Return the stack with ``vector``, of shape (dim,), in the place of the block.

        Raises
        ------
        ValueError
            If the vector does not have the block's length.
        """
        dim = sum(stack.convs[layer].weights[..., 0].size + 1 for layer, _ in self.kernels)
        if vector.shape != (dim,):
            raise ValueError(f"{self.name} takes a vector of shape ({dim},), not {vector.shape}.")
        start = 0
        for layer, pairs in groupby(self.kernels, key=lambda pair: pair[0]):
            conv = stack.convs[layer]
            weights, bias = conv.weights.copy(), conv.bias.copy()
            shape = weights.shape[:3]
            size = int(np.prod(shape))
            for _, kernel in pairs:
                weights[..., kernel] = vector[start : start + size].reshape(shape)
                bias[kernel] = vector[start + size]
                start += size + 1
            stack = stack.with_conv(layer, replace(conv, weights=weights, bias=bias))
        return stack


def make_blocks(
    stack: ConvStack,
    kind: BlockKind = "kernel",
    layers: Sequence[int] | None = None,
    group_size: int = 8,
) -> list[Block]:
    """Divide a stack into blocks, in the order of its layers.

    Parameters
    ----------
    stack : ConvStack
    kind : {"kernel", "group", "layer", "network"}
        A block is one kernel, ``group_size`` kernels of a layer, a whole layer, or all layers.
    layers : sequence of int, optional
        Convolutions to divide, counted from 1, negative from the last; all by default.
    group_size : int
        Kernels a group; the last group of a layer may be smaller.

    Raises
    ------
    InputError
        Where ``kind`` or a layer does not exist.
    """
    n_layers = len(stack.convs)
    if kind not in get_args(BlockKind):
        raise InputError(f"block={kind!r} is unknown: choose one of {get_args(BlockKind)}.")
    if group_size < 1:
        raise InputError(f"group_size={group_size} is not possible: a group has 1 kernel or more.")
    chosen = range(1, n_layers + 1) if layers is None else layers
    if not chosen:
        raise InputError("layers is empty: name at least one convolution, or leave it out for all.")
    for layer in chosen:
        if not 1 <= abs(layer) <= n_layers:
            raise InputError(
                f"The network has no convolution {layer}: choose from 1 to {n_layers}, "
                "or count from the last with -1."
            )
    indices = sorted({layer - 1 if layer > 0 else n_layers + layer for layer in chosen})
    kernels = {i: [(i, kernel) for kernel in range(stack.convs[i].n_kernels)] for i in indices}
    if kind == "network":
        return [Block(tuple(pair for i in indices for pair in kernels[i]))]
    size = {"kernel": 1, "group": group_size}.get(kind)
    blocks = []
    for i in indices:
        step = size or len(kernels[i])
        blocks += [
            Block(tuple(kernels[i][start : start + step]))
            for start in range(0, len(kernels[i]), step)
        ]
    return blocks
