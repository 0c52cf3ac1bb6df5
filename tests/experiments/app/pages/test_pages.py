"""The pages, as somebody sees them, without a browser."""

import asyncio
import fcntl
import json
import time
from contextlib import contextmanager
from datetime import datetime

from nicegui import ui

from experiments.app.pages.wording import KINDS


def job_of(service, dataset, events=(), **more):
    """Make a job that has written something: nothing is started."""
    job = service.jobs.create("study", dataset.id, {"budget.minutes": 10})
    job.run.mkdir()
    (job.run / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    values = json.loads((job.folder / "job.json").read_text())
    (job.folder / "job.json").write_text(json.dumps({**values, **more}))
    if "started" in more:
        # Of a process that has ended.
        (job.folder / "lock").write_text("1")
    return service.jobs.get(job.id)


@contextmanager
def running(job):
    """Hold the lock of a job, as its process would."""
    with (job.folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def until(condition):
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError


def test_the_first_page_says_what_to_do(opened):
    async def look(user):
        await user.open("/")
        await user.should_see("Drop a zip of photos, one folder for each class.")
        await user.should_see("There are none yet. Drop a zip above: it stays on this machine.")

    opened(look)


def test_the_first_page_shows_the_photos(opened, dataset):
    async def look(user):
        await user.open("/")
        await user.should_see("my pets")
        await user.should_see("8 photos, 2 classes")

    opened(look)


def test_what_is_not_there_is_said(opened):
    async def look(user):
        for address in ("/datasets/0123456789abcdef", "/jobs/x", "/jobs/x/result", "/jobs/x/try"):
            await user.open(address)
            await user.should_see("That is not here")

    opened(look)


def test_a_press_leaves_a_photo_out_and_another_undoes_it(opened, service, dataset):
    async def look(user):
        await user.open(f"/datasets/{dataset.id}")
        await user.should_see("dög & <b> (4)")
        [thumb] = [
            each
            for each in user.client.elements.values()
            if each.props.get("title") == dataset.photos()[1].name
        ]
        with user.client:
            await listener(thumb)
        assert service.datasets.get(dataset.id).excluded == {1}
        assert thumb.props["aria-pressed"] == "true"
        await user.should_see("7 photos in 2 classes; 1 photo left out")
        user.find("Undo").click()
        await user.should_see("8 photos in 2 classes")
        assert not service.datasets.get(dataset.id).excluded

    async def listener(thumb):
        [click] = [each for each in thumb._event_listeners.values() if each.type == "click"]
        await click.handler()

    opened(look)


def test_start_makes_a_job_and_shows_it(opened, service, dataset):
    async def look(user):
        await user.open(f"/datasets/{dataset.id}")
        user.find("Start").click()
        await user.should_see(KINDS["study"], retries=100)
        [job] = service.jobs.all()
        assert job.options == {"budget.minutes": 10}
        await user.should_see("Waits for its turn", retries=30)

    opened(look)


def test_a_mistake_stands_beside_its_field(opened, service, dataset):
    async def look(user):
        await user.open(f"/datasets/{dataset.id}/new")
        [field] = user.find(content="Minutes", kind=ui.input).elements
        for value, said in (("soon", "soon is no number: correct it."), ("-1", "budget.minutes")):
            field.value = value
            user.find("Start").click()
            await until(lambda said=said: said in (field.error or ""))
        assert not service.jobs.all()

    opened(look)


def test_a_live_job_shows_its_trials(opened, service, dataset):
    begun = "2026-12-01T10:00:00+00:00"
    trial = {
        "type": "trial", "time": "2026-12-01T10:01:00+00:00", "number": 0, "family": "sliced",
        "status": "tried", "values": [0.1],
        "details": {
            "engine": True, "correct": 90, "total": 100, "training": [[0.5, 0.9, None, None]],
        },
        "metrics": {"bytes": 2_000_000, "milliseconds": 3.14}, "seconds": 50,
        "ended": datetime.fromisoformat(begun).timestamp() + 60,
    }  # fmt: skip
    events = [
        {"type": "message", "time": begun, "text": "pets: 2 classes"},
        {"type": "progress", "time": begun, "task": "study", "text": "trial 1, <b>cnn</b>"},
        trial,
    ]
    job = job_of(service, dataset, events, started=time.time() - 60)

    async def look(user):
        with running(job):
            await user.open(f"/jobs/{job.id}")
            for said in ("At work", "9 min left", "trial 1, <b>cnn</b>", "90.0 %", "2 MB"):
                await user.should_see(said, retries=30)
            await user.should_see("between 83 and 94 %")
            with (job.run / "events.jsonl").open("a") as file:
                better = {**trial, "number": 1, "details": {**trial["details"], "correct": 95}}
                file.write(json.dumps(better) + "\n")
            await user.should_see("95.0 %", retries=30)
            # A second tab, and a reload.
            await user.open(f"/jobs/{job.id}")
            await user.should_see("95.0 %", retries=30)

    opened(look)


def test_a_failed_job_says_why_and_what_to_do(opened, service, dataset):
    job = job_of(service, dataset, started=time.time())
    (job.folder / "log.txt").write_text("Looking\nThere is one class: give two.\n")

    async def look(user):
        await user.open(f"/jobs/{job.id}")
        await user.should_see("There is one class: give two.", retries=30)
        await user.should_see("Continue")
        await user.open("/jobs")
        await user.should_see("failed", retries=30)
        await user.should_see(KINDS["study"])

    opened(look)
