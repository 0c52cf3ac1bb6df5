"""The evolution: blocks, fitness, optimizers, schedules, and where candidates are evaluated.

All names of the library's loop are here. Each is imported when it is first used, so that a program
that needs one of them does not wait for the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evolve.block import Block, groups, kernels, layers, network
    from evolve.checkpoint import Checkpoint
    from evolve.events import BlockEnd, Generation
    from evolve.executors import Executor, ProcessExecutor, RayExecutor, SerialExecutor
    from evolve.fitness import DiscriminantFitness, Fitness, KNNFitness
    from evolve.optimizers import (
        CMAES,
        PSO,
        DeapCMAES,
        DeapGA,
        Optimizer,
        PSOLocal,
        RandomSearch,
        SepCMAES,
        VkDCMAES,
    )
    from evolve.protocols import Split, leave_one_out, test_set, validation
    from evolve.prototypes import PrototypeTuning
    from evolve.schedule import Parallel, Schedule, ScheduleOptions, Serial

_HOMES = {
    "block": ("Block", "groups", "kernels", "layers", "network"),
    "checkpoint": ("Checkpoint",),
    "events": ("BlockEnd", "Generation"),
    "executors": ("Executor", "ProcessExecutor", "RayExecutor", "SerialExecutor"),
    "fitness": ("DiscriminantFitness", "Fitness", "KNNFitness"),
    "optimizers": (
        "CMAES", "PSO", "DeapCMAES", "DeapGA", "Optimizer", "PSOLocal", "RandomSearch", "SepCMAES",
        "VkDCMAES",
    ),
    "protocols": ("Split", "leave_one_out", "test_set", "validation"),
    "prototypes": ("PrototypeTuning",),
    "schedule": ("Parallel", "Schedule", "ScheduleOptions", "Serial"),
}  # fmt: skip
_MODULES = {name: f"evolve.{home}" for home, names in _HOMES.items() for name in names}

__all__ = [
    "CMAES",
    "PSO",
    "Block",
    "BlockEnd",
    "Checkpoint",
    "DeapCMAES",
    "DeapGA",
    "DiscriminantFitness",
    "Executor",
    "Fitness",
    "Generation",
    "KNNFitness",
    "Optimizer",
    "PSOLocal",
    "Parallel",
    "ProcessExecutor",
    "PrototypeTuning",
    "RandomSearch",
    "RayExecutor",
    "Schedule",
    "ScheduleOptions",
    "SepCMAES",
    "Serial",
    "SerialExecutor",
    "Split",
    "VkDCMAES",
    "groups",
    "kernels",
    "layers",
    "leave_one_out",
    "network",
    "test_set",
    "validation",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
