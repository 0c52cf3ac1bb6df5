"""The page of a data set: its photos by classes, and what is wrong with them."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from functools import partial

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from experiments.app.api import Service
from experiments.app.datasets import Dataset, Photo
from experiments.app.job import Job, State
from experiments.app.pages.faults import Fault, faults_of
from experiments.app.pages.layout import (
    button,
    card,
    frame,
    link,
    telling_mistakes,
    thumbnail,
    watch,
    words,
)
from experiments.app.pages.wording import photos

# Photos of a class that are shown at first.
_FIRST = 12
_MINUTES = {2: "2 minutes", 10: "10 minutes", 60: "1 hour"}


@dataclass(frozen=True)
class _Look:
    """A job that looks for faults, and what it found."""

    job: Job | None
    state: State | None
    faults: tuple[Fault, ...]


async def page(service: Service, identifier: str) -> None:
    """Draw it."""
    dataset = await asyncio.to_thread(service.datasets.get, identifier)
    with frame(dataset.name, "/"):
        with ui.element("div").classes("line apart"):
            with ui.element("div"):
                words("h1", dataset.name)
                counted = words("p", _counted(dataset), "soft").style("margin: 0")
            _start(service, dataset)
        gallery = _Gallery(service, dataset, counted)
        with card("What is wrong with them"):
            found = ui.element("div").classes("card").style("border: 0; padding: 0")
        watch(1.0, _Looks(service, identifier), partial(gallery.show_faults, found))
        gallery.draw(await asyncio.to_thread(dataset.photos))
        _delete(service, dataset)


def _counted(dataset: Dataset) -> str:
    said = f"{photos(dataset.n_images)} in {len(dataset.classes)} classes"
    if dataset.excluded:
        said += f"; {photos(len(dataset.excluded))} left out"
    return said


def _start(service: Service, dataset: Dataset) -> None:
    with ui.element("div").classes("line"):
        minutes = ui.select(_MINUTES, value=10, label="Search for").props("outlined dense")
        minutes.style("min-width: 9rem")

        async def start() -> None:
            begin.disable()
            with telling_mistakes():
                options = {"budget.minutes": minutes.value}
                job = await asyncio.to_thread(service.jobs.create, "study", dataset.id, options)
                ui.navigate.to(f"/jobs/{job.id}")
            begin.enable()

        begin = button("Start", start, is_main=True)
        link("More choices", f"/datasets/{dataset.id}/new")


class _Looks:
    """Finds the newest look at the photos, and reads what it found once."""

    def __init__(self, service: Service, identifier: str) -> None:
        self._service, self._id = service, identifier
        self._found = _Look(None, None, ())

    def __call__(self) -> _Look:
        looks = [
            each
            for each in self._service.jobs.all()
            if each.dataset == self._id and each.kind == "inspect"
        ]
        if looks:
            job, known = looks[0], self._found
            state = job.state
            if known.job is None or (known.job.id, known.state) != (job.id, state):
                figures = job.summary() if state == State.FINISHED else None
                dataset = self._service.datasets.get(self._id)
                faults = faults_of(dataset, figures) if figures else ()
                self._found = _Look(job, state, tuple(faults))
        return self._found


class _Gallery:
    """All photos, each a button that leaves it out."""

    def __init__(self, service: Service, dataset: Dataset, counted: TextElement) -> None:
        self._service, self._id, self._counted = service, dataset.id, counted
        # A photo may be shown twice.
        self._buttons = defaultdict[int, list[ui.element]](list)
        self._excluded = set(dataset.excluded)
        self._undo = ui.element("div").classes("undo line").props("role=status")
        self._undo.set_visibility(False)

    def draw(self, all_photos: list[Photo]) -> None:
        """Draw the classes."""
        classes = defaultdict[str, list[Photo]](list)
        for each in all_photos:
            classes[each.label].append(each)
        words("h2", "All photos")
        words("p", "Press a photo to leave it out; press it again to take it in.", "soft").style(
            "margin: -0.9rem 0 0"
        )
        for name, some in sorted(classes.items()):
            with card(f"{name} ({len(some):,})"):
                with ui.element("ul").classes("thumbs") as shown:
                    for each in some[:_FIRST]:
                        self._thumb(each)
                if len(some) > _FIRST:
                    with ui.element("div"):
                        more = button(f"Show all {len(some):,}", lambda: None)
                        more.props["aria-label"] = f"Show all {len(some):,} of {name}"
                        more.on_click(partial(self._more, more, shown, some[_FIRST:]))

    def _more(self, more: ui.button, shown: ui.element, rest: list[Photo]) -> None:
        more.delete()
        with shown:
            for each in rest:
                self._thumb(each)

    def show_faults(self, place: ui.element, look: _Look) -> None:
        """Draw what was found, or that it is not known yet."""
        place.clear()
        with place:
            if look.job is None or look.state is None:
                words("p", "Nobody has looked yet.", "soft")
                with ui.element("div"):
                    button("Look for faults", self._begin_look)
            elif look.state in (State.QUEUED, State.RUNNING):
                with ui.element("div").classes("line").props("role=status"):
                    ui.spinner(size="1.2rem")
                    words("span", "Looking for damaged files, copies and wrong classes…")
            elif look.state == State.FAILED:
                words("p", look.job.reason, "bad")
            elif not look.faults:
                words("p", "Nothing was found.")
            for fault in look.faults:
                self._fault(fault)
            if look.job is not None and look.job.report is not None:
                with ui.element("div"):
                    link("All that was found", f"/api/jobs/{look.job.id}/report").props(
                        "target=_blank"
                    )

    def _fault(self, fault: Fault) -> None:
        numbers = [photo.number for photo, _ in fault.photos]
        with ui.element("div").classes("line apart"):
            with ui.element("div"):
                words("div", f"{fault.title} ({len(numbers)})").style("font-weight: 600")
                words("div", fault.advice, "soft")
            if fault.is_certain:
                leave = button("Leave all out", partial(self._set, numbers, True))
                leave.props["aria-label"] = f"Leave all out: {fault.title}"
        with ui.element("ul").classes("thumbs"):
            for photo, note in fault.photos[: 4 * _FIRST]:
                self._thumb(photo, note)

    def _thumb(self, photo: Photo, note: str = "") -> None:
        with ui.element("li"):
            with ui.element("button").classes("thumb").props("type=button") as pressed:
                thumbnail(f"/api/datasets/{self._id}/images/{photo.number}", "", "")
            pressed.props["aria-label"] = f"Leave out {photo.name}"
            pressed.props["title"] = photo.name
            pressed.props["aria-pressed"] = _flag(photo.number in self._excluded)
            pressed.on("click", lambda: self._toggle(photo.number), args=[])
            if note:
                words("div", note, "soft").style("font-size: .8rem; overflow-wrap: anywhere")
        self._buttons[photo.number].append(pressed)

    async def _toggle(self, number: int) -> None:
        await self._set([number], number not in self._excluded)

    async def _set(self, numbers: list[int], is_excluded: bool, can_undo: bool = True) -> None:
        """Leave photos out, or take them in; say so, and offer to undo it."""
        changed = [each for each in numbers if (each in self._excluded) != is_excluded]
        if not changed:
            return
        with telling_mistakes():
            dataset = await asyncio.to_thread(
                self._service.datasets.exclude, self._id, changed, is_excluded
            )
            self._excluded = set(dataset.excluded)
            self._counted.text = _counted(dataset)
            for number in changed:
                for each in self._buttons[number]:
                    if not each.is_deleted:
                        each.props["aria-pressed"] = _flag(is_excluded)
            if can_undo:
                self._offer_undo(changed, is_excluded)

    def _offer_undo(self, changed: list[int], is_excluded: bool) -> None:
        self._undo.clear()
        with self._undo:
            words("span", f"{photos(len(changed))} {'left out' if is_excluded else 'taken in'}.")

            async def undo() -> None:
                self._undo.set_visibility(False)
                await self._set(changed, not is_excluded, can_undo=False)

            button("Undo", undo)
        self._undo.set_visibility(True)

    async def _begin_look(self) -> None:
        with telling_mistakes():
            await asyncio.to_thread(self._service.jobs.create, "inspect", self._id, {})


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _delete(service: Service, dataset: Dataset) -> None:
    with ui.dialog() as dialog, card("Delete these photos?"):
        words("p", "They cannot be brought back; a folder on the server stays.")

        async def delete() -> None:
            with telling_mistakes():
                await asyncio.to_thread(service.jobs.delete_dataset, dataset.id)
                ui.navigate.to("/")

        with ui.element("div").classes("line"):
            button("Delete", delete)
            button("Keep", dialog.close)
    with ui.element("div"):
        button("Delete these photos…", dialog.open)
