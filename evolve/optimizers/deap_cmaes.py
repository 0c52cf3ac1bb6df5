"""CMA-ES from DEAP, the one of the slides."""

from typing import ClassVar

import numpy as np
from deap import cma
from numpy.typing import ArrayLike

from evolve.optimizers._global_random import numpy_draws_from
from evolve.optimizers._individual import individuals
from evolve.optimizers.base import FloatArray, Optimizer


class DeapCMAES(Optimizer):
    """CMA-ES as DEAP has it (``deap.cma.Strategy``), the optimizer of the slides.

    Source: F.-A. Fortin et al., DEAP: evolutionary algorithms made easy, JMLR 13, 2012. It differs
    from pycma's (`CMAES`) in that it has no negative weights, and in that it decomposes the
    covariance matrix in every generation: O(dim³), hence the limit on ``dim``.

    It stops where the step size has collapsed or diverged (see `stop`), or where the covariance
    matrix's condition number exceeds 1e14 (``conditioncov``).

    Parameters
    ----------
    x0, sigma0, rng, population, bounds
        See `Optimizer`.
    """

    max_dim: ClassVar[int | None] = 500

    def __init__(
        self,
        x0: ArrayLike,
        sigma0: float,
        rng: np.random.Generator,
        *,
        population: int | None = None,
        bounds: float | None = 10.0,
    ) -> None:
        super().__init__(x0, sigma0, rng, population=population, bounds=bounds)
        self._strategy = cma.Strategy(self._x0, self._sigma0, lambda_=self._population)

    def _ask(self) -> ArrayLike:
        with numpy_draws_from(self._rng):
            return self._strategy.generate(np.asarray)  # type: ignore[no-any-return]

    def _tell(self, candidates: FloatArray, losses: FloatArray) -> None:
        self._strategy.update(individuals(candidates, losses))

    def _mean(self) -> FloatArray:
        return self._strategy.centroid  # type: ignore[no-any-return]

    def _sigma(self) -> float:
        return float(self._strategy.sigma * np.sqrt(np.mean(np.diag(self._strategy.C))))

    def _stop(self) -> dict[str, object]:
        reasons = super()._stop()
        # DEAP's `cond` is that of the matrix from the first update on. Rounding can make the
        # least eigenvalue negative, and then there is no condition number.
        if not 0 < self._strategy.cond < 1e14:
            reasons["conditioncov"] = float(self._strategy.cond)
        return reasons
