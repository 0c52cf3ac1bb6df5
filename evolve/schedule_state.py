"""The state of a schedule between two groups of blocks, in memory and on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from evolve.checkpoint import Checkpoint
from evolve.fitness.base import Fitness
from slicing.errors import InputError

STATE = "schedule"
"""Name of a schedule's state in its checkpoint; the states of blocks come and go beside it."""


@dataclass
class Progress:
    """How far a schedule has come.

    Attributes
    ----------
    pass_number : int
    order : list of int
        Indices of the blocks in this pass; empty before it.
    position : int
        How many of them are done.
    evaluations : int
    rejected : int
        How many blocks in a row were not plugged in.
    """

    pass_number: int = 0
    order: list[int] = field(default_factory=list)
    position: int = 0
    evaluations: int = 0
    rejected: int = 0

    def save(
        self, checkpoint: Checkpoint, identity: Mapping[str, Any], fitness: Fitness, seconds: float
    ) -> None:
        """Save it with the current kernels.

        Parameters
        ----------
        checkpoint : Checkpoint
        identity : mapping
            What must be the same for a schedule to resume from this state, by name.
        fitness : Fitness
            Holds the kernels.
        seconds : float
            How long the evolution has taken.
        """
        state = {
            "identity": identity,
            "progress": self,
            "kernels": [(conv.weights, conv.bias) for conv in fitness.stack.convs],
            "loss": fitness.loss,
            "seconds": seconds,
        }
        checkpoint.save(STATE, state, durable=True)


def load(
    checkpoint: Checkpoint, identity: Mapping[str, Any], fitness: Fitness
) -> tuple[Progress, float] | None:
    """Load a state, and let the fitness adopt its kernels.

    Returns
    -------
    progress : Progress
    seconds : float

    If there is no state, nothing happens, and None is returned.

    Raises
    ------
    InputError
        For the state of a schedule with another identity.
    """
    state = checkpoint.load(STATE)
    if state is None:
        return None
    for name, value in identity.items():
        if name not in state["identity"] or state["identity"][name] != value:
            raise InputError(
                f"The state in {checkpoint.folder} is that of another run, in which {name} "
                "differs: choose another folder."
            )
    stack = fitness.stack
    for index, (weights, bias) in enumerate(state["kernels"]):
        stack = stack.with_conv(index, replace(stack.convs[index], weights=weights, bias=bias))
    fitness.adopt(stack, state["loss"])
    return state["progress"], state["seconds"]
