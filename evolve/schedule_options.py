"""The options of a schedule."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

from evolve.search import HandOver
from slicing.checks import at_least, one_of, positive
from slicing.errors import InputError

Order = Literal["layer", "random", "importance"]


@dataclass(frozen=True)
class ScheduleOptions:
    """How long a schedule searches, in which order, and what a block hands over.

    Attributes
    ----------
    generations : int
        Generations a block.
    passes : int
        How often all blocks are optimized; 0 leaves the network as it is.
    order : {"layer", "random", "importance"}
        Layers come one after the other, as in the slides. Within a layer, the blocks keep their
        order, are shuffled for every pass, or start with those whose removal (all weights and the
        bias zero) raises the loss most, which takes one evaluation a block and pass.
    step : float
        Initial step size, in standard deviations of the block's own weights.
    hand_over : {"mean", "best"}
        What a block hands over if it improves the loss: the mean of the optimizer's distribution,
        or the best candidate.
    patience_generations, patience_blocks : int, optional
        A block ends after so many generations without a new best. The run ends after so many
        blocks in a row that were not plugged in.
    target_loss : float, optional
        A block ends once a candidate reaches this loss, and the run once the network does.
    max_evaluations : int, optional
        A generation starts only if it and the evaluations that must follow it fit into this number.
    max_seconds : float, optional
        No generation but the first starts after this time. The network that a run finds then
        depends on the machine's speed.

    Raises
    ------
    InputError
        For values out of range.
    """

    generations: int = 14
    passes: int = 1
    order: Order = "random"
    step: float = 1.0
    hand_over: HandOver = "mean"
    patience_generations: int | None = None
    patience_blocks: int | None = None
    target_loss: float | None = None
    max_evaluations: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        at_least("generations", self.generations, 1)
        at_least("passes", self.passes, 0)
        one_of("order", self.order, get_args(Order))
        positive("step", self.step)
        one_of("hand_over", self.hand_over, get_args(HandOver))
        at_least("patience_generations", self.patience_generations, 1)
        at_least("patience_blocks", self.patience_blocks, 1)
        at_least("max_evaluations", self.max_evaluations, 1)
        positive("max_seconds", self.max_seconds)
        if self.target_loss is not None and not isfinite(self.target_loss):
            raise InputError(
                f"target_loss={self.target_loss} is out of range: choose a finite number.",
                "target_loss",
            )

    def check_budget(self, least: int) -> None:
        """Refuse a budget of evaluations below what the first generation takes.

        Raises
        ------
        InputError
        """
        if self.passes and self.max_evaluations is not None and self.max_evaluations < least:
            raise InputError(
                f"max_evaluations={self.max_evaluations} does not suffice for one generation: "
                f"choose {least} or more.",
                "max_evaluations",
            )
