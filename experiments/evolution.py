"""Running a schedule: what it yields is shown, written down and logged, and Ctrl-C ends it."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from evolve.events import BlockEnd, Generation
from evolve.schedule import Schedule
from experiments.history import Event, History
from experiments.progress import Progress
from experiments.tracking import Tracker


def run_schedule(
    schedule: Schedule, history: History, progress: Progress, tracker: Tracker
) -> bool:
    """Run a schedule to its end, or until Ctrl-C.

    Parameters
    ----------
    schedule : Schedule
    history : History
        Gets every event; what it holds already is logged again.
    progress : Progress
    tracker : Tracker
        Gets the losses of every generation and block, under a step each.

    Returns
    -------
    bool
        Whether Ctrl-C ended it early.
    """
    generations = 0
    # What an earlier process had not handed to MLflow any more when it ended.
    for event in history.events:
        generations += isinstance(event, Generation)
        tracker.log(*_metrics(event, generations))
    at_first, done = None, schedule.blocks_done / max(schedule.n_blocks, 1)
    with progress.task("evolving", done), stopped_by_interrupt(schedule) as interrupted:
        progress.show(done, "computing what stands still")
        for event in schedule:
            at_first = schedule.evaluations if at_first is None else at_first
            history.append(event)
            generations += isinstance(event, Generation)
            # What comes of blocks that are cut short is not logged: resumed, they end otherwise.
            if not interrupted.is_set():
                tracker.log(*_metrics(event, generations))
            if isinstance(event, BlockEnd):
                continue
            done = max(
                (event.block_number + event.generation / event.n_generations) / event.n_blocks,
                event.evaluations / (schedule.options.max_evaluations or float("inf")),
                schedule.seconds / (schedule.options.max_seconds or float("inf")),
            )
            speed = (schedule.evaluations - at_first) / progress.seconds
            progress.show(
                min(done, 1.0),
                f"{event.block.name} ({event.block_number + 1}/{event.n_blocks}), "
                f"generation {event.generation}/{event.n_generations}, "
                f"best loss {event.best_loss:.4f}, {speed:.3g} evaluations/s",
            )
    return interrupted.is_set()


def _metrics(event: Event, generations: int) -> tuple[dict[str, float], int]:
    """Give what MLflow shows of an event, and at which step."""
    if isinstance(event, BlockEnd):
        accepted = float(event.accepted)
        metrics = {"block/loss": event.loss_after, "block/accepted": accepted}
        return metrics, event.block_number
    return {
        "evolve/best_loss": event.best_loss,
        "evolve/mean_loss": event.mean_loss,
        "evolve/sigma": event.sigma,
        "evolve/evaluations": event.evaluations,
        "evolve/full_scans": event.counts.get("full_scans", 0),
    }, generations


@contextmanager
def stopped_by_interrupt(schedule: Schedule) -> Iterator[threading.Event]:
    """Let the first Ctrl-C end the schedule after its generation, and the second at once.

    Yields
    ------
    threading.Event
        Set by the first.
    """
    interrupted = threading.Event()
    # Python gives signals to the main thread alone.
    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return

    def stop(signum: int, frame: object) -> None:
        signal.signal(signal.SIGINT, previous)
        interrupted.set()
        schedule.stop("interrupted")
        # Not print: the signal may have come in the middle of one.
        with suppress(OSError):
            os.write(2, b"\nStopping after this generation; Ctrl-C again ends at once.\n")

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, previous)
