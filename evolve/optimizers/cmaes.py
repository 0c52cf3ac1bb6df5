"""CMA-ES from pycma: full, diagonal and low-rank covariance."""

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import cma
import numpy as np
from cma.restricted_gaussian_sampler import GaussVkDSampler
from numpy.typing import ArrayLike

from evolve.optimizers.base import FloatArray, Optimizer
from slicing.checks import at_least, between

# What pycma draws from: of a shape.
_Normal = Callable[..., FloatArray]


def _unchecked(strategy: cma.CMAEvolutionStrategy) -> None:
    """Replace a check of pycma's by none."""


class CMAES(Optimizer):
    """CMA-ES with a full covariance matrix, restarted with growing populations.

    Source: N. Hansen, The CMA evolution strategy: a tutorial, arXiv:1604.00772; the
    implementation is pycma's, with its defaults. Sampling costs O(dim²) a candidate, the
    eigendecomposition O(dim³) every few generations.

    Where it stops and restarts are left, the next generation is the first of a fresh strategy at
    `x0` and `sigma0` with a larger population: IPOP-CMA-ES (A. Auger and N. Hansen, A restart CMA
    evolution strategy with increasing population size, CEC 2005), as pycma's ``fmin`` does it.
    `best` and the counts run through, and `mean` is that of the strategy that found `best`.

    A strategy stops where it has converged (``tolx``: steps below 1e-11 `sigma0`;
    ``tolxstagnation``: the mean has moved by less than 1e-9 `sigma0` in a tenth of the
    generations and 20; ``noeffectcoord``, ``noeffectaxis``: steps are lost to rounding), gets no
    better (``tolstagnation``: over ``100 + 100 dim^1.5 / population`` generations at least;
    ``tolflatfitness``; ``maxiter``: ``100 + 150 (dim + 3)² / √population`` generations), diverges
    (``tolfacupx``: a coordinate's step above 1e3 `sigma0`; ``tolupsigma``), or is
    ill-conditioned (``tolconditioncov``: above 1e14). A larger population may cure each of these.
    0/1 accuracies give generations in which all losses are equal: up to 50 of them in a row do not
    end the run, and pycma's stops on small differences between losses (``tolfun``,
    ``tolfunhist``) are off.

    Parameters
    ----------
    x0, sigma0, rng, population, bounds
        See `Optimizer`; `population` is that of the first strategy.
    restarts : int
        How often at most the search starts again; 0: never. Default 9, which is pycma's
        (``maxrestarts`` of ``fmin``) and more than most budgets pay for. It does not start again
        with a population beyond 2 GiB.
    population_growth : float
        By what the population is multiplied at every restart, 1 to 100.
    """

    max_dim: ClassVar[int | None] = 3000

    def __init__(
        self,
        x0: ArrayLike,
        sigma0: float,
        rng: np.random.Generator,
        *,
        population: int | None = None,
        bounds: float | None = 10.0,
        restarts: int = 9,
        population_growth: float = 2.0,
    ) -> None:
        super().__init__(x0, sigma0, rng, population=population, bounds=bounds)
        at_least("restarts", restarts, 0)
        between("population_growth", population_growth, 1, 100)
        self._restarts = restarts
        self._population_growth = population_growth
        self._restarted = 0
        # Results of the strategies before this one.
        self._earlier_mean: FloatArray | None = None
        self._earlier_best_loss = np.inf
        self._es = self._strategy()

    def _strategy(self) -> cma.CMAEvolutionStrategy:
        """Return a fresh strategy with the population of the next generation."""

        def normal(*shape: int) -> FloatArray:
            return self._rng.standard_normal(shape)

        options = {
            "popsize": self._population,
            "randn": normal,
            "seed": np.nan,  # otherwise pycma seeds the global generator
            "tolfun": 0,
            "tolfunhist": 0,
            "tolflatfitness": 50,
            # pycma's values, but relative to the first step: the unit of x0 must not matter.
            "tolx": 1e-11 * self._sigma0,
            "tolxstagnation": [1e-9 * self._sigma0, 20, 0.1],
            # Above a condition of 1e12 pycma would change to coordinates of its own, in which its
            # mean and step sizes then are.
            "conditioncov_alleviate": [1e8, 0],
            "verbose": -9,
            "verb_log": 0,
            "signals_filename": "",  # otherwise a file in the working directory sets options
        }
        options.update(self._covariance_options(normal))
        strategy = cma.CMAEvolutionStrategy(self._x0, self._sigma0, options)
        # From 300 dimensions up pycma adapts the step by a pair of mirrored candidates, and checks
        # that it gets them back: by the global generator, and a clipped one fails.
        strategy.adapt_sigma.check_consistency = _unchecked
        return strategy

    def _covariance_options(self, normal: _Normal) -> dict[str, Any]:
        return {}

    def _ask(self) -> ArrayLike:
        return self._es.ask()  # type: ignore[no-any-return]

    def _tell(self, candidates: FloatArray, losses: FloatArray) -> None:
        told = [self._known(candidate) for candidate in candidates.copy()]
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            # pycma warns where a clipped candidate was a special one: a mirrored one, or one along
            # the last step of the mean, by which VkD-CMA adapts its step. VkD-CMA finds the latter
            # by its direction; a candidate clipped onto the mean has none, 0 / 0.
            warnings.filterwarnings("ignore", "orphanated injected|no (first|second) mirrored")
            self._es.tell(told, losses.tolist(), check_points=False)
        # Else the clipped candidates would stay there as they were sent, up to 1000 vectors.
        self._es.sent_solutions.clear()
        # In every generation, because pycma counts the flat ones here.
        stopped = bool(self._stop())
        growth = self._population_growth ** (self._restarted + 1)
        population = round(self._first_population * growth)
        if stopped and self._restarted < self._restarts and self._fits(population, self._x0.size):
            self._earlier_mean, self._earlier_best_loss = self._mean(), self._best_loss
            self._restarted += 1
            self._population = population
            self._es = self._strategy()

    def _known(self, candidate: FloatArray) -> FloatArray:
        """Return a candidate of shape (dim,) that pycma sent, or inject one that was clipped.

        pycma pulls an injected one to a plausible distance from the mean, and does not shrink the
        distribution along the direction of a bad one. Otherwise the steps of a search along the
        bounds grow without end.
        """
        if candidate in self._es.sent_solutions:
            return candidate
        repaired: FloatArray = self._es.repair_genotype(candidate, copy_if_changed=True)
        # The indices 0 and 1 are those of the pair that adapts the step.
        self._es._injected_solutions_archive[repaired] = {
            "iteration": self._es.countiter,
            "index": 2,
        }
        return repaired

    def _mean(self) -> FloatArray:
        if self._earlier_mean is None or self._best_loss < self._earlier_best_loss:
            mean: FloatArray = self._es.mean
            return mean
        return self._earlier_mean

    def _sigma(self) -> float:
        # Not pycma's own step size: VkD-CMA keeps that constant and scales its sampler.
        return float(np.sqrt(np.mean(self._es.stds**2)))

    def _stop(self) -> dict[str, object]:
        return dict(self._es.stop())


class SepCMAES(CMAES):
    """CMA-ES with a diagonal covariance matrix, for thousands of dimensions and more.

    Source: R. Ros and N. Hansen, A simple modification in CMA-ES achieving linear time and space
    complexity, PPSN 2008. It costs O(dim) a candidate, learns faster than the full matrix, and
    learns nothing about how coordinates depend on each other. It stops and restarts as `CMAES`.

    Parameters
    ----------
    x0, sigma0, rng, population, bounds, restarts, population_growth
        See `Optimizer` and `CMAES`.
    """

    max_dim: ClassVar[int | None] = None

    def _covariance_options(self, normal: _Normal) -> dict[str, Any]:
        return {"CMA_diagonal": True}


class VkDCMAES(CMAES):
    """CMA-ES with a covariance matrix ``D (I + V Vᵀ) D``: D diagonal, V of rank k.

    Source: Y. Akimoto and N. Hansen, Projection-based restricted covariance matrix adaptation for
    high dimension, GECCO 2016, with their online adaptation of k (PPSN 2016). It costs O(dim k)
    a candidate. It stops and restarts as `CMAES`, also where all the better half of a generation
    lies on the mean (``nomeanshift``), as it does in a corner of the bounds: pycma then has no
    direction along which to adapt the step.

    Parameters
    ----------
    x0, sigma0, rng, population, bounds, restarts, population_growth
        See `Optimizer` and `CMAES`.
    """

    max_dim: ClassVar[int | None] = None

    def _covariance_options(self, normal: _Normal) -> dict[str, Any]:
        options: dict[str, Any] = GaussVkDSampler.extend_cma_options()
        options["CMA_sampler_options"] = {"randn": normal}
        return options

    def _stop(self) -> dict[str, object]:
        reasons = super()._stop()
        if self._es.countiter > 0 and not self._es.sm.dx.any():
            reasons["nomeanshift"] = 0.0
        return reasons
