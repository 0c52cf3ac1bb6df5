"""MLflow runs whose process is gone, killed or with its machine: they do not run for ever."""

import os
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROCESS = "knn-slicing.process"
"""The tag of a run that names its process."""


def this_process() -> str:
    """Name this process: its machine, its number, and when it began, since numbers come again."""
    return f"{socket.gethostname()} {os.getpid()} {_begin(os.getpid())}"


def has_ended(process: str) -> bool:
    """Say whether the process of a name was one of this machine, and has ended."""
    machine, number, begin = process.split(" ", 2)
    return machine == socket.gethostname() and _begin(int(number)) != begin


def mark_dead(client: "MlflowClient", experiment_id: str) -> None:
    """Mark runs as killed that an ended process of this machine left as running.

    Parameters
    ----------
    client : MlflowClient
    experiment_id : str
    """
    host = socket.gethostname()
    running = client.search_runs(
        [experiment_id], f"attributes.status = 'RUNNING' AND tags.`{PROCESS}` LIKE '{host} %'"
    )
    for run in running:
        if has_ended(run.data.tags[PROCESS]):
            client.set_tag(run.info.run_id, "status", "killed")
            client.set_terminated(run.info.run_id, "KILLED")


def _begin(process: int) -> str:
    """Tell when a process began, in the system's own form; nothing where there is none."""
    status = Path(f"/proc/{process}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # After the program's name, which may hold anything, in brackets.
            return status.read_text(errors="replace").rpartition(")")[2].split()[19]
        except OSError:
            return ""
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(process)], capture_output=True)
    return listed.stdout.decode(errors="replace").strip()
