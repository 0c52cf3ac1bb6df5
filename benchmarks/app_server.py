"""A server of the app in a process of its own, and what is asked of it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

from slicing.errors import InputError

# Seconds until a server answers, and until an answer is a fault.
_STARTS, _PATIENCE = 120.0, 120.0


class Server:
    """A server that can be killed, and started again on the same folder.

    Parameters
    ----------
    folder : Path
        Where it keeps everything.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self._port}"
        self._numbers = count()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill(signal.SIGINT)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = [f"port={self._port}", f"folder={self.folder}"]
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "experiments.app", *words],
            cwd=self.folder.parent, env=os.environ | {"PYTHONPATH": str(root)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + _STARTS
        while not self.is_alive:
            if time.monotonic() > deadline:
                raise InputError("The app does not start: try `make app`.")
            time.sleep(0.1)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal, and wait until it has ended."""
        assert self._process is not None
        self._process.send_signal(number)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def is_alive(self) -> bool:
        """Whether it answers."""
        with suppress(OSError, HTTPException):
            return bool(self.get("/api/health")[0] == 200)
        return False

    def get(self, path: str) -> tuple[int, bytes]:
        """Ask for something: the status and the content."""
        return self._ask("GET", path)

    def post(self, path: str, content: bytes | Mapping[str, Any]) -> tuple[int, bytes]:
        """Send bytes, or values as JSON: the status and the content."""
        if isinstance(content, bytes):
            kind = "application/octet-stream"
        else:
            content, kind = json.dumps(content).encode(), "application/json"
        return self._ask("POST", path, content, {"Content-Type": kind})

    def upload(self, archive: bytes, name: str = "photos.zip") -> str:
        """Send a data set; give its id."""
        return self._made(self.post(f"/api/datasets?name={name}", archive))

    def study(self, dataset: str, options: Mapping[str, Any]) -> str:
        """Put a study into the queue; give its id."""
        job = {"kind": "study", "dataset": dataset, "options": dict(options)}
        return self._made(self.post("/api/jobs", job))

    def job(self, identifier: str) -> dict[str, Any]:
        """Describe a job."""
        return dict(json.loads(self.get(f"/api/jobs/{identifier}")[1]))

    def until_ended(self, identifier: str, seconds: float = 600.0) -> dict[str, Any]:
        """Wait until a job has ended, at most so long; describe it."""
        deadline = time.monotonic() + seconds
        while (job := self.job(identifier))["state"] in ("queued", "running"):
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        return job

    def _made(self, answer: tuple[int, bytes]) -> str:
        status, content = answer
        if status != 201:
            raise InputError(f"The app does not take it: {content.decode(errors='replace')}")
        return str(json.loads(content)["id"])

    def _ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> tuple[int, bytes]:
        """Ask as somebody at another address each time, for addresses have rates."""
        source = f"127.0.{next(self._numbers) % 250 + 1}.1"
        connection = HTTPConnection(
            "127.0.0.1", self._port, timeout=_PATIENCE, source_address=(source, 0)
        )
        with closing(connection):
            connection.request(method, path, content, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
