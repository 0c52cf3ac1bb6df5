"""Random search: the control that every other optimizer has to beat."""

from evolve.optimizers.base import FloatArray, Optimizer


class RandomSearch(Optimizer):
    """Draw every candidate from N(x0, sigma0² I) independently of the losses, and keep the best.

    It never stops.

    Parameters
    ----------
    x0, sigma0, rng, population, bounds
        See `Optimizer`.
    """

    def _ask(self) -> FloatArray:
        noise = self._rng.standard_normal((self._population, self._x0.size))
        return self._x0 + self._sigma0 * noise

    def _tell(self, candidates: FloatArray, losses: FloatArray) -> None:
        pass

    def _sigma(self) -> float:
        return self._sigma0
