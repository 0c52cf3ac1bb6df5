"""Schedules: in which order blocks are optimized, and when each sees what the others found."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.checkpoint import Checkpoint
from evolve.executors import Executor, SerialExecutor, Task
from evolve.fitness.base import Fitness
from evolve.optimizers import Optimizer
from evolve.search import Generation, HandOver, Limits, MakeOptimizer, Search
from slicing.errors import InputError
from slicing.stack import ConvStack

Order = Literal["layer", "random", "importance"]

# The same streams for the same (pass, block), whatever else happens: see Schedule.seed.
_ORDER_STREAM, _BLOCK_STREAM = 0, 1


@dataclass(frozen=True)
class BlockEnd:
    """How the optimization of one block ended.

    Attributes
    ----------
    block : Block
    block_number, n_blocks : int
        As in :class:`~evolve.search.Generation`.
    loss_before, loss_after : float
        Loss of the network before and after, on the same images; with :class:`Parallel`, before and
        after the group. Where :attr:`.Fitness.same_images` does not hold, the next block begins
        with the loss on other images.
    accepted : bool
        Whether what was found improved the network and was plugged in.
    evaluations : int
        Candidates evaluated in the whole run so far.
    non_finite : int
        How many of the block's candidates had a loss that was not finite.
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


STATE = "schedule"
"""Name of a schedule's state in its checkpoint; those of blocks come and go beside it."""


def _name(search: Search) -> str:
    """Name the state of a search."""
    return f"block-{search.number}"


@dataclass
class _Progress:
    """How far a schedule has come, between two groups of blocks.

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


class _Ablation:
    """Measures the loss without a block: with its weights and biases zero."""

    def __init__(self, stack: ConvStack, block: Block) -> None:
        self.task = Task(stack, block, np.zeros_like(block.read(stack))[None])
        self.loss = np.inf
        self.done = False

    def receive(self, losses: NDArray[np.float64], full_scans: int) -> None:
        self.loss, self.done = float(losses[0]), True

    def end(self, reason: str) -> None:
        self.done = True


_Job = TypeVar("_Job", Search, _Ablation)


@dataclass(eq=False)
class Schedule(ABC):
    """Which blocks are optimized when, and when each sees what the others found.

    Iterating runs the evolution: it gives a :class:`~evolve.search.Generation` after each
    generation and a :class:`BlockEnd` for each block, block after block, whatever order the
    executor's workers finish them in. What was found so far is always ``fitness.stack``.

    Parameters
    ----------
    fitness : Fitness
        Changed by the run: it holds the network.
    blocks : sequence of Block
    make_optimizer : callable
        Gives an :class:`~evolve.optimizers.Optimizer` from a start of shape (dim,), a step size and
        a random generator.
    generations : int
        Generations a block.
    passes : int
        How often all blocks are gone through; 0 leaves the network as it is.
    order : {"layer", "random", "importance"}
        Layer by layer as in the slides; within a layer kernel by kernel, or shuffled anew in every
        pass, or first those without which (all weights and the bias zero) the loss is highest,
        which takes one evaluation a block and pass.
    step : float
        Initial step size, in standard deviations of the block's own weights.
    hand_over : {"mean", "best", "selection"}
        What a block hands over if it improves the loss: the mean of the optimizer's distribution,
        the best candidate, or whichever of the two has the smaller loss on the selection queries.
    patience_generations, patience_blocks : int, optional
        A block ends after so many generations without a new best, and the run after so many blocks
        in a row that were not plugged in.
    target_loss : float, optional
        A block ends with a candidate, and the run with a network, whose loss is not above this.
    seed : int
        Every block of every pass draws from a stream of its own, so that its candidates depend on
        nothing but the seed, its place and its losses.
    max_evaluations : int, optional
        No generation begins that, with what follows it, could pass this number of evaluations.
    max_seconds : float, optional
        No generation but the first begins after this time. What a run finds that it ends depends on
        the machine's speed.
    executor : Executor, optional
        Where the candidates are evaluated; by default in this process. It changes no result.
    selection : Fitness, optional
        The loss on the selection queries, for ``hand_over="selection"``.
    checkpoint : Checkpoint, optional
        Where the state is kept, after each generation. If it holds that of an earlier run of the
        same schedule, this one goes on from there: iterating begins with the first event of the
        group of blocks under way, and ends with the same network, bit for bit.

    Attributes
    ----------
    ended : str or None
        Why the run ended: ``passes`` where it went to its end, the option that ended it, or what
        :meth:`stop` was given.

    Raises
    ------
    InputError
        For options out of their range or that do not go together, and for the state of a schedule
        with other options, blocks or kernels to begin with.
    """

    _is_side_by_side: ClassVar[bool] = True

    fitness: Fitness
    blocks: Sequence[Block]
    make_optimizer: MakeOptimizer
    _: KW_ONLY
    generations: int = 14
    passes: int = 1
    order: Order = "random"
    step: float = 1.0
    hand_over: HandOver = "mean"
    patience_generations: int | None = None
    patience_blocks: int | None = None
    target_loss: float | None = None
    seed: int = 0
    max_evaluations: int | None = None
    max_seconds: float | None = None
    executor: Executor = field(default_factory=SerialExecutor)
    selection: Fitness | None = None
    checkpoint: Checkpoint | None = None

    def __post_init__(self) -> None:
        for name in (
            "generations", "patience_generations", "patience_blocks", "max_evaluations",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}={value} is not possible: give 1 or more.")
        if self.passes < 0:
            raise InputError(f"passes={self.passes} is not possible: give 0 or more.")
        for name in ("step", "max_seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name}={value} is not possible: give a positive, finite number.")
        for name, choices in (("order", get_args(Order)), ("hand_over", get_args(HandOver))):
            choice = getattr(self, name)
            if choice not in choices:
                raise InputError(f"{name}={choice!r} is unknown: choose one of {choices}.")
        self.check_executor(self.executor)
        if (self.hand_over == "selection") != (self.selection is not None):
            raise InputError("hand_over='selection' and selection queries come together, or not.")
        self.ended: str | None = None
        self._limits = Limits(
            self.generations, self.hand_over, self.patience_generations, self.target_loss
        )
        self._progress = _Progress()
        self._seconds_before = 0.0
        self._since: float | None = None
        self._searches: list[Search] = []
        self._stopping: str | None = None
        self._restore()

    @classmethod
    def check_executor(cls, executor: Executor) -> None:
        """Raise an InputError about workers that a schedule has nothing to do for."""
        if not (cls._is_side_by_side or isinstance(executor, SerialExecutor)):
            raise InputError(
                "A serial schedule evaluates one block at a time and has nothing to do for several "
                "workers: choose strategy=parallel, or executor=serial."
            )

    @property
    def n_blocks(self) -> int:
        """Blocks in the whole run, over all passes."""
        return self.passes * len(self.blocks)

    @property
    def blocks_done(self) -> int:
        """Blocks, from the first, of which no event will come any more."""
        return self._progress.pass_number * len(self.blocks) + self._progress.position

    @property
    def evaluations(self) -> int:
        """Candidates evaluated so far."""
        return self._progress.evaluations + sum(each.evaluations for each in self._searches)

    @property
    def seconds(self) -> float:
        """How long the evolution has taken, with the time before it was resumed."""
        now = 0.0 if self._since is None else time.monotonic() - self._since
        return self._seconds_before + now

    def stop(self, reason: str) -> None:
        """End after the generations under way; their blocks still hand over what they found.

        What comes of that is not part of the checkpoint: resumed, the run goes on as if it had
        never been stopped.
        """
        self._stopping = reason

    def __iter__(self) -> Iterator[Generation | BlockEnd]:
        self._since = time.monotonic()
        try:
            yield from self._evolve()
        finally:
            self._seconds_before, self._since = self.seconds, None

    def _evolve(self) -> Iterator[Generation | BlockEnd]:
        self.ended = self._reason_to_end()
        if self.ended:
            return
        with self.executor:
            self.executor.start(self.fitness, self.selection, self._largest_group())
            while not self.ended:
                if not self._progress.order:
                    self._progress.order = self._make_order()
                if not self.ended:
                    yield from self._run_group()
                    self.ended = self.ended or self._reason_to_end()

    @abstractmethod
    def _group_size(self, blocks: list[Block]) -> int:
        """How many of the blocks, from the first, start from the same network."""

    def _largest_group(self) -> int:
        blocks = sorted(self.blocks, key=lambda block: block.layers)
        return max(self._group_size(blocks[start:]) for start in range(len(blocks)))

    def _reason_to_end(self) -> str | None:
        progress = self._progress
        if self._reason_to_stop():
            return self._reason_to_stop()
        if self.target_loss is not None and self.fitness.loss <= self.target_loss:
            return "target_loss"
        if self.patience_blocks is not None and progress.rejected >= self.patience_blocks:
            return "patience_blocks"
        return "passes" if progress.pass_number == self.passes else None

    def _reason_to_stop(self) -> str | None:
        """Why no further generation may begin."""
        late = self.max_seconds is not None and self.seconds > self.max_seconds
        begun = self.blocks_done or any(search.generations for search in self._searches)
        return self._stopping or ("max_seconds" if late and begun else None)

    def _make_order(self) -> list[int]:
        """Order the blocks for a pass."""
        order = list(range(len(self.blocks)))
        if self.order == "random":
            self._stream(_ORDER_STREAM, self._progress.pass_number).shuffle(order)
        if self.order == "importance":
            needed = self.evaluations + len(order)
            if needed > (self.max_evaluations or needed):
                self._end_without_budget(needed + 1)
                return order
            ablations = [_Ablation(self.fitness.stack, block) for block in self.blocks]
            for _ in self._run(ablations):
                self._progress.evaluations += 1
            order.sort(key=lambda index: -ablations[index].loss)
        # Stable: blocks of a layer stay in their order.
        order.sort(key=lambda index: self.blocks[index].layers)
        return order

    def _stream(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    def _run_group(self) -> Iterator[Generation | BlockEnd]:
        """Optimize the next blocks, all from the same network, and plug in what they found."""
        before, progress = self.fitness.loss, self._progress
        self._begin_group()
        yield from self._run_searches()
        searched = [search for search in self._searches if search.generations]
        evaluations = self.evaluations
        accepted, after, checks = self._plug_in(searched, before)
        progress.evaluations = evaluations + checks
        self._searches = []
        for search in searched:
            is_accepted = search in accepted
            progress.rejected = 0 if is_accepted else progress.rejected + 1
            yield BlockEnd(
                search.block,
                search.number,
                self.n_blocks,
                before,
                after,
                is_accepted,
                progress.evaluations,
                search.non_finite,
                search.reasons,
            )
        progress.position += len(searched)
        if progress.position == len(self.blocks):
            progress.pass_number, progress.position, progress.order = (
                progress.pass_number + 1,
                0,
                [],
            )
        if self._reason_to_stop():
            return
        self._save()
        if self.checkpoint:
            for search in searched:
                self.checkpoint.discard(_name(search))

    def _end_without_budget(self, needed: int) -> None:
        """End, or raise an InputError where not even the first generation can begin."""
        if not self.blocks_done:
            raise InputError(
                f"max_evaluations={self.max_evaluations} does not suffice for one generation: "
                f"give at least {needed}."
            )
        self.ended = "max_evaluations"

    def _begin_group(self) -> None:
        """Set up the searches that the budget has room for, as far as they had come."""
        progress = self._progress
        indices = progress.order[progress.position :]
        size = self._group_size([self.blocks[index] for index in indices])
        checks = size.bit_length() - 1  # of all, of half, of a quarter ...
        remaining = (self.max_evaluations or float("inf")) - progress.evaluations - checks
        self._searches = []
        for place, index in enumerate(indices[:size]):
            search = Search(
                self.fitness.stack,
                self.blocks[index],
                self.blocks_done + place,
                self.n_blocks,
                partial(self._optimizer, index, progress.pass_number),
                self._limits,
                remaining,
            )
            if not search.affordable:
                # What a group has no room for begins the next one, or does not.
                if not place:
                    self._end_without_budget(progress.evaluations + search.needed + checks)
                break
            remaining -= search.reserved
            state = self.checkpoint and self.checkpoint.load(_name(search))
            if state:
                search.restore(state["search"])
                self._seconds_before = max(self._seconds_before, state["seconds"])
            self._searches.append(search)

    def _optimizer(self, index: int, pass_number: int) -> Optimizer:
        """Make the optimizer of a block in a pass."""
        block = self.blocks[index]
        start = block.read(self.fitness.stack)
        # A block whose weights are all equal has no spread of its own; any step will do.
        sigma = self.step * (float(start.std()) or 1.0)
        return self.make_optimizer(start, sigma, self._stream(_BLOCK_STREAM, pass_number, index))

    def _run_searches(self) -> Iterator[Generation]:
        """Run the group's searches; give their generations, search after search."""
        place = seen = 0
        earlier = self._progress.evaluations
        running = self._run(self._searches)
        while True:
            for search in self._searches[place:]:
                for event in search.generations[seen:]:
                    yield replace(event, evaluations=earlier + event.evaluations)
                seen = len(search.generations)
                if not search.done:
                    break
                earlier += search.evaluations
                place, seen = place + 1, 0
            received = next(running, None)
            if received is None:
                return
            if self.checkpoint and not self._stopping:
                if not self.checkpoint.has(STATE):
                    self._save()
                state = {"search": received.state(), "seconds": self.seconds}
                self.checkpoint.save(_name(received), state)

    def _run(self, jobs: Sequence[_Job]) -> Iterator[_Job]:
        """Do jobs side by side; give each after each of its tasks, before its next."""
        waiting, busy = deque(jobs), {}
        idle = list(range(self.executor.n_slots))

        def go_on(slot: int, job: _Job) -> None:
            reason = self._reason_to_stop()
            if reason:
                job.end(reason)
            if job.done:
                idle.append(slot)
            else:
                busy[slot] = job
                self.executor.submit(slot, job.task)

        while True:
            while idle and waiting:
                go_on(idle.pop(0), waiting.popleft())
            if not busy:
                return
            slot, losses, full_scans = self.executor.wait()
            job = busy.pop(slot)
            job.receive(losses, full_scans)
            yield job
            go_on(slot, job)

    def _plug_in(self, searches: list[Search], before: float) -> tuple[list[Search], float, int]:
        """Adopt what the searches found, or as much of it, the best first, as together improves.

        Returns
        -------
        plugged_in : list of Search
        after : float
            Loss of the network with them.
        checks : int
            Evaluations that it took.
        """
        improved = sorted(
            (search for search in searches if search.loss < before), key=lambda each: each.loss
        )
        checks = 0
        while improved:
            # A block's vector holds its kernels in ascending order.
            parts = sorted(improved, key=lambda each: each.block.kernels)
            joint = Block(tuple(kernel for part in parts for kernel in part.block.kernels))
            vector = np.concatenate([part.vector for part in parts if part.vector is not None])
            loss = improved[0].loss
            if len(improved) > 1:
                self.fitness.bind(joint)
                loss = float(self.fitness.losses(vector[None])[0])
                checks += 1
            if loss < before:
                self.fitness.adopt(joint.write(self.fitness.stack, vector), loss)
                return improved, loss, checks
            improved = improved[: len(improved) // 2]
        return [], before, checks

    def _identity(self) -> dict[str, Any]:
        """Tell what a state must be of, for this schedule to go on from it."""
        machinery = ("fitness", "make_optimizer", "executor", "selection", "checkpoint")
        names = [each.name for each in fields(self) if each.name not in machinery]
        options = {name: getattr(self, name) for name in names}
        kernels = self.fitness.stack.digest
        return {"strategy": type(self).__name__, **options, "kernels": kernels}

    def _save(self) -> None:
        if self.checkpoint:
            convs = self.fitness.stack.convs
            state = {
                "identity": self._start,
                "progress": self._progress,
                "kernels": [(conv.weights, conv.bias) for conv in convs],
                "loss": self.fitness.loss,
                "seconds": self.seconds,
            }
            self.checkpoint.save(STATE, state, durable=True)

    def _restore(self) -> None:
        self._start = self._identity()
        if self.checkpoint is None:
            return
        state = self.checkpoint.load(STATE)
        if state is None:
            return
        for name, value in self._start.items():
            if state["identity"][name] != value:
                raise InputError(
                    f"The state in {self.checkpoint.folder} is that of another run, in which "
                    f"{name} differs: begin in another folder."
                )
        self._progress = state["progress"]
        self._seconds_before = state["seconds"]
        stack = self.fitness.stack
        for index, (weights, bias) in enumerate(state["kernels"]):
            stack = stack.with_conv(index, replace(stack.convs[index], weights=weights, bias=bias))
        self.fitness.adopt(stack, state["loss"])


@dataclass(eq=False)
class Serial(Schedule):
    """One block after the other, each on top of what the blocks before it found (Gauss-Seidel).

    A block is plugged in if it improves the loss of the network. The parameters are those of
    :class:`Schedule`.
    """

    _is_side_by_side: ClassVar[bool] = False

    def _group_size(self, blocks: list[Block]) -> int:
        return 1


@dataclass(eq=False)
class Parallel(Schedule):
    """All blocks of a group start from the same network, none sees the others (Jacobi).

    At the end of a group what was found is plugged in, together. Blocks that improve the network
    each on its own may make it worse together: then the better half of them is tried, and so on
    down to the best one alone. What is left out is rejected.

    The parameters are those of :class:`Schedule`, and

    Parameters
    ----------
    synchronize : int, optional
        Blocks a group; by default all blocks of a layer are one.
    """

    synchronize: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.synchronize is not None and self.synchronize < 1:
            raise InputError(f"synchronize={self.synchronize} is not possible: give 1 or more.")
        super().__post_init__()

    def _group_size(self, blocks: list[Block]) -> int:
        layer = [block for block in blocks if block.layers == blocks[0].layers]
        return min(len(layer), self.synchronize or len(layer))
