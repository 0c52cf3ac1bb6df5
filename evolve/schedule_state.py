"""The state of a schedule, and those of its searches, in memory and on disk."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import uuid4

import numpy as np

from evolve.block import Block
from evolve.checkpoint import Checkpoint, State
from evolve.event_columns import events_of, state_of
from evolve.events import Event
from evolve.fitness.base import Fitness
from evolve.search import Search
from evolve.search_record import SearchRecord
from slicing.errors import InputError
from slicing.stack import ConvStack

log = logging.getLogger(__name__)

STATE = "schedule"
"""Name of a schedule's state in its checkpoint; the states of blocks come and go beside it."""


@dataclass
class Progress:
    """How far a schedule has come: all of it between two groups of blocks, but for the network.

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
    events : list of Generation and BlockEnd
        Of the blocks that are done.
    """

    pass_number: int = 0
    order: list[int] = field(default_factory=list)
    position: int = 0
    evaluations: int = 0
    rejected: int = 0
    events: list[Event] = field(default_factory=list)


class SavedSchedule:
    """The states of a schedule and of its searches in a checkpoint; without one, none are kept.

    Parameters
    ----------
    checkpoint : Checkpoint or None
    identity : mapping of str to object
        What must be the same for a schedule to resume from a state, by name: values that JSON can
        express.
    blocks : sequence of Block
        Those of a pass.
    fitness : Fitness
        Holds the kernels.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        identity: Mapping[str, Any],
        blocks: Sequence[Block],
        fitness: Fitness,
    ) -> None:
        self._checkpoint, self._identity = checkpoint, identity
        self._blocks, self._fitness = blocks, fitness
        # The states of searches bear it: their losses are those of this run's images.
        self._run = uuid4().hex

    def load(self) -> tuple[Progress, float] | None:
        """Load the state, and let the fitness adopt its kernels.

        Returns
        -------
        progress : Progress
        seconds : float
            How long the evolution has taken.

        If there is no state, nothing happens, and None is returned.

        Raises
        ------
        InputError
            For the state of a schedule with another identity.
        """
        if self._checkpoint is None or (state := self._checkpoint.load(STATE)) is None:
            return None
        with self._checkpoint.understood(STATE):
            before = state.get("identity", dict)
            for name, value in self._identity.items():
                if name not in before or before[name] != value:
                    raise InputError(
                        f"The state in {self._checkpoint.folder} is that of another run, in which "
                        f"{name} differs: choose another folder."
                    )
            run, progress = state.get("run", str), _progress_of(state, self._blocks)
            seconds, loss = state.get("seconds", float), state.get("loss", float)
            stack = _stack_of(state, self._fitness.stack)
        self._fitness.adopt(stack, loss)
        self._run = run
        return progress, seconds

    def save(self, progress: Progress, seconds: float) -> None:
        """Save the progress with the current kernels."""
        if self._checkpoint is None:
            return
        events = state_of(progress.events, self._blocks)
        settings = {
            "identity": self._identity,
            "run": self._run,
            "progress": asdict(replace(progress, events=[])),
            "loss": float(self._fitness.loss),
            "seconds": seconds,
        }
        kernels = {
            f"conv{number}.{part}": getattr(conv, part)
            for number, conv in enumerate(self._fitness.stack.convs, 1)
            for part in ("weights", "bias")
        }
        settings, arrays = settings | events.settings, kernels | events.arrays
        self._checkpoint.save(STATE, settings, arrays, durable=True)

    def save_search(self, search: Search, progress: Progress, seconds: float) -> None:
        """Save what a search has received."""
        if self._checkpoint is None:
            return
        if not self._checkpoint.has(STATE):
            self.save(progress, seconds)
        state = search.record().state()
        own = {"run": self._run, "network": search.network, "seconds": seconds}
        self._checkpoint.save(_name(search), own | state.settings, state.arrays)

    def resumed(self, search: Search, make: Callable[[], Search]) -> tuple[Search, float]:
        """Let a fresh search go on from its state, if there is one.

        A state that does not fit is left aside, with a warning in the log.

        Parameters
        ----------
        search : Search
        make : callable
            Gives another, equal one.

        Returns
        -------
        search : Search
            The same, or another one that begins again.
        seconds : float
            How long the evolution had taken; 0 where it begins.
        """
        name = _name(search)
        if self._checkpoint is None or (state := self._checkpoint.load(name)) is None:
            return search, 0.0
        own = {"run": self._run, "network": search.network}
        try:
            if any(state.settings.get(key) != value for key, value in own.items()):
                raise InputError("It is that of another run.")
            with self._checkpoint.understood(name):
                search.replay(SearchRecord.of(state))
                return search, state.get("seconds", float)
        except InputError as error:
            text = "The state of %s does not count, so the block begins again. %s"
            log.warning(text, search.block.name, error)
            return make(), 0.0

    def discard(self, searches: Sequence[Search]) -> None:
        """Remove the states of searches."""
        if self._checkpoint is not None:
            for search in searches:
                self._checkpoint.discard(_name(search))


def _name(search: Search) -> str:
    return f"block-{search.number}"


def _progress_of(state: State, blocks: Sequence[Block]) -> Progress:
    """Read the progress; KeyError, TypeError or ValueError where it is none."""
    values = State(state.get("progress", dict), {})
    found = {name: values.get(name, type(value)) for name, value in asdict(Progress()).items()}
    progress = Progress(**{**found, "events": events_of(state, blocks)})
    order = progress.order
    if order and sorted(order) != list(range(len(blocks))):
        raise ValueError("the order is none of the blocks")
    numbers = [value for value in [*found.values(), *order] if not isinstance(value, list)]
    if any(type(value) is not int or value < 0 for value in numbers):
        raise ValueError("a number is none of a count")
    if progress.position and progress.position >= len(order):
        raise ValueError("the position is none in the order")
    return progress


def _stack_of(state: State, stack: ConvStack) -> ConvStack:
    """Read the kernels; KeyError or TypeError where they are not those of such a network."""
    for index, conv in enumerate(stack.convs):
        weights = state.array(f"conv{index + 1}.weights", np.float32, 4)
        bias = state.array(f"conv{index + 1}.bias", np.float32)
        if (weights.shape, bias.shape) != (conv.weights.shape, conv.bias.shape):
            raise TypeError("the kernels are of another shape")
        if not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise ValueError("the kernels are not finite")
        stack = stack.with_conv(index, replace(conv, weights=weights, bias=bias))
    return stack
