"""The events of a schedule."""

from collections.abc import Mapping
from dataclasses import dataclass

from evolve.block import Block


@dataclass(frozen=True)
class Generation:
    """One generation of one block.

    Attributes
    ----------
    block : Block
    block_number : int
        Position of the block in the whole run, from 0.
    n_blocks : int
        Blocks in the whole run, over all passes.
    generation, n_generations : int
        Number of the generation within the block, from 1, and the most that there may be.
    best_loss : float
        Least loss that the optimizer of the block has found so far.
    mean_loss : float
        Mean loss of the candidates of this generation, of those that are finite.
    sigma : float
        Spread of the next candidates.
    evaluations : int
        Candidates evaluated in the whole run so far, counted block after block.
    counts : mapping of str to int
        What the fitness has counted for this block so far: see ``Fitness.counts``.
    """

    block: Block
    block_number: int
    n_blocks: int
    generation: int
    n_generations: int
    best_loss: float
    mean_loss: float
    sigma: float
    evaluations: int
    counts: Mapping[str, int]


@dataclass(frozen=True)
class BlockEnd:
    """The end of the optimization of one block.

    Attributes
    ----------
    block : Block
    block_number, n_blocks : int
        As in :class:`Generation`.
    loss_before, loss_after : float
        Loss of the network before and after, on the same images; with :class:`.Parallel`, before
        and after the group. Where :attr:`.Fitness.same_images` does not hold, the next block starts
        with the loss on other images.
    accepted : bool
        Whether the result improved the network and was plugged in.
    evaluations : int
        Candidates evaluated in the whole run so far.
    non_finite : int
        Candidates of the block whose loss was not finite.
    reasons : tuple of str
        Why the block ended.
    """

    block: Block
    block_number: int
    n_blocks: int
    loss_before: float
    loss_after: float
    accepted: bool
    evaluations: int
    non_finite: int
    reasons: tuple[str, ...]


Event = Generation | BlockEnd
