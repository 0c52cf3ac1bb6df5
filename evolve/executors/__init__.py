"""Where tasks are done: in this process, in processes beside it, on a Ray cluster."""

from evolve.executors.base import Executor, SerialExecutor
from evolve.executors.processes import ProcessExecutor
from evolve.executors.ray_cluster import RayExecutor

__all__ = ["Executor", "ProcessExecutor", "RayExecutor", "SerialExecutor"]
