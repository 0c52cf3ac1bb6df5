"""CMA-ES from pycma: full, diagonal and low-rank covariance."""

import pickle
from typing import Any, ClassVar

import cma
import numpy as np
from cma.restricted_gaussian_sampler import GaussVkDSampler
from numpy.typing import ArrayLike

from evolve.optimizers.base import FloatArray, Optimizer


class _StandardNormal:
    """What pycma draws from: ``randn(*shape)``.

    A pickle leaves the generator out (its state is kept by the optimiser): whoever unpickles
    puts one in.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def __call__(self, *shape: int) -> FloatArray:
        return self.rng.standard_normal(shape)

    def __getstate__(self) -> dict[str, Any]:
        return {}


class CMAES(Optimizer):
    """CMA-ES with a full covariance matrix.

    Source: N. Hansen, The CMA evolution strategy: a tutorial, arXiv:1604.00772; the
    implementation is pycma's, with its defaults. Sampling costs O(dim²) a candidate, the
    eigendecomposition O(dim³) every few generations.

    0/1 accuracies give generations in which all losses are equal: up to 50 of them in a row do not
    end the run, and pycma's stops on small differences between losses (``tolfun``,
    ``tolfunhist``) are off.

    Parameters
    ----------
    x0, sigma0, rng, population
        See `Optimizer`.
    """

    max_dim: ClassVar[int | None] = 3000

    def __init__(
        self,
        x0: ArrayLike,
        sigma0: float,
        rng: np.random.Generator,
        *,
        population: int | None = None,
    ) -> None:
        super().__init__(x0, sigma0, rng, population=population)
        normal = _StandardNormal(rng)
        options = {
            "popsize": self._population,
            "randn": normal,
            "seed": np.nan,  # otherwise pycma seeds the global generator
            "tolfun": 0,
            "tolfunhist": 0,
            "tolflatfitness": 50,
            "verbose": -9,
            "verb_log": 0,
            "signals_filename": "",  # otherwise a file in the working directory sets options
        }
        options.update(self._covariance_options(normal))
        self._es = cma.CMAEvolutionStrategy(self._x0, self._sigma0, options)

    def _covariance_options(self, normal: _StandardNormal) -> dict[str, Any]:
        return {}

    def _ask(self) -> ArrayLike:
        return self._es.ask()  # type: ignore[no-any-return]

    def _tell(self, candidates: FloatArray, losses: FloatArray) -> None:
        self._es.tell(list(candidates.copy()), losses.tolist())

    def _mean(self) -> FloatArray:
        return self._es.mean  # type: ignore[no-any-return]

    def _sigma(self) -> float:
        # Not pycma's own step size: VkD-CMA keeps that constant and scales its sampler.
        return float(np.sqrt(np.mean(self._es.stds**2)))

    def _stop(self) -> dict[str, object]:
        return dict(self._es.stop())

    def _state(self) -> dict[str, Any]:
        return {"pycma": pickle.dumps(self._es)}

    def _restore(self, state: dict[str, Any]) -> None:
        self._es = pickle.loads(state["pycma"])
        # The options and the sampler share one object, in the pickle too.
        self._es.opts["randn"].rng = self._rng


class SepCMAES(CMAES):
    """CMA-ES with a diagonal covariance matrix, for thousands of dimensions and more.

    Source: R. Ros and N. Hansen, A simple modification in CMA-ES achieving linear time and space
    complexity, PPSN 2008. It costs O(dim) a candidate, learns faster than the full matrix, and
    learns nothing about how coordinates depend on each other.

    Parameters
    ----------
    x0, sigma0, rng, population
        See `Optimizer`.
    """

    max_dim: ClassVar[int | None] = None

    def _covariance_options(self, normal: _StandardNormal) -> dict[str, Any]:
        return {"CMA_diagonal": True}


class VkDCMAES(CMAES):
    """CMA-ES with a covariance matrix ``D (I + V Vᵀ) D``: D diagonal, V of rank k.

    Source: Y. Akimoto and N. Hansen, Projection-based restricted covariance matrix adaptation for
    high dimension, GECCO 2016, with their online adaptation of k (PPSN 2016). It costs O(dim k)
    a candidate.

    Parameters
    ----------
    x0, sigma0, rng, population
        See `Optimizer`.
    """

    max_dim: ClassVar[int | None] = None

    def _covariance_options(self, normal: _StandardNormal) -> dict[str, Any]:
        options: dict[str, Any] = GaussVkDSampler.extend_cma_options()
        options["CMA_sampler_options"] = {"randn": normal}
        return options
