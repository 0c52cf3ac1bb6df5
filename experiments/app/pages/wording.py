"""Times, sizes and states in words."""

import time

from experiments.app.job import State
from experiments.statistics import Accuracy

KINDS = {"study": "Search for a classifier", "inspect": "Look at photos", "adaptive": "Fast system"}
"""What the kinds of jobs are called."""

_STATES = {
    State.QUEUED: "waits for its turn",
    State.RUNNING: "at work",
    State.FINISHED: "finished",
    State.CANCELLED: "cancelled",
    State.FAILED: "failed",
}
_ENDING = {"stop": "finishes with the best so far", "cancel": "is being cancelled"}


def state_of(state: State, asked: str) -> str:
    """Say what has become of a job that somebody asked for something, or nothing."""
    if state == State.RUNNING and asked:
        return _ENDING[asked]
    return _STATES[state]


def duration(seconds: float) -> str:
    """Say how long something takes, as roughly as one would."""
    if seconds < 60:
        return f"{max(seconds, 0):.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours / 24:.0f} days"


def ago(then: float) -> str:
    """Say how long ago something was."""
    passed = time.time() - then
    return "just now" if passed < 60 else f"{duration(passed)} ago"


def size(n_bytes: float) -> str:
    """Say how large a file is."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"


def milliseconds(value: float) -> str:
    """Write a time that a photo takes."""
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def between(accuracy: Accuracy) -> str:
    """Say how exactly an accuracy is known."""
    low, high = accuracy.interval()
    return f"between {100 * low:.0f} and {100 * high:.0f} %"


def percent(share: float) -> str:
    """Write a share."""
    return f"{100 * share:.1f} %"


def photos(number: int) -> str:
    """Count photos."""
    return "1 photo" if number == 1 else f"{number:,} photos"
