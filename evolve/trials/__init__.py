"""A search over options: what is tried, who proposes it, and how far each trial goes.

A *trial* is one choice of options. It climbs *rungs*, of which each costs more than the one before:
more epochs, or more evaluations. After each, a pruner decides whether it goes on.
"""

from evolve.trials.budget import Budget
from evolve.trials.proposers import PROPOSERS, proposer
from evolve.trials.pruning import PRUNERS, pruner
from evolve.trials.results import Finished, Task, Tried, finished
from evolve.trials.search import Search
from evolve.trials.space import Family, Parameter, Space

__all__ = [
    "PROPOSERS",
    "PRUNERS",
    "Budget",
    "Family",
    "Finished",
    "Parameter",
    "Search",
    "Space",
    "Task",
    "Tried",
    "finished",
    "proposer",
    "pruner",
]
