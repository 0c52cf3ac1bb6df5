"""Run a schedule: tell a monitor what it yields, and stop it when the monitor says so."""

import time
from collections.abc import Callable

from evolve.events import BlockEnd, Event
from evolve.schedule import Schedule
from experiments.monitor import Interrupts, Monitor, Monitors


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
