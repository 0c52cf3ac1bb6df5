"""The same over HTTP, for programs: ``/api``, described in ``/openapi.json``."""

import asyncio
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from experiments.app.commands import argv_of_export, environment
from experiments.app.datasets import Dataset, Datasets, Photo
from experiments.app.job import Job, State
from experiments.app.jobs import Jobs
from experiments.app.mail import require_address
from experiments.app.predictions import Predictions
from experiments.app.storage import Storage
from experiments.app.store import NotFoundError
from experiments.console import no_access
from slicing.errors import InputError
from slicing.files import is_full

MAX_PHOTOS = 32
"""Photos of a request."""

# Seconds between two looks at what a job has written.
_LOOK = 0.5
# A report is a page of its own: it has no scripts, and asks for nothing.
_REPORT = {
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "sandbox allow-popups"
}
_EXPORTING = asyncio.Lock()
# Seconds that it may take.
_EXPORT = 300.0


@dataclass(frozen=True)
class Service:
    """What the app has: pages and programs use the same."""

    datasets: Datasets
    jobs: Jobs
    storage: Storage
    predictions: Predictions


class Fault(BaseModel):
    """What was wrong, in one sentence, and the field or option that it is about."""

    detail: str
    option: str | None = None


class Link(BaseModel):
    """A folder on the server."""

    path: str = Field(min_length=1, max_length=4096)
    person: str = Field("", max_length=100)


class Exclusion(BaseModel):
    """Images that jobs leave out from now on, or take in again."""

    numbers: list[int] = Field(max_length=100_000)
    excluded: bool = True


class NewJob(BaseModel):
    """A job that is to be done."""

    kind: Literal["study", "inspect", "adaptive"] = "study"
    dataset: str
    options: dict[str, Any] = Field(default_factory=dict, max_length=50)
    person: str = Field("", max_length=100)
    notify: str = Field("", max_length=200)


class More(BaseModel):
    """What a job may use from now on."""

    options: dict[str, Any] = Field(default_factory=dict, max_length=10)


def router_of(service: Service) -> APIRouter:
    """Make the routes."""
    faults: dict[int | str, dict[str, Any]] = {
        code: {"model": Fault} for code in (401, 403, 404, 413, 422, 429, 507)
    }
    router = APIRouter(prefix="/api", responses=faults)
    datasets, jobs = service.datasets, service.jobs

    async def job_of(identifier: str) -> Job:
        return await asyncio.to_thread(jobs.get, identifier)

    async def dataset_of(identifier: str) -> Dataset:
        return await asyncio.to_thread(datasets.get, identifier)

    GivenJob = Annotated[Job, Depends(job_of)]  # noqa: N806
    GivenDataset = Annotated[Dataset, Depends(dataset_of)]  # noqa: N806

    @router.get("/health")
    async def health() -> dict[str, str]:
        """Say that the server is alive."""
        return {"status": "ok"}

    @router.get("/storage")
    async def storage() -> dict[str, Any]:
        """Say how much of the disk is used, and which jobs would be deleted first."""
        removable = await asyncio.to_thread(service.storage.removable, jobs)
        return {
            "used_bytes": service.storage.used,
            "quota_bytes": int(service.storage.gigabytes * 1e9),
            "deleted_first": [each.id for each in removable],
        }

    @router.post(
        "/datasets",
        status_code=201,
        openapi_extra={
            "requestBody": {
                "content": {
                    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
                }
            }
        },
    )
    async def upload(
        request: Request,
        name: Annotated[str, Query(max_length=200)] = "photos.zip",
        person: Annotated[str, Query(max_length=100)] = "",
    ) -> dict[str, Any]:
        """Send an archive of photos, zip or tar: its bytes are the body."""
        service.storage.require_room()
        with await asyncio.to_thread(datasets.receive, name, person) as receiving:
            async for piece in request.stream():
                await asyncio.to_thread(receiving.write, piece)
            return _dataset(await asyncio.to_thread(receiving.finish))

    @router.post("/datasets/linked", status_code=201)
    async def link(given: Link) -> dict[str, Any]:
        """Name a folder of photos on the server."""
        service.storage.require_room()
        return _dataset(await asyncio.to_thread(datasets.link, given.path, given.person))

    @router.get("/datasets")
    async def all_datasets() -> list[dict[str, Any]]:
        """List the data sets, the newest first."""
        return [_dataset(each) for each in await asyncio.to_thread(datasets.all)]

    @router.get("/datasets/{identifier}")
    async def one_dataset(dataset: GivenDataset) -> dict[str, Any]:
        """Describe a data set."""
        return _dataset(dataset)

    @router.delete("/datasets/{identifier}", status_code=204)
    async def delete_dataset(dataset: GivenDataset) -> None:
        """Delete a data set that no job at work reads."""
        await asyncio.to_thread(jobs.delete_dataset, dataset.id)

    @router.get("/datasets/{identifier}/images")
    async def images(
        dataset: GivenDataset,
        first: Annotated[int, Query(ge=0)] = 0,
        count: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> list[dict[str, Any]]:
        """List images of a data set."""
        photos = await asyncio.to_thread(dataset.photos)
        return [_photo(each) for each in photos[first : first + count]]

    @router.get("/datasets/{identifier}/images/{number}", response_class=Response)
    async def thumbnail(dataset: GivenDataset, number: int) -> Response:
        """Show an image of a data set, small, as WebP."""
        content = await asyncio.to_thread(dataset.thumbnail, number)
        return Response(content, media_type="image/webp")

    @router.post("/datasets/{identifier}/excluded")
    async def exclude(dataset: GivenDataset, given: Exclusion) -> dict[str, Any]:
        """Exclude images from the jobs that begin from now on, or take them in again."""
        return _dataset(
            await asyncio.to_thread(datasets.exclude, dataset.id, given.numbers, given.excluded)
        )

    @router.post("/jobs", status_code=201)
    async def new_job(given: NewJob) -> dict[str, Any]:
        """Put a job into the queue."""
        service.storage.require_room()
        if given.notify:
            require_address(given.notify)
        return await _job(
            await asyncio.to_thread(
                jobs.create, given.kind, given.dataset, given.options, given.person, given.notify
            )
        )

    @router.get("/jobs")
    async def all_jobs() -> list[dict[str, Any]]:
        """List the jobs, the newest first."""
        found = await asyncio.to_thread(jobs.all)
        return await asyncio.to_thread(lambda: [_described(each) for each in found])

    @router.get("/jobs/{identifier}")
    async def one_job(job: GivenJob) -> dict[str, Any]:
        """Describe a job, with the figures of its result where there is one."""
        return {**await _job(job), "summary": await asyncio.to_thread(job.summary)}

    @router.delete("/jobs/{identifier}", status_code=204)
    async def delete_job(job: GivenJob) -> None:
        """Delete a job that is not at work, with all that it has found."""
        await asyncio.to_thread(jobs.delete, job.id)

    @router.get("/jobs/{identifier}/events", response_class=EventSourceResponse)
    async def events(
        job: GivenJob, last_event_id: Annotated[str, Header(max_length=20)] = ""
    ) -> AsyncIterator[ServerSentEvent]:
        """Follow a job: what has happened, and what happens, until it ends."""
        since = int(last_event_id) if re.fullmatch("[0-9]+", last_event_id) else 0
        while True:
            # First the state: what it wrote before its end is read after that.
            state = (await asyncio.to_thread(_described, jobs.get(job.id)))["state"]
            found, since = await asyncio.to_thread(job.events, since)
            for number, each in enumerate(found, 1):
                identifier = str(since) if number == len(found) else None
                yield ServerSentEvent(data=each, event=str(each.get("type")), id=identifier)
            if state not in (State.QUEUED, State.RUNNING):
                yield ServerSentEvent(data={"state": state}, event="state")
                return
            await asyncio.sleep(_LOOK)

    def changing(act: Callable[[str], Job]) -> Callable[..., Awaitable[dict[str, Any]]]:
        async def change(job: GivenJob) -> dict[str, Any]:
            return await _job(await asyncio.to_thread(act, job.id))

        change.__doc__ = act.__doc__
        return change

    router.post("/jobs/{identifier}/stop")(changing(jobs.stop))
    router.post("/jobs/{identifier}/cancel")(changing(jobs.cancel))

    @router.post("/jobs/{identifier}/continue")
    async def go_on(job: GivenJob, given: More) -> dict[str, Any]:
        """Put a job into the queue again, with more budget; nothing that it found is lost."""
        return await _job(await asyncio.to_thread(jobs.go_on, job.id, given.options))

    @router.get("/jobs/{identifier}/log", response_class=Response)
    async def log(job: GivenJob) -> Response:
        """Give what the command line of a job has said."""
        return Response(await asyncio.to_thread(job.log), media_type="text/plain; charset=utf-8")

    @router.get("/jobs/{identifier}/report", response_class=FileResponse)
    async def report(job: GivenJob) -> FileResponse:
        """Give the report of a job, one page."""
        return FileResponse(_there(job.report, "report"), media_type="text/html", headers=_REPORT)

    @router.get("/jobs/{identifier}/engine", response_class=FileResponse)
    async def engine(job: GivenJob) -> FileResponse:
        """Give the best classifier so far."""
        path = _there(job.engine, "classifier")
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    @router.get("/jobs/{identifier}/export/{kind}", response_class=FileResponse)
    async def export(job: GivenJob, kind: Literal["onnx", "litert"]) -> FileResponse:
        """Give the best classifier so far in another format; this takes some seconds."""
        path = await exported(job, kind)
        return FileResponse(path, media_type="application/octet-stream", filename=path.name)

    @router.post("/jobs/{identifier}/predict")
    async def predict(job: GivenJob, photos: list[UploadFile]) -> list[dict[str, Any]]:
        """Classify photos with the best classifier so far."""
        if len(photos) > MAX_PHOTOS:
            raise InputError(f"photos are more than {MAX_PHOTOS}: send fewer at once.", "photos")
        path = _there(job.engine, "classifier")
        with tempfile.TemporaryDirectory() as folder:
            paths = []
            for number, each in enumerate(photos):
                # What it is called is nobody's path.
                paths.append(Path(folder) / f"photo-{number}")
                paths[-1].write_bytes(await each.read())
            try:
                answers = await asyncio.to_thread(service.predictions.answer, path, paths)
            except InputError as error:
                raise InputError(str(error).replace(f"{folder}/", ""), "photos") from error
        return [asdict(each) for each in answers]

    return router


async def exported(job: Job, kind: str) -> Path:
    """Convert the best classifier of a job, in a process of its own; keep what was made.

    Raises
    ------
    InputError
        Where it cannot be converted.
    NotFoundError
        Where there is none yet.
    """
    engine = _there(job.engine, "classifier")
    argv, made = argv_of_export(engine, kind, job.folder)
    async with _EXPORTING:
        if not made.is_file() or made.stat().st_mtime < engine.stat().st_mtime:
            done = await asyncio.to_thread(_run, argv)
            if done.returncode:
                said = done.stderr.strip().splitlines() or ["it was ended from outside: try again."]
                raise InputError(said[-1])
    return made


def _run(argv: list[str]) -> "subprocess.CompletedProcess[str]":
    """Run a command line without the server's secrets; one that hangs is ended."""
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, check=False, env=environment(), timeout=_EXPORT
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"It took more than {_EXPORT:.0f} s, and was ended.") from error


def answer_faults(app: FastAPI) -> None:
    """Answer mistakes in one sentence, and what the system refuses, too."""

    @app.exception_handler(NotFoundError)
    async def not_found(request: Request, error: NotFoundError) -> JSONResponse:
        return _fault(404, str(error))

    @app.exception_handler(InputError)
    async def mistake(request: Request, error: InputError) -> JSONResponse:
        return _fault(422, str(error), error.option)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        names = [str(each) for each in first["loc"][1:]] or [str(first["loc"][0])]
        return _fault(422, f"{'.'.join(names)}: {first['msg']}.", names[0])

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        return _fault(error.status_code, error.detail)

    @app.exception_handler(OSError)
    async def refused(request: Request, error: OSError) -> JSONResponse:
        if not is_full(error):
            raise error
        return _fault(507, no_access(error))


def _fault(status: int, sentence: str, option: str | None = None) -> JSONResponse:
    return JSONResponse({"detail": sentence, "option": option}, status)


def _there(path: Path | None, what: str) -> Path:
    if path is None:
        raise NotFoundError(f"There is no {what} yet: wait for it, or see why in the log.")
    return path


def _dataset(dataset: Dataset) -> dict[str, Any]:
    return {
        "id": dataset.id, "name": dataset.name, "person": dataset.person,
        "created": dataset.created, "images": dataset.n_images, "classes": dataset.classes,
        "excluded": sorted(dataset.excluded), "unreadable": dataset.unreadable,
    }  # fmt: skip


def _photo(photo: Photo) -> dict[str, Any]:
    return {
        "number": photo.number, "name": photo.name, "label": photo.label, "part": photo.part,
        "excluded": photo.is_excluded,
    }  # fmt: skip


async def _job(job: Job) -> dict[str, Any]:
    return await asyncio.to_thread(_described, job)


def _described(job: Job) -> dict[str, Any]:
    state = job.state
    return {
        "id": job.id, "kind": job.kind, "state": state, "asked": job.asked,
        "reason": job.reason if state == State.FAILED else "", "dataset": job.dataset,
        "dataset_name": job.dataset_name, "options": job.options, "person": job.person,
        "created": job.created, "started": job.started, "ended": job.ended,
        "command": job.argv[1:], "engine": job.engine is not None,
        "report": job.report is not None,
    }  # fmt: skip
