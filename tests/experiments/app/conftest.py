"""Photos of two kinds, and jobs whose command line is a few lines of Python."""

import io
import sys
import time
import zipfile

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from experiments.app import jobs as jobs_module
from experiments.app.access import Access
from experiments.app.api import Service, answer_faults, router_of
from experiments.app.datasets import Datasets
from experiments.app.job import State
from experiments.app.jobs import Jobs
from experiments.app.predictions import Predictions
from experiments.app.storage import Storage

# Says that it is at work; ends with a result once it hears Ctrl-C, or at once.
SCRIPT = """
import json, pathlib, sys, time
run = pathlib.Path(sys.argv[1]); run.mkdir(exist_ok=True)
events = (run / "events.jsonl").open("a")
def say(**values): print(json.dumps(values), file=events, flush=True)
say(type="message", text="begun")
try:
    if "wait" in str(sys.argv[2:]):
        while True: time.sleep(0.01)
    if "fail" in str(sys.argv[2:]): sys.exit("threads=0 is out of range: choose 1 or more.")
except KeyboardInterrupt:
    pass
(run / "summary.json").write_text("{}")
(run / "report.html").write_text("<p>found</p>")
say(type="end", status="finished")
"""


def picture(brightness, seed=0):
    draw = np.random.default_rng(seed)
    content = io.BytesIO()
    pixels = draw.normal(brightness, 30, (20, 24, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def archive(more=None, n=4):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for label, brightness in (("cat", 60), ("dög & <b>", 180)):
            for number in range(n):
                file.writestr(f"pets/{label}/{number}.png", picture(brightness, number))
        for name, data in (more or {}).items():
            file.writestr(name, data)
    return content.getvalue()


def sent(datasets, content, name="my pets.zip"):
    with datasets.receive(name, "ann") as upload:
        upload.write(content)
        return upload.finish()


def until(state, jobs, identifier):
    for _ in range(2000):
        if jobs.get(identifier).state == state:
            return jobs.get(identifier)
        time.sleep(0.01)
    raise AssertionError(jobs.get(identifier).state)


@pytest.fixture
def datasets(tmp_path):
    return Datasets(tmp_path / "datasets", [tmp_path / "allowed"])


@pytest.fixture
def scripted(monkeypatch):
    """Jobs do what their person is called: wait, fail, or nothing."""

    def words_of(kind, options, data, always=()):
        return [f"options={sorted(options)}"]

    def argv_of(kind, words):
        run = next(each for each in words if each.startswith(("output=", "resume=")))
        how = ",".join(words)
        return [sys.executable, "-c", SCRIPT, run.partition("=")[2].strip("'"), how]

    monkeypatch.setattr(jobs_module, "words_of", words_of)
    monkeypatch.setattr(jobs_module, "argv_of", argv_of)


@pytest.fixture
def jobs(tmp_path, datasets, scripted):
    found = Jobs(tmp_path / "jobs", datasets)
    yield found
    for job in found.all():
        if job.state == State.RUNNING:
            found.kill(job.id)
            until(State.FAILED if not job.asked else State.CANCELLED, found, job.id)
    found.end_noticed()


@pytest.fixture
def pets(datasets):
    return sent(datasets, archive())


@pytest.fixture
def service(tmp_path, datasets, jobs):
    return Service(datasets, jobs, Storage(tmp_path, 1.0), Predictions())


def app_of(service, token=""):
    """The API and who may use it, without pages."""
    app = FastAPI()
    app.include_router(router_of(service))
    answer_faults(app)
    app.add_middleware(Access, token=token)
    return app


@pytest.fixture
def client(service):
    with TestClient(app_of(service)) as client:
        yield client
