"""Schedules: in which order blocks are optimized, and when each sees what the others found."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from evolve.block import Block
from evolve.budget import checks, group_size
from evolve.checkpoint import Checkpoint
from evolve.evaluation import Evaluator, NetworkExecutor
from evolve.events import BlockEnd, Event, Generation
from evolve.executors import Executor, SerialExecutor
from evolve.fitness.base import Fitness
from evolve.jobs import run
from evolve.optimizers import Optimizer
from evolve.plug_in import plug_in
from evolve.schedule_options import ScheduleOptions
from evolve.schedule_state import Progress, SavedSchedule
from evolve.search import Ablation, Limits, MakeOptimizer, Search
from slicing.checks import at_least
from slicing.errors import InputError

# The same streams for the same (pass, block), always: see Schedule.seed.
_ORDER_STREAM, _BLOCK_STREAM = 0, 1


class Schedule:
    """Which blocks are optimized when, and when each sees what the others found.

    Iterating runs the evolution: it gives a :class:`~evolve.events.Generation` after each
    generation and a :class:`~evolve.events.BlockEnd` for each block, block after block, in the same
    order whichever worker finishes first. The network found so far is always ``fitness.stack``.

    Parameters
    ----------
    fitness : Fitness
        Changed by the run: it holds the network.
    blocks : sequence of Block
    make_optimizer : callable
        Gives an :class:`~evolve.optimizers.Optimizer` from a start of shape (dim,), a step size and
        a random generator.
    options : ScheduleOptions, optional
    seed : int
        Every block of every pass draws from a stream of its own, so that its candidates depend on
        the seed, its place and its losses alone.
    executor : Executor, optional
        Where the candidates are evaluated; by default in this process. On machines with
        one kind of processor, it changes no result.
    checkpoint : Checkpoint, optional
        Where the state is kept, after each generation. If it holds the state of an earlier run of
        the same schedule, this run resumes it: iterating starts with the first event of the group
        of blocks under way, and ends with the same network, bit for bit, on the same machine with
        the same versions.

    Attributes
    ----------
    ended : str or None
        Why the run ended: ``passes`` where it was complete, the option that ended it, or the reason
        given to :meth:`stop`.

    Raises
    ------
    InputError
        For options that do not go together, and for the state of a schedule with other options,
        blocks or initial kernels.
    """

    _is_side_by_side: ClassVar[bool] = True

    synchronize: int | None = 1
    """How many blocks start from the same network, or None for all of a layer."""

    def __init__(
        self,
        fitness: Fitness,
        blocks: Sequence[Block],
        make_optimizer: MakeOptimizer,
        options: ScheduleOptions | None = None,
        *,
        seed: int = 0,
        executor: Executor[Any, Any] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.fitness, self.blocks, self.make_optimizer = fitness, blocks, make_optimizer
        self.options = options = options or ScheduleOptions()
        self.seed = seed
        executor = executor or SerialExecutor()
        self.check(executor)
        self._executor = NetworkExecutor(executor, lambda: self.fitness.stack)
        self.ended: str | None = None
        self._limits = Limits(
            options.generations, options.hand_over, options.patience_generations,
            options.target_loss,
        )  # fmt: skip
        self._progress = Progress()
        self._seconds_before = 0.0
        self._since: float | None = None
        self._searches: list[Search] = []
        self._stopping: str | None = None
        self._saved = SavedSchedule(checkpoint, self._identity(), blocks, fitness)
        found = self._saved.load()
        if found:
            self._progress, self._seconds_before = found

    @classmethod
    def check(cls, executor: Executor[Any, Any], **own: Any) -> None:
        """Refuse, before anything is computed, what no schedule can be made with.

        Raises
        ------
        InputError
            Where the schedule has no work for several workers, or one of its own options is out of
            range.
        """
        if not (cls._is_side_by_side or isinstance(executor, SerialExecutor)):
            raise InputError(
                f"executor={type(executor).__name__} has nothing to do: {cls.__name__} evaluates "
                "one block at a time; choose Parallel, or SerialExecutor.",
                "executor",
            )

    @property
    def n_blocks(self) -> int:
        """Blocks in the whole run, over all passes."""
        return self.options.passes * len(self.blocks)

    @property
    def blocks_done(self) -> int:
        """Number of finished blocks; they yield no further events."""
        return self._progress.pass_number * len(self.blocks) + self._progress.position

    @property
    def events(self) -> Sequence[Event]:
        """All events of the finished blocks, those before it was resumed included."""
        return self._progress.events

    @property
    def evaluations(self) -> int:
        """Candidates evaluated so far."""
        return self._progress.evaluations + sum(each.evaluations for each in self._searches)

    @property
    def seconds(self) -> float:
        """How long the evolution has taken, including the time before it was resumed."""
        now = 0.0 if self._since is None else time.monotonic() - self._since
        return self._seconds_before + now

    def stop(self, reason: str) -> None:
        """End after the generations under way; their blocks still hand over what they found.

        That is not part of the checkpoint: a resumed run continues as if it had never been stopped.
        """
        self._stopping = reason

    def __iter__(self) -> Iterator[Event]:
        self._since = time.monotonic()
        try:
            yield from self._evolve()
        finally:
            self._seconds_before, self._since = self.seconds, None

    def _evolve(self) -> Iterator[Event]:
        self.ended = self._reason_to_end()
        if self.ended:
            return
        with self._executor:
            self._executor.start(Evaluator(self.fitness), self._largest_group())
            while not self.ended:
                if not self._progress.order:
                    self._progress.order = self._make_order()
                if not self.ended:
                    yield from self._run_group()
                    self.ended = self.ended or self._reason_to_end()

    def _largest_group(self) -> int:
        blocks = sorted(self.blocks, key=lambda block: block.layers)
        return max(group_size(blocks[start:], self.synchronize) for start in range(len(blocks)))

    def _reason_to_end(self) -> str | None:
        progress, options = self._progress, self.options
        if self._reason_to_stop():
            return self._reason_to_stop()
        if options.target_loss is not None and self.fitness.loss <= options.target_loss:
            return "target_loss"
        if options.patience_blocks is not None and progress.rejected >= options.patience_blocks:
            return "patience_blocks"
        return "passes" if progress.pass_number >= options.passes else None

    def _reason_to_stop(self) -> str | None:
        """Why no further generation may start."""
        late = self.options.max_seconds is not None and self.seconds > self.options.max_seconds
        begun = self.blocks_done or any(search.generations for search in self._searches)
        return self._stopping or ("max_seconds" if late and begun else None)

    def _make_order(self) -> list[int]:
        """Order the blocks for a pass."""
        order = list(range(len(self.blocks)))
        if self.options.order == "random":
            self._stream(_ORDER_STREAM, self._progress.pass_number).shuffle(order)
        if self.options.order == "importance":
            needed = self.evaluations + len(order)
            if needed > (self.options.max_evaluations or needed):
                self._end_without_budget(needed + 1)
                return order
            ablations = [Ablation(self.fitness.stack, block) for block in self.blocks]
            for _ in run(ablations, self._executor, self._reason_to_stop):
                self._progress.evaluations += 1
            order.sort(key=lambda index: -ablations[index].loss)
        # Stable: blocks of a layer stay in their order.
        order.sort(key=lambda index: self.blocks[index].layers)
        return order

    def _stream(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    def _run_group(self) -> Iterator[Event]:
        """Optimize the next blocks, all from the same network, and plug in what they found."""
        before, progress = self.fitness.loss, self._progress
        self._begin_group()
        events: list[Event] = []
        for event in self._run_searches():
            events.append(event)
            yield event
        searched = [search for search in self._searches if search.generations]
        evaluations = self.evaluations
        accepted, after, checks = plug_in(self.fitness, searched, before)
        progress.evaluations = evaluations + checks
        self._searches = []
        for search in searched:
            is_accepted = search in accepted
            progress.rejected = 0 if is_accepted else progress.rejected + 1
            end = BlockEnd(
                search.block, search.number, self.n_blocks, before, after, is_accepted,
                progress.evaluations, search.non_finite, search.reasons,
            )  # fmt: skip
            events.append(end)
            yield end
        progress.position += len(searched)
        if progress.position == len(self.blocks):
            progress.pass_number += 1
            progress.position, progress.order = 0, []
        progress.events += events
        if not self._reason_to_stop():
            self._saved.save(progress, self.seconds)
            self._saved.discard(searched)

    def _end_without_budget(self, needed: int) -> None:
        """End, or raise an InputError where not even the first generation can start."""
        if not self.blocks_done:
            self.options.check_budget(needed)
        self.ended = "max_evaluations"

    def _begin_group(self) -> None:
        """Set up the searches that the budget has room for, and restore their states."""
        progress = self._progress
        indices = progress.order[progress.position :]
        size = group_size([self.blocks[index] for index in indices], self.synchronize)
        n_checks = checks(size)
        remaining = (self.options.max_evaluations or float("inf")) - progress.evaluations - n_checks
        self._searches = []
        for place, index in enumerate(indices[:size]):
            make_optimizer = partial(self._optimizer, index, progress.pass_number)
            make = partial(
                Search, self.fitness.stack, self.blocks[index], self.blocks_done + place,
                self.n_blocks, make_optimizer, self._limits, remaining,
            )  # fmt: skip
            search = make()
            if not search.affordable:
                # A block that does not fit may start the next group.
                if not place:
                    self._end_without_budget(progress.evaluations + search.needed + n_checks)
                break
            remaining -= search.reserved
            search, seconds = self._saved.resumed(search, make)
            self._seconds_before = max(self._seconds_before, seconds)
            self._searches.append(search)

    def _optimizer(self, index: int, pass_number: int) -> Optimizer:
        """Make the optimizer of a block in a pass."""
        block = self.blocks[index]
        start = block.read(self.fitness.stack)
        # A block whose weights are all equal has no spread; any step will do.
        sigma = self.options.step * (float(start.std()) or 1.0)
        return self.make_optimizer(start, sigma, self._stream(_BLOCK_STREAM, pass_number, index))

    def _run_searches(self) -> Iterator[Generation]:
        """Run the group's searches; give their generations, search after search."""
        place = seen = 0
        earlier = self._progress.evaluations
        running = run(self._searches, self._executor, self._reason_to_stop)
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
            if not self._stopping:
                self._saved.save_search(received, self._progress, self.seconds)

    def _identity(self) -> dict[str, Any]:
        """Give what a state must share with this schedule, to be resumed by it."""
        return {
            "strategy": type(self).__name__,
            "blocks": [[list(kernel) for kernel in block.kernels] for block in self.blocks],
            **asdict(self.options),
            "seed": self.seed,
            "kernels": self.fitness.stack.digest,
            "synchronize": self.synchronize,
        }


class Serial(Schedule):
    """One block after the other, each on top of what the blocks before it found (Gauss-Seidel).

    A block is plugged in if it improves the loss of the network. The parameters are those of
    :class:`Schedule`.
    """

    _is_side_by_side: ClassVar[bool] = False


class Parallel(Schedule):
    """All blocks of a group start from the same network, none sees the others (Jacobi).

    At the end of a group, the results are plugged in together. Blocks that improve the network
    alone may make it worse together: then the better half of them is tried, and so on down to the
    best one alone. The others are rejected.

    Parameters
    ----------
    fitness, blocks, make_optimizer, options, seed, executor, checkpoint
        See :class:`Schedule`.
    synchronize : int, optional
        Blocks a group; by default all blocks of a layer.
    """

    def __init__(
        self,
        fitness: Fitness,
        blocks: Sequence[Block],
        make_optimizer: MakeOptimizer,
        options: ScheduleOptions | None = None,
        *,
        synchronize: int | None = None,
        seed: int = 0,
        executor: Executor[Any, Any] | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        executor = executor or SerialExecutor()
        self.check(executor, synchronize=synchronize)
        self.synchronize = synchronize
        super().__init__(
            fitness, blocks, make_optimizer, options,
            seed=seed, executor=executor, checkpoint=checkpoint,
        )  # fmt: skip

    @classmethod
    def check(
        cls, executor: Executor[Any, Any], *, synchronize: int | None = None, **own: Any
    ) -> None:
        """See :meth:`Schedule.check`."""
        at_least("synchronize", synchronize, 1)
        super().check(executor, **own)
