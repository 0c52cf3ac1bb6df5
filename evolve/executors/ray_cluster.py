"""Workers on a Ray cluster, of this machine or of many."""

import logging
import os
import secrets
import socket
import sys
from copy import deepcopy
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from evolve.executors.base import (
    MAX_DEATHS,
    Evaluator,
    Executor,
    Task,
    check_workers,
    too_many_deaths,
)
from evolve.fitness.base import Fitness
from slicing.errors import InputError


class RayExecutor(Executor):
    """Evaluates in the actors of a Ray cluster (https://ray.io), each on one core and thread.

    An actor that dies is replaced, on whatever node has room, and its task begun again.

    Parameters
    ----------
    workers : int, optional
        By default one for each core of the cluster.
    address : str, optional
        Of a running cluster (``auto``, ``ray://host:10001``), on whose nodes this package must be
        installed. By default one is started on this machine, and ended with the run.

    Raises
    ------
    InputError
        For less than one worker, without Ray installed, and where no cluster answers.
    """

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        check_workers(workers)
        if address is None and "ray" not in sys.modules:
            # Our cluster listens to the network: with a token of its own, that is written nowhere.
            # Ray reads it when it is imported.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        try:
            import ray
        except ImportError as error:
            raise InputError(
                "executor=ray needs the package ray: pip install -e '.[ray]'."
            ) from error
        self._ray: Any = ray
        self._wanted, self._address = workers, address
        self._workers: list[Any] = []

    def start(self, fitness: Fitness, selection: Fitness | None, most: int) -> None:
        """See :meth:`Executor.start`."""
        ray = self._ray
        local: dict[str, Any] = {"num_cpus": self._wanted or int(numba.config.NUMBA_NUM_THREADS)}
        try:
            _knock(self._address or "")
            ray.init(
                **(local | {"include_dashboard": False} if self._address is None else {}),
                address=self._address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # what an address leads to is open-ended
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            raise InputError(
                f"Ray does not start with executor.address={self._address} ({reason}): begin a "
                "cluster with `ray start --head`, or leave the address out for a local one."
            ) from error
        # An actor without a core would wait for one without a word.
        cores = int(ray.available_resources().get("CPU", 0))
        if not cores:
            raise InputError("The Ray cluster has no core to spare: wait, or add a node.")
        self.n_slots = min(self._wanted or cores, cores, most)
        self._images = ray.put(Evaluator(fitness, selection))
        # A core each, and nothing else: Ray schedules by what is declared.
        self._actor = ray.remote(num_cpus=1)(_Worker)
        self._workers = [self._actor.remote(self._images) for _ in range(self.n_slots)]
        self._pending: dict[Any, int] = {}
        self._tasks: dict[int, Task] = {}
        self._deaths: dict[int, int] = {}

    def submit(self, slot: int, task: Task) -> None:
        """See :meth:`Executor.submit`."""
        self._tasks[slot], self._deaths[slot] = task, 0
        self._pending[self._workers[slot].evaluate.remote(task)] = slot

    def wait(self) -> tuple[int, NDArray[np.float64], int]:
        """See :meth:`Executor.wait`."""
        while True:
            (answer,), _ = self._ray.wait(list(self._pending), num_returns=1)
            slot = self._pending.pop(answer)
            try:
                losses, full_scans = self._ray.get(answer)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except self._ray.exceptions.RayError as error:
                self._replace(slot, error)
                continue
            return slot, losses, full_scans

    def _replace(self, slot: int, error: Exception) -> None:
        self._deaths[slot] += 1
        if self._deaths[slot] == MAX_DEATHS:
            raise too_many_deaths(str(error).strip().splitlines()[-1])
        if self._ray.cluster_resources().get("CPU", 0) < self.n_slots:
            raise InputError(
                "The Ray cluster has lost a node, and has no core left for a worker: mend it, or "
                "give fewer workers (executor.workers=...)."
            ) from error
        self._workers[slot] = self._actor.remote(self._images)
        self._pending[self._workers[slot].evaluate.remote(self._tasks[slot])] = slot

    def close(self) -> None:
        """See :meth:`Executor.close`."""
        if self._ray.is_initialized():
            # Left to the shutdown, workers outlive it until they notice, long where cores are busy.
            for worker in self._workers:
                self._ray.kill(worker)
            self._ray.shutdown()
        self._workers = []


def _knock(address: str) -> None:
    """Raise an OSError where nothing listens at ``host:port``: Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


class _Worker:
    """An actor."""

    def __init__(self, evaluator: Evaluator) -> None:
        numba.set_num_threads(1)
        threadpool_limits(1)
        # Ray's arrays are read-only, and Numba would compile everything once more for such.
        self._evaluator = deepcopy(evaluator)

    def evaluate(self, task: Task) -> tuple[NDArray[np.float64], int]:
        return self._evaluator(deepcopy(task))
