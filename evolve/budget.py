"""What the steps of a schedule cost in evaluations, known before anything is computed."""

from collections.abc import Mapping, Sequence

from evolve.block import Block
from evolve.schedule_options import Order
from evolve.search import CLOSING


def group_size(blocks: Sequence[Block], synchronize: int | None) -> int:
    """Count the blocks, from the first, that start from the same network.

    Parameters
    ----------
    blocks : sequence of Block
    synchronize : int or None
        At most so many; None: all of the layer.
    """
    layer = [block for block in blocks if block.layers == blocks[0].layers]
    return min(len(layer), synchronize or len(layer))


def checks(size: int) -> int:
    """Count the evaluations that plugging a group in takes: of all, of half, of a quarter ..."""
    return size.bit_length() - 1


def least_evaluations(
    populations: Mapping[Block, int], order: Order, synchronize: int | None
) -> int:
    """Count the evaluations of a first generation, those before it and those that must follow it.

    Parameters
    ----------
    populations : mapping of Block to int
        Of the blocks' optimizers.
    order : {"layer", "random", "importance"}
    synchronize : int or None
        See :func:`group_size`.
    """
    first = min(block.layers for block in populations)
    layer = [block for block in populations if block.layers == first]
    before = len(populations) if order == "importance" else 0
    population = min(populations[block] for block in layer)
    return before + population + CLOSING + checks(group_size(layer, synchronize))
