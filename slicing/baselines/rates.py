"""Learning rates: how they change during a training, and the test that proposes one."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, floor, pi

import numpy as np

from slicing.checks import at_least, one_of, positive
from slicing.errors import InputError

POLICIES = ("fixed", "step", "exponential", "cosine", "one_cycle", "triangular", "plateau")

# Of the range test: by how much the last loss is trusted, how much worse than the best a loss is
# when the training has diverged, and how far below the best rate one is safe.
_SMOOTHING, _DIVERGED, _SAFETY = 0.2, 4.0, 10.0
# Of one cycle, as in PyTorch's OneCycleLR: the share of the training in which the rate rises, and
# by how much it starts below its largest, and ends below its start.
_RISING, _START, _END = 0.3, 25.0, 1e4


@dataclass(frozen=True)
class Policy:
    """How the learning rate changes during a training.

    With r the rate that is given, t the epochs that are done and T those that there are, both
    without the warm-up:

    - ``fixed``: r.
    - ``step``: r times ``decay``, to the power t / ``period``, rounded down.
    - ``exponential``: r times ``decay``, to the power t / ``period``.
    - ``cosine``: r (1 + cos(π t / T)) / 2 (Loshchilov and Hutter, "SGDR", ICLR 2017).
    - ``one_cycle``: from r / 25 up to r in the first 30% of the training, and down to almost
      nothing, along cosines (Smith and Topin, "Super-convergence", 2019; PyTorch's OneCycleLR).
    - ``triangular``: from ``decay`` times r up to r in ``period`` epochs, down as fast, and again
      (Smith, "Cyclical learning rates", WACV 2017).
    - ``plateau``: r times ``decay``, to the power of how often the loss has not fallen for
      ``period`` epochs.

    Attributes
    ----------
    name : str
        One of those above.
    epochs : int
        Those of the training, with the warm-up.
    warm_up : float
        Epochs in which the rate rises linearly from 0 to r before that.
    decay : float
        Above 0, and at most 1.
    period : float
        In epochs.

    Raises
    ------
    InputError
        For what is unknown or out of range.
    """

    name: str
    epochs: int
    warm_up: float = 0.0
    decay: float = 0.1
    period: float = 5.0

    def __post_init__(self) -> None:
        one_of("policy", self.name, POLICIES)
        at_least("warm_up", self.warm_up, 0)
        if self.warm_up >= self.epochs:
            raise InputError(
                f"warm_up={self.warm_up} is as long as the training: choose fewer than epochs="
                f"{self.epochs}.",
                "warm_up",
            )
        positive("decay", self.decay)
        if self.decay > 1:
            raise InputError(f"decay={self.decay} is out of range: choose 1 or less.", "decay")
        positive("period", self.period)

    def factor(self, epoch: float, losses: Sequence[float] = ()) -> float:
        """Give what the learning rate is multiplied by.

        Parameters
        ----------
        epoch : float
            Epochs that are done, with the warm-up: 1.5 in the middle of the second.
        losses : sequence of float
            After each epoch until now: on the choice images where there are some.
        """
        if epoch < self.warm_up:
            return epoch / self.warm_up
        done = epoch - self.warm_up
        share = done / (self.epochs - self.warm_up)
        match self.name:
            case "step":
                return float(self.decay ** floor(done / self.period))
            case "exponential":
                return float(self.decay ** (done / self.period))
            case "cosine":
                return (1 + cos(pi * share)) / 2
            case "one_cycle":
                if share < _RISING:
                    return _along(1 / _START, 1.0, share / _RISING)
                return _along(1.0, 1 / _START / _END, (share - _RISING) / (1 - _RISING))
            case "triangular":
                # 1 at the ends of a cycle, 0 in its middle.
                away = abs(done / self.period % 2 - 1)
                return 1 - (1 - self.decay) * away
            case "plateau":
                return float(self.decay ** plateaus(losses, self.period))
        return 1.0


def plateaus(losses: Sequence[float], period: float) -> int:
    """Count how often a loss has not fallen for ``period`` epochs, each epoch being of one."""
    best, waited, found = float("inf"), 0, 0
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited >= period:
            waited, found = 0, found + 1
    return found


def _along(start: float, end: float, share: float) -> float:
    """Go from one value to another along half a cosine."""
    return end + (start - end) * (1 + cos(pi * share)) / 2


class RangeTest:
    """Proposes a learning rate: trains a few steps at growing rates, until the loss grows.

    The test of Smith ("Cyclical learning rates", WACV 2017). The rate that is proposed is a tenth
    of the one at which the smoothed loss was least.

    Parameters
    ----------
    low, high : float, default=1e-6, 1
        The first and the last rate; those between are at equal ratios.
    steps : int, default=60
    """

    def __init__(self, low: float = 1e-6, high: float = 1.0, steps: int = 60) -> None:
        self.rates = [float(rate) for rate in np.geomspace(low, high, steps)]
        self._smoothed = list[float]()
        self._mean = 0.0

    def add(self, loss: float) -> bool:
        """Take the loss of the step at the next rate; say whether the test goes on."""
        self._mean += _SMOOTHING * (loss - self._mean)
        # What an average that starts at 0 lacks.
        smoothed = self._mean / (1 - (1 - _SMOOTHING) ** (len(self._smoothed) + 1))
        if not np.isfinite(smoothed):
            return False
        self._smoothed.append(smoothed)
        return smoothed <= _DIVERGED * min(self._smoothed)

    @property
    def proposed(self) -> float:
        """The proposed rate.

        Raises
        ------
        InputError
            Where no loss was finite.
        """
        if not self._smoothed:
            raise InputError(
                "learning_rate=auto finds none, the network's loss is not finite: use another "
                "network.",
                "learning_rate",
            )
        return self.rates[int(np.argmin(self._smoothed))] / _SAFETY
