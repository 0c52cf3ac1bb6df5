"""The first page: three steps, and the photos that are there."""

import asyncio
import json

from nicegui import ui
from nicegui.events import GenericEventArguments

from experiments.app.api import Service
from experiments.app.datasets import Dataset
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
from experiments.app.pages.wording import ago, photos

_STEPS = (
    "Drop a zip of photos, one folder for each class.",
    "Press start, and watch it find better and better classifiers.",
    "Try it on a new photo, and take it with you.",
)
# Quasar sends the file as it is, to where programs send theirs: it goes to the disk piece by piece.
_ADDRESS = "files => ({url: '/api/datasets?name=' + encodeURIComponent(files[0].name)})"
_ANSWER = "({xhr}) => emit(xhr.responseText)"


async def page(service: Service) -> None:
    """Draw it."""
    found = await asyncio.to_thread(service.datasets.all)
    with frame("Photos", "/"):
        words("h1", "Photos in, classifier out")
        with ui.element("ol").classes("steps"):
            for number, step in enumerate(_STEPS, 1):
                with ui.element("li").classes("step"):
                    words("b", str(number)).props("aria-hidden=true")
                    words("span", step)
        with card("New photos"):
            _upload(service)
            if service.datasets.roots:
                _folder(service)
        words("h2", "Your photos")
        if not found:
            words("p", "There are none yet. Drop a zip above: it stays on this machine.", "soft")
        with ui.element("div").classes("grid"):
            for each in found:
                _tile(each)


def _upload(service: Service) -> None:
    upload = ui.upload(auto_upload=True)
    upload.props("send-raw no-thumbnails flat accept=.zip,.tar,.tgz,.gz,.bz2,.xz")
    upload.props[":factory"] = _ADDRESS
    label_upload(upload, "Choose a zip", "or drop it here", is_main=True)
    said = words("p", "").props("role=status")

    async def come(event: GenericEventArguments) -> None:
        said.text = "They are here: looking at them…"
        await _open(service, json.loads(event.args)["id"])

    def refuse(event: GenericEventArguments) -> None:
        said.classes("bad")
        said.text = _reason(event.args)
        upload.reset()

    def begin() -> None:
        said.classes(remove="bad")
        said.text = "Sending and unpacking the photos…"

    def refuse_kind() -> None:
        said.classes("bad")
        said.text = "That is no zip or tar: put the photos into one, a folder for each class."

    upload.on("uploading", begin, args=[])
    upload.on("uploaded", come, js_handler=_ANSWER)
    upload.on("failed", refuse, js_handler=_ANSWER)
    upload.on("rejected", refuse_kind, args=[])


def _reason(answer: str) -> str:
    try:
        return str(json.loads(answer)["detail"])
    except (ValueError, KeyError, TypeError):
        return "The photos did not arrive: try again."


def _folder(service: Service) -> None:
    roots = ", ".join(map(str, service.datasets.roots))
    path = ui.input("Or a folder on the server").props("outlined dense")
    path.props["hint"] = f"Below {roots}"

    async def name() -> None:
        with telling_mistakes():
            dataset = await asyncio.to_thread(service.datasets.link, path.value or "")
            await _open(service, dataset.id)

    with ui.element("div"):
        button("Take this folder", name)


async def _open(service: Service, identifier: str) -> None:
    """Begin to look for faults, and show the photos."""
    with telling_mistakes():
        await asyncio.to_thread(service.jobs.create, "inspect", identifier, {})
    ui.navigate.to(f"/datasets/{identifier}")


def _tile(dataset: Dataset) -> None:
    with link("", f"/datasets/{dataset.id}").classes("card tile beside"):
        thumbnail(f"/api/datasets/{dataset.id}/images/0", "")
        with ui.element("div"):
            words("div", dataset.name).style("font-weight: 650")
            words("div", f"{photos(dataset.n_images)}, {len(dataset.classes)} classes", "soft")
            words("div", ago(dataset.created), "soft")
