"""Blocks: the coordinates of a network that an optimizer moves together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from slicing.checks import at_least
from slicing.errors import InputError
from slicing.stack import ConvStack


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
        """Return the stack with ``vector``, of shape (dim,), instead of the block.

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


def kernels(stack: ConvStack, layers: Sequence[int] | None = (-1,)) -> list[Block]:
    """Make a block of each kernel.

    Parameters
    ----------
    stack : ConvStack
    layers : sequence of int or None
        Convolutions, counted from 1, or from the last with -1; None: all.

    Raises
    ------
    InputError
        Where a layer does not exist, or the network has no convolution.
    """
    return groups(stack, layers, 1)


def groups(stack: ConvStack, layers: Sequence[int] | None = (-1,), size: int = 8) -> list[Block]:
    """Make blocks of some neighboring kernels each.

    Parameters
    ----------
    stack, layers
        See :func:`kernels`.
    size : int
        Kernels a block; the last block of a layer may be smaller.

    Raises
    ------
    InputError
        Where a layer or any convolution does not exist, or the size is less than 1.
    """
    at_least("size", size, 1)
    blocks = []
    for pairs in _kernels(stack, layers):
        starts = range(0, len(pairs), size)
        blocks += [Block(tuple(pairs[start : start + size])) for start in starts]
    return blocks


def layers(stack: ConvStack, layers: Sequence[int] | None = (-1,)) -> list[Block]:
    """Make a block of each layer.

    Parameters
    ----------
    stack, layers
        See :func:`kernels`.

    Raises
    ------
    InputError
        Where a layer does not exist, or the network has no convolution.
    """
    return [Block(tuple(pairs)) for pairs in _kernels(stack, layers)]


def network(stack: ConvStack, layers: Sequence[int] | None = (-1,)) -> list[Block]:
    """Make one block of all layers.

    Parameters
    ----------
    stack, layers
        See :func:`kernels`.

    Raises
    ------
    InputError
        Where a layer does not exist, or the network has no convolution.
    """
    return [Block(tuple(pair for pairs in _kernels(stack, layers) for pair in pairs))]


def _kernels(stack: ConvStack, layers: Sequence[int] | None) -> list[list[tuple[int, int]]]:
    """List the kernels of some layers, layer by layer, in the order of the stack."""
    n_layers = len(stack.convs)
    if not n_layers:
        raise InputError("The network has no convolution to evolve: give one with a Conv2D.")
    chosen = range(1, n_layers + 1) if layers is None else layers
    if not chosen:
        raise InputError(
            "layers is empty: name at least one convolution, or None for all.", "layers"
        )
    for layer in chosen:
        if not 1 <= abs(layer) <= n_layers:
            raise InputError(
                f"layers names a convolution {layer}, which the network does not have: choose from "
                f"1 to {n_layers}, or count from the last with -1.",
                "layers",
            )
    indices = sorted({layer - 1 if layer > 0 else n_layers + layer for layer in chosen})
    return [[(i, kernel) for kernel in range(stack.convs[i].n_kernels)] for i in indices]
