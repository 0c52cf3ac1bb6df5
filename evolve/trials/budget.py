"""When a search ends."""

from dataclasses import dataclass

from slicing.checks import at_least, positive


@dataclass(frozen=True)
class Budget:
    """When a search ends; what is reached first counts.

    Attributes
    ----------
    seconds : float or None
        Time from its start.
    trials : int or None
        Trials that have ended, those of earlier searches included.
    target : float or None
        What a trial reaches with which it ends, see :meth:`evolve.trials.results.Goal.reaches`.
    trial_seconds : float or None
        Time of a trial; one that takes longer has failed.

    Raises
    ------
    InputError
    """

    seconds: float | None = None
    trials: int | None = None
    target: float | None = None
    trial_seconds: float | None = None

    def __post_init__(self) -> None:
        positive("seconds", self.seconds)
        at_least("trials", self.trials, 1)
        positive("trial_seconds", self.trial_seconds)
