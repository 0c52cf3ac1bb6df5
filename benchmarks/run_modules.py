"""All that a run imports, early or late, for a process that is forked for each run."""

import jinja2  # noqa: F401
import matplotlib.figure  # noqa: F401
import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
import PIL.PngImagePlugin  # noqa: F401
from numba.core.registry import cpu_target

import evolve.optimizers.cmaes
import evolve.optimizers.deap_cmaes
import evolve.optimizers.pso  # noqa: F401
import experiments.pipeline
import experiments.run  # noqa: F401  # noqa: F401

# What numba knows of Python, half a second, which it would learn when the first function is called.
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
