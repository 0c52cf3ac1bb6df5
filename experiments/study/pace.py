"""The time of a training, by its first steps."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from experiments.monitor import Silent

# Seconds and steps of a training after which its whole is known well enough, and by how much the
# estimate may be above the truth.
_SECONDS, _STEPS, _TOO_MUCH = 2.0, 4, 1.2


class OutOfTimeError(Exception):
    """A training would not end in time.

    Attributes
    ----------
    seconds : float
        What it would take at least.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"{seconds:.0f} s")
        self.seconds = seconds


class Pace(Silent):
    """A monitor that ends a training which would take longer than there is time.

    Steps take as long as those before: seconds of a step, times the steps that are left.

    Parameters
    ----------
    ends : float
        When the trainings must have ended, as :func:`time.monotonic` has it.
    trainings : int, default=1
        How many such trainings there are still to be, this one included.
    """

    def __init__(self, ends: float, trainings: int = 1) -> None:
        self._ends, self._trainings = ends, trainings
        self._first: tuple[float, float] | None = None
        self._steps = 0
        self._is_training = False

    @contextmanager
    def task(self, name: str, done: float = 0.0) -> Iterator[None]:
        """See :meth:`.Monitor.task`."""
        self._is_training, self._first = name == "training", None
        yield
        self._is_training = False

    def show(self, fraction: float, text: str) -> None:
        """See :meth:`.Monitor.show`.

        Raises
        ------
        OutOfTimeError
        """
        if not self._is_training or fraction == 0:
            return
        now = time.monotonic()
        # The first step compiles; a smaller part than before belongs to something else.
        if self._first is None or fraction < self._first[1]:
            self._first, self._steps = (now, fraction), 0
        begun, from_where = self._first
        self._steps += fraction > from_where
        if now - begun < _SECONDS or self._steps < _STEPS:
            return
        whole = (now - begun) / (fraction - from_where)
        left = (1 - fraction + self._trainings - 1) * whole
        if left > _TOO_MUCH * (self._ends - now):
            raise OutOfTimeError(self._trainings * whole)
