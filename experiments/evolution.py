"""Evolution in a run: tell a monitor what the schedule yields, and stop it when that says so."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan

from evolve.events import BlockEnd, Event
from evolve.schedule import Schedule
from experiments.monitor import Interrupts, Monitor, Monitors
from slicing.stack import ConvStack

# Seconds of generations from which the time of all is estimated, and below which it is not said.
_ENOUGH, _SHORT = 2.0, 90.0


@dataclass(frozen=True)
class Evolution:
    """The result of evolution; the stack alone where nothing is evolved."""

    stack: ConvStack
    loss_before: float = nan
    loss_after: float = nan
    n_blocks: int = 0
    evaluations: int = 0
    seconds: float = 0.0
    ended: str = ""
    events: Sequence[Event] = ()
    interrupted: bool = False

    @property
    def ends(self) -> list[BlockEnd]:
        """The ends of the blocks."""
        return [event for event in self.events if isinstance(event, BlockEnd)]


def run_schedule(
    schedule: Schedule, monitor: Monitor, after_stop: Callable[[Event], None]
) -> str | None:
    """Run a schedule to its end, until Ctrl-C, or until a monitor stops it.

    Parameters
    ----------
    schedule : Schedule
    monitor : Monitor
        Gets every event until the schedule is stopped.
    after_stop : callable
        Gets the events after that: the blocks under way end early. A resumed run repeats them.

    Returns
    -------
    str or None
        Why it was stopped; None where it ended by itself.
    """
    options = schedule.options
    at_first, done = None, schedule.blocks_done / max(schedule.n_blocks, 1)
    reason = None
    with Interrupts(schedule.stop) as interrupts:
        monitor = Monitors(monitor, interrupts)
        with monitor.task("evolving", done):
            begun = time.monotonic()
            monitor.show(done, "computing what stays the same")
            ahead = _TimeAhead()
            for event in schedule:
                at_first = schedule.evaluations if at_first is None else at_first
                reason = reason or monitor.stop_reason()
                if reason is not None:
                    schedule.stop(reason)
                    after_stop(event)
                else:
                    monitor.event(event)
                if isinstance(event, BlockEnd):
                    continue
                done = max(
                    (event.block_number + event.generation / event.n_generations) / event.n_blocks,
                    event.evaluations / (options.max_evaluations or float("inf")),
                    schedule.seconds / (options.max_seconds or float("inf")),
                )
                if estimate := ahead.of(done):
                    monitor.say(estimate)
                speed = (schedule.evaluations - at_first) / (time.monotonic() - begun)
                # The first generation compiles, and tells nothing of those to come.
                rate = f", {speed:.3g} evaluations/s" if speed else ""
                monitor.show(
                    min(done, 1.0),
                    f"{event.block.name} ({event.block_number + 1}/{event.n_blocks}), "
                    f"generation {event.generation}/{event.n_generations}, "
                    f"best loss {event.best_loss:.4f}{rate}",
                )
    # Ctrl-C may have come where no event followed.
    return reason or interrupts.stop_reason()


class _TimeAhead:
    """Estimates how long evolution takes: once, from the speed of its first generations."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._is_said = False

    def of(self, done: float) -> str:
        """Give the estimate as a sentence as soon as there is one that is worth it, else ""."""
        now = time.monotonic()
        if self._first is None:
            # The first generation compiles, and tells nothing of those to come.
            self._first = now, done
        begun, before = self._first
        if self._is_said or now - begun < _ENOUGH or done <= before:
            return ""
        self._is_said = True
        seconds = (now - begun) * (1.0 - done) / (done - before)
        if seconds < _SHORT:
            return ""
        minutes = seconds / 60
        time_ahead = f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
        return (
            f"At the speed of its first generations evolution takes about {time_ahead} more, less "
            "if it ends early"
        )
