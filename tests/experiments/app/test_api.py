"""The same over HTTP: what programs send, and what they are answered."""

import json

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from experiments.app.job import State
from experiments.app.queue import Queue
from slicing import Engine, UntrainedCNN
from slicing.data.dataset import Images
from tests.experiments.app.conftest import app_of, archive, picture, until


def send(client, content, name="my pets.zip"):
    return client.post("/api/datasets", params={"name": name, "person": "ann"}, content=content)


@pytest.fixture
def dataset(client):
    return send(client, archive()).json()["id"]


def test_a_data_set_is_sent_shown_and_deleted(client):
    sent = send(client, archive())
    assert sent.status_code == 201
    found = sent.json()
    assert (found["name"], found["person"], found["images"]) == ("my pets", "ann", 8)
    address = f"/api/datasets/{found['id']}"
    assert client.get("/api/datasets").json() == [client.get(address).json()]
    images = client.get(f"{address}/images", params={"first": 6, "count": 5}).json()
    assert [each["number"] for each in images] == [6, 7]
    small = client.get(f"{address}/images/0")
    assert small.headers["content-type"] == "image/webp"
    assert small.content[:4] == b"RIFF"
    assert client.get(f"{address}/images/8").status_code == 404
    left = client.post(f"{address}/excluded", json={"numbers": [0, 1]}).json()
    assert (left["images"], left["excluded"]) == (6, [0, 1])
    again = client.post(f"{address}/excluded", json={"numbers": [0, 1], "excluded": False})
    assert again.json()["images"] == 8
    assert client.delete(address).status_code == 204
    assert client.get("/api/datasets").json() == []


def test_a_bad_archive_is_one_sentence_and_leaves_nothing(client, datasets):
    answer = send(client, archive({"../../out.png": picture(1)}))
    assert answer.status_code == 422
    assert answer.json()["option"] == "file"
    assert "path out of its folder" in answer.json()["detail"]
    assert list(datasets.folder.iterdir()) == []


def test_a_job_is_followed_to_its_end(client, service, dataset):
    made = client.post("/api/jobs", json={"dataset": dataset, "options": {"budget.minutes": 1}})
    assert made.status_code == 201
    job = made.json()
    assert job["state"] == "queued"
    address = f"/api/jobs/{job['id']}"
    assert client.get(f"{address}/report").status_code == 404
    Queue(service.jobs, service.storage).tick()
    until(State.FINISHED, service.jobs, job["id"])
    with client.stream("GET", f"{address}/events") as stream:
        lines = [line for line in stream.iter_lines() if line.startswith("data:")]
    found = [json.loads(line.removeprefix("data:")) for line in lines]
    assert [each.get("type") for each in found] == ["message", "end", None]
    assert found[-1] == {"state": "finished"}
    report = client.get(f"{address}/report")
    assert report.text == "<p>found</p>"
    assert "sandbox" in report.headers["content-security-policy"]
    assert client.get(address).json()["summary"] == {}
    assert client.get("/api/jobs").json()[0]["state"] == "finished"
    assert client.delete(address).status_code == 204
    assert client.get(address).status_code == 404


def test_followers_go_on_where_they_were(client, service, dataset):
    job = client.post("/api/jobs", json={"dataset": dataset}).json()["id"]
    service.jobs.start(job)
    after = until(State.FINISHED, service.jobs, job).events()[1]
    headers = {"Last-Event-ID": str(after)}
    with client.stream("GET", f"/api/jobs/{job}/events", headers=headers) as stream:
        events = [line for line in stream.iter_lines() if line.startswith("event:")]
    assert events == ["event: state"]


@pytest.mark.parametrize(
    ("body", "option"),
    [
        ({"kind": "shell"}, "kind"),
        ({"notify": "ann@example.org\nBcc: all@example.org"}, "notify"),
        ({"options": [1]}, "options"),
    ],
)
def test_a_mistake_names_its_field(client, dataset, body, option):
    answer = client.post("/api/jobs", json={"dataset": dataset, **body})
    assert answer.status_code == 422
    assert answer.json()["option"] == option
    assert client.get("/api/jobs").json() == []


@pytest.mark.parametrize("identifier", ["0" * 16, "..", "%2e%2e%2fjobs", "x", "0" * 15 + "%0a"])
def test_what_is_not_there_is_said(client, identifier):
    for address in (f"/api/datasets/{identifier}", f"/api/jobs/{identifier}/engine"):
        assert client.get(address).status_code in (404, 400)


def test_nothing_is_taken_in_above_the_quota(client, service, dataset):
    service.storage.gigabytes = 1e-6
    service.storage.tidy(service.jobs)
    for answer in (send(client, archive()), client.post("/api/jobs", json={"dataset": dataset})):
        assert answer.status_code == 507
        assert "the server keeps 1e-06 GB" in answer.json()["detail"]
    # Data sets are never deleted for it.
    assert [each["id"] for each in client.get("/api/datasets").json()] == [dataset]


def test_photos_are_classified_by_the_best_so_far(client, service, dataset):
    pixels = np.zeros((8, 28, 28, 1), np.float32)
    pixels[4:] = 0.8
    pixels += np.random.default_rng(0).random(pixels.shape, np.float32) / 5
    images = Images(pixels, np.repeat([0, 1], 4))
    classes = ("cat", "dog")
    stack = UntrainedCNN(filters=(2, 3)).build(images, classes).stack
    job = service.jobs.get(client.post("/api/jobs", json={"dataset": dataset}).json()["id"])
    address = f"/api/jobs/{job.id}"
    photos = [("photos", (name, picture(180), "image/png")) for name in ("../a.png", "b")]
    assert client.post(f"{address}/predict", files=photos).status_code == 404
    job.run.mkdir()
    Engine.fit(stack, images, classes, k=3).save(job.run / "engine.safetensors")
    answers = client.post(f"{address}/predict", files=photos).json()
    assert len(answers) == 2
    for each in answers:
        votes = [neighbor["label"] for neighbor in each["neighbors"]]
        assert len(votes) == 3
        assert each["shares"]["dog"] == pytest.approx(votes.count("dog") / 3)
        assert each["milliseconds"] > 0
    broken = client.post(f"{address}/predict", files=[("photos", ("a.png", b"no image"))])
    assert broken.status_code == 422
    assert broken.json()["option"] == "photos"
    assert "/tmp" not in broken.json()["detail"]
    assert client.get(f"{address}/engine").content == (job.run / "engine.safetensors").read_bytes()


def test_no_request_is_a_fault_of_the_server(service):
    """Requests of any kind that the description allows, and of some that it does not."""
    app, called = app_of(service), 0

    def call(case):
        nonlocal called
        answer, called = case.call(), called + 1
        assert answer.status_code < 500
        if answer.status_code >= 400:
            assert {*answer.json()} == {"detail", "option"}

    for operation in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations():
        strategy = operation.ok().as_strategy()
        healthy = settings(
            max_examples=8, deadline=None, derandomize=True, suppress_health_check=[*HealthCheck]
        )
        healthy(given(strategy)(call))()
    assert called > 100
