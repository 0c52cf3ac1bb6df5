"""Particle swarm optimization from pyswarms' operators."""

import logging.config
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import ArrayLike

from evolve.optimizers._global_random import numpy_draws_from
from evolve.optimizers.base import FloatArray, Optimizer, gaussian_start, spread
from slicing.checks import at_least, between, positive


@contextmanager
def _logging_untouched() -> Iterator[None]:
    """Keep pyswarms, on import and in its constructors, from configuring the process's logging.

    It would close every handler there is and open a ``report.log`` in the working directory.
    """
    configure = logging.config.dictConfig
    logging.config.dictConfig = lambda config: None
    try:
        yield
    finally:
        logging.config.dictConfig = configure


with _logging_untouched():
    from pyswarms.backend.generators import create_swarm
    from pyswarms.backend.operators import compute_pbest
    from pyswarms.backend.topology import Ring, Star, Topology


class PSO(Optimizer):
    """Particle swarm whose particles all follow the best one found (pyswarms' star topology).

    In every generation, with fresh r1, r2 ~ U(0, 1) for each coordinate::

        v = inertia * v + c1 * r1 * (pbest - x) + c2 * r2 * (gbest - x)
        x = x + v

    Source: J. Kennedy and R. Eberhart, Particle swarm optimization, ICNN 1995, which is
    ``inertia=1, c1=2, c2=2``, the slides' formula: it needs bounds on v, or it diverges. The
    defaults are the constriction coefficients of M. Clerc and J. Kennedy, The particle swarm,
    IEEE Trans. Evol. Comput. 6, 2002, with which it converges.

    The swarm starts as `x0` and Gaussian copies of it, at rest. Where it would leave the bounds,
    its position is moved to the border and its velocity stays (pyswarms' "nearest" handler).

    It stops where the swarm has collapsed or diverged (see `stop`; within the bounds it cannot
    diverge).

    Parameters
    ----------
    x0, sigma0, rng, population, bounds
        See `Optimizer`.
    inertia : float
        How much of its velocity a particle keeps.
    c1 : float
        Pull toward the best position the particle itself has found.
    c2 : float
        Pull toward the best position that the particles it follows have found.
    max_velocity : float or None
        The largest step in each coordinate, in units of `sigma0`; faster ones are cut (the Vmax
        of R. Eberhart and J. Kennedy, A new optimizer using particle swarm theory, MHS 1995).
        None: any. The defaults need no limit; ``inertia=1, c1=2, c2=2`` learns little without one.
    """

    def __init__(
        self,
        x0: ArrayLike,
        sigma0: float,
        rng: np.random.Generator,
        *,
        population: int | None = None,
        bounds: float | None = 10.0,
        inertia: float = 0.7298,
        c1: float = 1.49618,
        c2: float = 1.49618,
        max_velocity: float | None = None,
    ) -> None:
        super().__init__(x0, sigma0, rng, population=population, bounds=bounds)
        for name, value in (("inertia", inertia), ("c1", c1), ("c2", c2)):
            at_least(name, value, 0)
        positive("max_velocity", max_velocity)
        self._max_velocity = max_velocity
        start = self._clip(gaussian_start(self._x0, self._sigma0, self._population, rng))
        with _logging_untouched():
            self._topology = self._make_topology()
        with numpy_draws_from(rng):
            self._swarm = create_swarm(
                self._population,
                self._x0.size,
                options={"w": inertia, "c1": c1, "c2": c2},
                init_pos=start,
                clamp=(0.0, 0.0),
            )
        self._swarm.pbest_cost = np.full(self._population, np.inf)

    def _make_topology(self) -> Topology:
        return Star()

    def _follow(self) -> tuple[FloatArray, float]:
        """Return the best position(s) the particles follow, and the best loss among them."""
        return self._topology.compute_gbest(self._swarm)  # type: ignore[no-any-return]

    def _ask(self) -> ArrayLike:
        return self._swarm.position  # type: ignore[no-any-return]

    def _tell(self, candidates: FloatArray, losses: FloatArray) -> None:
        swarm = self._swarm
        swarm.current_cost = losses
        swarm.pbest_pos, swarm.pbest_cost = compute_pbest(swarm)
        swarm.best_pos, swarm.best_cost = self._follow()
        clamp = None
        if self._max_velocity is not None:
            fastest = self._max_velocity * self._sigma0
            clamp = (-fastest, fastest)
        with numpy_draws_from(self._rng):
            swarm.velocity = self._topology.compute_velocity(swarm, clamp)
        swarm.position = self._clip(self._topology.compute_position(swarm))

    def _sigma(self) -> float:
        return spread(self._swarm.position)


class PSOLocal(PSO):
    """Particle swarm whose particles each follow the best of their neighborhood only.

    The neighborhood is pyswarms' ring topology: the `neighbors` particles whose positions are
    nearest (Euclidean), itself included, found again in every generation. Good news travels more
    slowly than in `PSO`: the swarm is slower, and less easily trapped.

    Parameters
    ----------
    x0, sigma0, rng, population, bounds, inertia, c1, c2, max_velocity
        See `Optimizer` and `PSO`.
    neighbors : int
        Size of a neighborhood, from 2 to `population`.
    """

    def __init__(
        self,
        x0: ArrayLike,
        sigma0: float,
        rng: np.random.Generator,
        *,
        population: int | None = None,
        bounds: float | None = 10.0,
        inertia: float = 0.7298,
        c1: float = 1.49618,
        c2: float = 1.49618,
        max_velocity: float | None = None,
        neighbors: int = 3,
    ) -> None:
        super().__init__(
            x0,
            sigma0,
            rng,
            population=population,
            bounds=bounds,
            inertia=inertia,
            c1=c1,
            c2=c2,
            max_velocity=max_velocity,
        )
        between("neighbors", neighbors, 2, self._population)
        self._neighbors = neighbors

    def _make_topology(self) -> Topology:
        return Ring(static=False)

    def _follow(self) -> tuple[FloatArray, float]:
        return self._topology.compute_gbest(  # type: ignore[no-any-return]
            self._swarm, p=2, k=self._neighbors
        )
