"""The optimizers, all behind one ask/tell interface."""

from evolve.optimizers.base import Optimizer
from evolve.optimizers.cmaes import CMAES, SepCMAES, VkDCMAES
from evolve.optimizers.deap_cmaes import DeapCMAES
from evolve.optimizers.deap_ga import DeapGA
from evolve.optimizers.pso import PSO, PSOLocal
from evolve.optimizers.random_search import RandomSearch

__all__ = [
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
