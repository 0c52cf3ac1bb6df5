"""The page on which somebody tries a classifier, and teaches it a class more."""

import asyncio
import base64
import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nicegui import ui
from nicegui.elements.upload_files import FileUpload
from nicegui.events import MultiUploadEventArguments

from experiments.app.api import MAX_PHOTOS, Service
from experiments.app.job import Job
from experiments.app.pages.layout import (
    button,
    card,
    frame,
    label_upload,
    link,
    telling_mistakes,
    thumbnail,
    words,
)
from experiments.app.pages.wording import milliseconds, percent, photos
from experiments.app.predictions import Answer
from experiments.app.store import NotFoundError
from slicing.data.image_file import picture_of
from slicing.errors import InputError

# Classes and neighbors that are named of an answer, and pixels of the photo beside it.
_NAMED, _PIXELS = 3, 200
# Photos of a data set above which those that voted are not looked for.
_MOST = 2000
_NOTHING = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
_TAUGHT = "taught.safetensors"
_PHOTOS = 'accept="image/*" no-thumbnails flat'


@dataclass(frozen=True)
class _Tried:
    """A photo as a page shows it, and the answer to it."""

    name: str
    picture: str
    answer: Answer


async def page(service: Service, identifier: str) -> None:
    """Draw it."""
    job = await asyncio.to_thread(service.jobs.get, identifier)
    with frame(f"Try it: {job.dataset_name}", "/jobs"):
        with ui.element("div"):
            words("h1", "Try it")
            with words("p", "the classifier of ", "soft").style("margin: 0"):
                link(job.dataset_name, f"/jobs/{identifier}")
        if job.engine is None:
            words("p", "There is no classifier yet: it comes with the first trial that ends.")
            return
        _Trying(service, job)
        if job.kind == "study":
            _Teaching(service, job)


class _Trying:
    """Photos, and the answers to them."""

    def __init__(self, service: Service, job: Job) -> None:
        self._service, self._id = service, job.id
        with card():
            self._upload = ui.upload(
                multiple=True, auto_upload=True, max_files=MAX_PHOTOS, on_multi_upload=self._come,
                on_rejected=lambda: ui.notify("These are no photos, or too many of them."),
            )  # fmt: skip
            self._upload.props(_PHOTOS)
            label_upload(self._upload, "Choose or take photos", "or drop them here", is_main=True)
        self._answers = ui.element("div").classes("grid").props("aria-live=polite")

    async def _come(self, event: MultiUploadEventArguments) -> None:
        with telling_mistakes():
            job = await asyncio.to_thread(self._service.jobs.get, self._id)
            tried = await _answered(self._service, job, event.files)
            self._upload.reset()
            self._answers.clear()
            voters = list[tuple[int, ui.element]]()
            with self._answers:
                for each in tried:
                    voters += _draw(each)
            await self._show_voters(job, voters)

    async def _show_voters(self, job: Job, voters: list[tuple[int, ui.element]]) -> None:
        """Show the photos that voted: to find them takes a look at all, so they come later."""
        try:
            dataset = await asyncio.to_thread(self._service.datasets.get, job.dataset)
        except NotFoundError:  # it was deleted: the answers stand
            return
        some = await asyncio.to_thread(dataset.photos)
        if len(some) > _MOST:
            return
        found = await asyncio.to_thread(
            self._service.predictions.references, _engine_of(job), [each.path for each in some]
        )
        for reference, image in voters:
            if reference in found and not image.is_deleted:
                photo = some[found[reference]]
                image.props["src"] = f"/api/datasets/{dataset.id}/images/{photo.number}"
                image.props["title"] = photo.name


async def _answered(service: Service, job: Job, files: Sequence[FileUpload]) -> list[_Tried]:
    engine = _engine_of(job)
    with tempfile.TemporaryDirectory() as folder:
        paths = await _saved(files, Path(folder))
        with _without(folder):
            answers = await asyncio.to_thread(service.predictions.answer, engine, paths)
            pictures = await asyncio.to_thread(lambda: [_picture(each) for each in paths])
    names = [each.name for each in files]
    return [_Tried(*each) for each in zip(names, pictures, answers, strict=True)]


async def _saved(files: Sequence[FileUpload], folder: Path) -> list[Path]:
    # What they are called is nobody's path.
    paths = [folder / f"photo-{number}" for number in range(1, len(files) + 1)]
    await asyncio.gather(*(each.save(path) for each, path in zip(files, paths, strict=True)))
    return paths


def _engine_of(job: Job) -> Path:
    """Give the classifier that was taught last, or the best so far."""
    taught, engine = job.folder / _TAUGHT, job.engine
    if engine is None:
        raise NotFoundError("There is no classifier yet: wait for it.")
    if taught.is_file() and taught.stat().st_mtime >= engine.stat().st_mtime:
        return taught
    return engine


def _picture(path: Path) -> str:
    content = io.BytesIO()
    picture_of(path, _PIXELS).save(content, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def _draw(tried: _Tried) -> list[tuple[int, ui.element]]:
    """Draw an answer; give the places of those that voted, with their numbers."""
    voters = list[tuple[int, ui.element]]()
    answer = tried.answer
    with card():
        with ui.element("div").classes("beside"):
            thumbnail(tried.picture, tried.name, "photo large")
            with ui.element("div"):
                words("div", answer.label, "figure")
                words("div", _sure(answer), "soft")
                words("div", milliseconds(answer.milliseconds), "soft")
        votes = sorted(answer.shares.items(), key=lambda each: -each[1])[:_NAMED]
        for name, share in votes:
            if share:
                with ui.element("div"):
                    words("div", f"{name}: {percent(share)} of the votes")
                    meter = ui.element("progress").classes("meter")
                    meter.props["value"], meter.props["max"] = str(share), "1"
                    meter.props["aria-label"] = f"Votes for {name}"
        if answer.neighbors:
            words("div", "Those that voted, the nearest first", "soft")
        with ui.element("ol").classes("voters"):
            for each in answer.neighbors:
                with ui.element("li"):
                    image = thumbnail(_NOTHING, "", "photo")
                    image.props["title"] = f"distance {each.distance:.3g}"
                    words("div", each.label)
                voters.append((each.reference, image))
    return voters


def _sure(answer: Answer) -> str:
    if answer.is_outlier:
        return "unlike all photos that it has learned from"
    if answer.confidence is None:
        return "it cannot say how sure it is"
    return f"{percent(answer.confidence)} sure"


class _Teaching:
    """A new class, of a few photos."""

    def __init__(self, service: Service, job: Job) -> None:
        self._service, self._id = service, job.id
        with ui.expansion("Teach it a new class").classes("card").props("dense"):
            words("p", "Name it, and give five photos or more: it learns them in a moment.")
            self._name = ui.input("Name of the class").props("outlined dense")
            self._upload = ui.upload(
                multiple=True, auto_upload=True,
                max_files=MAX_PHOTOS, on_multi_upload=self._come,
            ).props(_PHOTOS)  # fmt: skip
            label_upload(self._upload, "Choose its photos", "or drop them here")
            self._said = words("p", "").props("role=status")
            with ui.element("div").classes("line"):
                self._take = button("Take the taught classifier", self._download)
                self._forget = button("Forget what it was taught", self._unlearn)
        self._show()

    def _taught(self) -> Path:
        return self._service.jobs.get(self._id).folder / _TAUGHT

    def _show(self) -> None:
        is_taught = self._taught().is_file()
        self._take.set_visibility(is_taught)
        self._forget.set_visibility(is_taught)

    async def _come(self, event: MultiUploadEventArguments) -> None:
        self._name.error = None
        name = str(self._name.value or "").strip()
        if not name:
            self._name.error = "Name the class first, then give its photos again."
        else:
            with telling_mistakes():
                await self._teach(name, event.files)
        self._upload.reset()

    async def _teach(self, name: str, files: Sequence[FileUpload]) -> None:
        job = await asyncio.to_thread(self._service.jobs.get, self._id)
        with tempfile.TemporaryDirectory() as folder:
            paths = await _saved(files, Path(folder))
            with _without(folder):
                await asyncio.to_thread(
                    self._service.predictions.teach, _engine_of(job), name, paths, self._taught()
                )
        self._said.text = f"It knows {name} now, of {photos(len(files))}: try it."
        self._name.value = ""
        self._show()

    def _download(self) -> None:
        ui.download.file(self._taught(), "engine.safetensors")

    async def _unlearn(self) -> None:
        await asyncio.to_thread(lambda: self._taught().unlink(missing_ok=True))
        self._said.text = "It is as it was."
        self._show()


@contextmanager
def _without(folder: str) -> Iterator[None]:
    """Let mistakes not tell where photos lay for a moment."""
    try:
        yield
    except InputError as error:
        raise InputError(str(error).replace(f"{folder}/", "")) from error
