"""The files for containers: what they say is what the code has, and their commands work."""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from experiments.app.access import HEALTH, TOKEN
from experiments.overrides import check
from experiments.programs import STUDY
from experiments.schema.app import App
from experiments.tools import parse
from tests import postgres

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
APP = SERVICES["app"]["command"]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command", [["hadolint", "Dockerfile"], ["compose-lint", "compose.yaml"]], ids=lambda c: c[0]
)
def test_a_linter_finds_nothing(command):
    program = shutil.which(command[0], path=f"{BIN}:{os.environ['PATH']}")
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run([program, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_has_what_the_app_needs():
    [extras] = re.findall(r"--editable '\.\[(.+?)\]'", DOCKERFILE)
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.split(",")) <= set(known)
    assert "app" in extras.split(",")
    allowed = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [
        word for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M) for word in line.split()
    ]
    for name in copied:
        assert (ROOT / name).exists()
        assert any(fnmatch(name, each) for each in allowed)
    # Nothing else is sent to the builder.
    assert sorted(allowed) == sorted(copied)


def test_the_image_runs_the_app_as_nobody_and_asks_whether_it_is_alive():
    *_, last = re.findall(r"^CMD (\[.+\])$", DOCKERFILE, re.M)
    python, module, name, *words = yaml.safe_load(last)
    assert (python, module, name) == ("python", "-m", "experiments.app")
    options = parse(App, words)
    assert options.host == "0.0.0.0"
    assert f"http://127.0.0.1:{options.port}{HEALTH}" in DOCKERFILE
    assert f"EXPOSE {options.port}\n" in DOCKERFILE
    [user] = re.findall(r"^USER (\S+)$", DOCKERFILE, re.M)
    assert int(user) > 0


def test_the_services_fit_the_code_and_each_other():
    python, module, name, *words = APP
    assert (python, module, name) == ("python", "-m", "experiments.app")
    options = parse(App, words)
    assert check([*options.study, "name=a", "data.directory=/photos"], program=STUDY)
    for service in SERVICES.values():
        assert "healthcheck" in service or "build" in service
        assert set(service.get("depends_on", {})) <= set(SERVICES)
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"]
        # Nobody else's machine reaches a port, and every secret comes from outside.
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for variable, value in service.get("environment", {}).items():
            is_secret = variable == TOKEN or "PASSWORD" in variable
            assert is_secret == value.startswith("${"), variable


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(command, environment, log):
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=log.parent, env=os.environ | environment, stdout=file, stderr=file,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def answer(address, process, log):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            return urllib.request.urlopen(address, timeout=5).status
        time.sleep(0.2)
    return pytest.fail(log.read_text())


def test_its_commands_work_as_processes(tmp_path):
    """The app, MLflow and PostgreSQL, where there is no container runtime."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    with postgres.server() as address:
        user, host = "study", address.partition("?")[2]
        import psycopg

        with psycopg.connect(address, autocommit=True) as connection:
            for name in ("mlflow", "studies"):
                connection.execute(f"CREATE DATABASE {name}")
        ports = {name: free_port() for name in ("app", "mlflow")}

        def moved(words):
            """The words of a command, for this machine: other addresses and folders."""
            text = shlex.join(words)
            text = re.sub(r"knn@postgres/(\w+)", rf"{user}@/\1?{host}", text)
            text = text.replace("/data", str(tmp_path)).replace("0.0.0.0", "127.0.0.1")
            text = re.sub(r"--allowed-hosts=\S+", "", text)
            return shlex.split(text)

        _, module, name, *words = moved(APP)
        app = [sys.executable, module, name, *words, f"port={ports['app']}"]
        mlflow = [sys.executable, "-m", *moved(SERVICES["mlflow"]["command"])]
        mlflow.append(f"--port={ports['mlflow']}")
        environment = {"PYTHONPATH": str(ROOT), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        environment["PATH"] = f"{BIN}:{os.environ['PATH']}"
        logs = tmp_path / "app.log", tmp_path / "mlflow.log"
        with (
            running(app, environment, logs[0]) as first,
            running(mlflow, environment, logs[1]) as second,
        ):
            assert answer(f"http://127.0.0.1:{ports['app']}{HEALTH}", first, logs[0]) == 200
            assert answer(f"http://127.0.0.1:{ports['mlflow']}/health", second, logs[1]) == 200
