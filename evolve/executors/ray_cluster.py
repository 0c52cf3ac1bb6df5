"""Workers on a Ray cluster, of this machine or of many."""

import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numba
from threadpoolctl import threadpool_limits

from evolve.executors.base import MAX_DEATHS, Executor, R, T, too_many_deaths
from slicing.checks import at_least
from slicing.errors import InputError, installing


class RayExecutor(Executor[T, R]):
    """Does tasks in the actors of a Ray cluster (https://ray.io), each on one core and thread.

    An actor that dies is replaced, on any node that has room, and its task starts again.

    Parameters
    ----------
    workers : int, optional
        By default one for each core of the cluster.
    address : str, optional
        Address of a running cluster (``auto``, ``ray://host:10001``); its nodes must have this
        package installed. By default a cluster is started on this machine, and ended by
        :meth:`close`.

    Raises
    ------
    InputError
        For fewer workers than one, and where Ray is not installed. :meth:`start` raises it where no
        cluster answers.
    """

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        at_least("workers", workers, 1)
        if address is None and "ray" not in sys.modules:
            # The local cluster listens to the network: it gets a token of its own, which is written
            # nowhere. Ray reads the token when it is imported.
            os.environ.setdefault("RAY_AUTH_MODE", "token")
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        try:
            import ray
        except ImportError as error:
            raise InputError(f"RayExecutor needs the package ray: {installing('ray')}") from error
        self._ray: Any = ray
        self._wanted, self._address = workers, address
        self._workers: list[Any] = []

    def start(self, work: Callable[[T], R], max_workers: int) -> None:
        """See :meth:`~evolve.executors.base.Executor.start`."""
        ray = self._ray
        handler = signal.getsignal(signal.SIGTERM)
        local: dict[str, Any] = {"num_cpus": self._wanted or int(numba.config.NUMBA_NUM_THREADS)}
        try:
            _knock(self._address or "")
            ray.init(
                **(local | {"include_dashboard": False} if self._address is None else {}),
                address=self._address or "local",
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except Exception as error:  # an address may lead anywhere
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            raise InputError(
                f"address={self._address} gives no Ray cluster ({reason}): start one with "
                "`ray start --head`, or leave the address out for a local one.",
                "address",
            ) from error
        # Ray puts its own there, which would end the program with nothing said.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
        # An actor without a core would wait for one silently.
        cores = int(ray.available_resources().get("CPU", 0))
        if not cores:
            raise InputError("The Ray cluster has no core to spare: wait, or add a node.")
        self.n_slots = min(self._wanted or cores, cores, max_workers)
        self._work = ray.put(work)
        # One core each, and nothing else: Ray schedules by what is declared.
        self._actor = ray.remote(num_cpus=1)(_Worker)
        self._workers = [self._actor.remote(self._work) for _ in range(self.n_slots)]
        self._pending: dict[Any, int] = {}
        self._tasks: dict[int, T] = {}
        self._deaths: dict[int, int] = {}

    def submit(self, slot: int, task: T) -> None:
        """See :meth:`~evolve.executors.base.Executor.submit`."""
        self._deaths[slot] = 0
        self.resubmit(slot, task)

    def resubmit(self, slot: int, task: T) -> None:
        """See :meth:`~evolve.executors.base.Executor.resubmit`."""
        self._tasks[slot] = task
        self._pending[self._workers[slot].do.remote(task)] = slot

    def wait(self) -> tuple[int, R]:
        """See :meth:`~evolve.executors.base.Executor.wait`."""
        while True:
            (answer,), _ = self._ray.wait(list(self._pending), num_returns=1)
            slot = self._pending.pop(answer)
            try:
                result: R = self._ray.get(answer)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from error
            except self._ray.exceptions.RayError as error:
                self._replace(slot, error)
                continue
            return slot, result

    def _replace(self, slot: int, error: Exception) -> None:
        self._deaths[slot] += 1
        if self._deaths[slot] == MAX_DEATHS:
            raise too_many_deaths(str(error).strip().splitlines()[-1])
        if self._ray.cluster_resources().get("CPU", 0) < self.n_slots:
            raise InputError(
                "The Ray cluster has lost a node and has no core left for a worker: add a node, or "
                "give fewer workers."
            ) from error
        self._workers[slot] = self._actor.remote(self._work)
        self._pending[self._workers[slot].do.remote(self._tasks[slot])] = slot

    def close(self) -> None:
        """See :meth:`~evolve.executors.base.Executor.close`."""
        if self._ray.is_initialized():
            # Else workers would outlive the shutdown until they notice it: long on busy cores.
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

    def __init__(self, work: Callable[[Any], Any]) -> None:
        numba.set_num_threads(1)
        threadpool_limits(1)
        # Ray's arrays are read-only, and numba would compile everything a second time for these.
        self._work = deepcopy(work)

    def do(self, task: Any) -> Any:
        return self._work(deepcopy(task))
