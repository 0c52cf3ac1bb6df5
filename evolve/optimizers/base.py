"""The contract of every optimizer: ask, evaluate, tell."""

from abc import ABC, abstractmethod
from typing import ClassVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from slicing.checks import at_least, positive
from slicing.errors import InputError
from slicing.threads import single_threaded_blas

FloatArray = NDArray[np.float64]

# Of the candidates of a generation: more would fill the memory before the first is evaluated.
_MOST_BYTES = 1 << 31


class Optimizer(ABC):
    """Minimize a black-box function of ``dim`` real variables, one generation at a time.

    ::

        optimizer = CMAES(x0, sigma0, np.random.default_rng(0))
        while not optimizer.stop():
            candidates = optimizer.ask()
            optimizer.tell(candidates, [loss(x) for x in candidates])
        optimizer.best

    The same constructor arguments and the same losses give the same candidates, bit for bit, on one
    machine with the same versions, for any number of threads: all randomness comes from `rng` (the
    global generators of ``numpy.random`` and ``random`` are neither read nor changed), and BLAS,
    whose last bits depend on the number of its threads, runs on one. That is how an interrupted
    search goes on: an equal optimizer asks again and is told the losses that were recorded.

    The public methods are final: they check, count and keep the best. A subclass writes ``_ask``,
    ``_tell`` and ``_sigma``, and if it has better ones ``_mean`` and ``_stop``.

    Parameters
    ----------
    x0 : array of shape (dim,)
        Where the search starts.
    sigma0 : float
        Initial step size: the standard deviation of the first candidates around `x0`, in the
        units of `x0`, the same for every coordinate.
    rng : numpy.random.Generator
        The only source of randomness; it is advanced in place.
    population : int, optional
        Candidates per generation, at least 4. Default ``4 + int(3 * ln(dim))``, for every
        optimizer (Hansen, The CMA evolution strategy: a tutorial, 2016, eq. 48), so that equal
        generations are equal numbers of evaluations.
    bounds : float or None
        Half the width of the box of candidates, in units of `sigma0`: every coordinate of a
        candidate that lies farther from `x0` is moved to the border, and the optimizer learns from
        the moved candidate. None: no box. The default stops searches that diverge: the optimum
        should lie within about ``3 * sigma0`` of `x0` (Hansen, documentation of pycma's
        ``CMAEvolutionStrategy``), and on spheres, ellipsoids, Rosenbrock's
        function and sums of absolute values in 10 to 1000 dimensions CMA-ES and the genetic
        algorithm stayed within 9, VkD-CMA within 12. Particles went as far as 65 in some
        coordinates; moving them back did not change what a swarm found. Where nothing is
        moved, the bounds change no bit.

    Raises
    ------
    InputError
        If an argument is of the wrong shape or range, or ``dim`` exceeds `max_dim`.
    """

    max_dim: ClassVar[int | None] = None
    """The largest ``dim`` the optimizer accepts (None: any)."""

    def __init__(
        self,
        x0: ArrayLike,
        sigma0: float,
        rng: np.random.Generator,
        *,
        population: int | None = None,
        bounds: float | None = 10.0,
    ) -> None:
        start = np.array(x0, dtype=np.float64)
        if start.ndim != 1 or start.size == 0:
            raise InputError(f"x0 has the shape {start.shape}, it needs the shape (dim,).", "x0")
        if not np.isfinite(start).all():
            raise InputError(
                "x0 has values that are not finite: an optimizer cannot start there.", "x0"
            )
        positive("sigma0", sigma0)
        if not isinstance(rng, np.random.Generator):
            raise InputError(
                f"rng is a {type(rng).__name__}, it must be a numpy.random.Generator, "
                "for example numpy.random.default_rng(0).",
                "rng",
            )
        if self.max_dim is not None and start.size > self.max_dim:
            raise InputError(
                f"x0 has {start.size} dimensions, and {type(self).__name__} takes at most "
                f"{self.max_dim}: choose SepCMAES or VkDCMAES, which take any number, or smaller "
                "blocks.",
                "x0",
            )
        if population is None:
            population = 4 + int(3 * np.log(start.size))
        at_least("population", population, 4)
        if not self._fits(population, start.size):
            raise InputError(
                f"population={population} takes {population * start.size * 8 / 1e9:.3g} GB for "
                f"candidates of {start.size} dimensions: choose a smaller one.",
                "population",
            )
        positive("bounds", bounds)
        self._x0 = start
        self._sigma0 = float(sigma0)
        self._rng = rng
        self._bounds = bounds
        self._first_population = int(population)
        self._population = self._first_population
        self._asked: FloatArray | None = None
        self._best = start.copy()
        self._best_loss = np.inf
        self._worst_loss = -np.inf
        self._evaluations = 0
        self._non_finite = 0

    @final
    def ask(self) -> FloatArray:
        """Return the candidates of the next generation.

        Returns
        -------
        ndarray of shape (population, dim), float64
            Read-only, and within the bounds.

        Raises
        ------
        RuntimeError
            If the candidates of the previous call have not been told yet.
        """
        if self._asked is not None:
            raise RuntimeError("ask() was called twice: tell() the losses of the candidates first.")
        with single_threaded_blas():
            candidates = self._clip(np.array(self._ask(), dtype=np.float64))
        candidates.flags.writeable = False
        self._asked = candidates
        return candidates

    @final
    def tell(self, candidates: ArrayLike, losses: ArrayLike) -> None:
        """Report the losses of the candidates that the last `ask` gave.

        A loss that is not finite counts as the worst finite loss told so far (1e30 before there
        is one), never as the best, and is counted in `non_finite`.

        Parameters
        ----------
        candidates : array of shape (population, dim)
            What `ask` returned.
        losses : array of shape (population,)
            Their losses, in the same order; less is better.

        Raises
        ------
        RuntimeError
            If there was no `ask` before.
        InputError
            If the shapes, or the candidates, are not those of the last `ask`.
        """
        if self._asked is None:
            raise RuntimeError("tell() was called before ask(): there are no candidates to judge.")
        candidates = np.asarray(candidates, dtype=np.float64)
        if candidates.shape != self._asked.shape:
            raise InputError(
                f"tell() got candidates of shape {candidates.shape}, "
                f"ask() gave the shape {self._asked.shape}."
            )
        # A copy: the caller's array is never changed.
        losses = np.array(losses, dtype=np.float64)
        if losses.shape != (len(self._asked),):
            raise InputError(
                f"tell() got losses of shape {losses.shape}, "
                f"it needs the shape {(len(self._asked),)}: one per candidate."
            )
        if not np.array_equal(candidates, self._asked, equal_nan=True):
            raise InputError(
                "tell() got other candidates than ask() gave: hand back what ask() returned, "
                "in the same order."
            )
        finite = np.isfinite(losses)
        self._evaluations += len(losses)
        self._non_finite += int((~finite).sum())
        if finite.any():
            self._worst_loss = max(self._worst_loss, float(losses[finite].max()))
            best = int(np.argmin(np.where(finite, losses, np.inf)))
            if losses[best] < self._best_loss:
                self._best, self._best_loss = self._asked[best].copy(), float(losses[best])
        losses[~finite] = self._worst_loss if np.isfinite(self._worst_loss) else 1e30
        with single_threaded_blas():
            self._tell(self._asked, losses)
        self._asked = None

    @final
    def stop(self) -> dict[str, object]:
        """Return the reasons to stop, by name with their values; empty: continue.

        Unless a subclass has its own, they are ``collapsed``, where `sigma` is below 1e-11 of
        `sigma0`, and ``diverged``, where it has reached 1e3 of it.
        """
        return self._stop()

    @property
    @final
    def population(self) -> int:
        """Candidates of the next generation; more than before where a search has restarted."""
        return self._population

    @property
    @final
    def mean(self) -> FloatArray:
        """Mean of the search distribution, of shape (dim,); where there is none, `best`."""
        # An average of candidates within the bounds may leave them in its last bit.
        return np.array(self._clip(self._mean()))

    @property
    @final
    def best(self) -> FloatArray:
        """Candidate with the least loss so far, of shape (dim,); `x0` before the first."""
        return self._best.copy()

    @property
    @final
    def best_loss(self) -> float:
        """Loss of `best`; infinite before the first finite loss."""
        return self._best_loss

    @property
    @final
    def sigma(self) -> float:
        """Standard deviation of the next candidates, the root mean square over coordinates."""
        return float(self._sigma())

    @property
    @final
    def evaluations(self) -> int:
        """Losses told so far."""
        return self._evaluations

    @property
    @final
    def non_finite(self) -> int:
        """Losses told so far that were not finite."""
        return self._non_finite

    @staticmethod
    def _fits(population: int, dim: int) -> bool:
        """Whether a generation is of a size that memory has room for."""
        return population * dim * 8 <= _MOST_BYTES

    def _clip(self, points: FloatArray) -> FloatArray:
        """Move points of shape (..., dim) into the bounds, coordinate by coordinate."""
        if self._bounds is None:
            return points
        reach = self._bounds * self._sigma0
        return np.clip(points, self._x0 - reach, self._x0 + reach)

    @abstractmethod
    def _ask(self) -> ArrayLike:
        """Return candidates of shape (population, dim); ``ask`` clips them."""

    @abstractmethod
    def _tell(self, candidates: FloatArray, losses: FloatArray) -> None:
        """Learn from (population, dim) read-only candidates and (population,) finite losses.

        The candidates are those that `ask` returned: clipped.
        """

    @abstractmethod
    def _sigma(self) -> float:
        """Return the value of `sigma`."""

    def _mean(self) -> FloatArray:
        return self._best

    def _stop(self) -> dict[str, object]:
        sigma = self.sigma
        if sigma < 1e-11 * self._sigma0:
            return {"collapsed": sigma}
        if not sigma < 1e3 * self._sigma0:
            return {"diverged": sigma}
        return {}


def spread(candidates: FloatArray) -> float:
    """Return the standard deviation of (population, dim) candidates as `Optimizer.sigma` does."""
    return float(np.sqrt(candidates.var(axis=0).mean()))


def gaussian_start(
    x0: FloatArray, sigma0: float, population: int, rng: np.random.Generator
) -> FloatArray:
    """Draw a first generation of shape (population, dim): `x0` itself, then N(x0, sigma0² I)."""
    candidates: FloatArray = x0 + sigma0 * rng.standard_normal((population, x0.size))
    candidates[0] = x0
    return candidates
