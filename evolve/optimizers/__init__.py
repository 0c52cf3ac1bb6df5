"""The optimizers: one ask/tell interface."""

from evolve.optimizers.base import Optimizer
from evolve.optimizers.cmaes import CMAES, SepCMAES, VkDCMAES
from evolve.optimizers.deap_cmaes import DeapCMAES
from evolve.optimizers.deap_ga import DeapGA
from evolve.optimizers.pso import PSO, PSOLocal
from evolve.optimizers.random_search import RandomSearch

BY_NAME: dict[str, type[Optimizer]] = {
    "cmaes": CMAES,
    "sep_cmaes": SepCMAES,
    "vkd_cmaes": VkDCMAES,
    "deap_cmaes": DeapCMAES,
    "deap_ga": DeapGA,
    "pso": PSO,
    "pso_local": PSOLocal,
    "random": RandomSearch,
}
"""All optimizers, by the names that people choose them by."""

__all__ = [
    "BY_NAME",
    "CMAES",
    "PSO",
    "DeapCMAES",
    "DeapGA",
    "Optimizer",
    "PSOLocal",
    "RandomSearch",
    "SepCMAES",
    "VkDCMAES",
]
