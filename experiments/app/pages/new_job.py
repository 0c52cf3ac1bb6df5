"""The page on which somebody says what a job is to do."""

import asyncio
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.validation_element import ValidationElement

from experiments.app.api import Service
from experiments.app.mail import require_address
from experiments.app.pages.form import SIMPLE, Field, fields_of, options_of
from experiments.app.pages.layout import (
    button,
    card,
    frame,
    link,
    words,
)
from experiments.console import no_access
from slicing.errors import InputError

_KINDS = {
    "study": "A classifier: search for the best one",
    "adaptive": "A fast system: several classifiers, each photo gets what it needs",
}


async def page(service: Service, identifier: str) -> None:
    """Draw it."""
    dataset = await asyncio.to_thread(service.datasets.get, identifier)
    with frame(f"New job: {dataset.name}", "/"):
        with ui.element("div"):
            words("h1", "What shall be found?")
            with words("p", "among ", "soft").style("margin: 0"):
                link(dataset.name, f"/datasets/{identifier}")
        kind = ui.select(
            _KINDS, value="study", label="Kind", on_change=lambda event: draw(event.value)
        )
        kind.props("outlined")
        form = ui.element("div").classes("card").style("border: 0; padding: 0; background: none")

        def draw(chosen: str) -> None:
            form.clear()
            with form:
                _Form(service, identifier, chosen)

        draw("study")


class _Form:
    """The fields of a kind of job, and the button that begins it."""

    def __init__(self, service: Service, dataset: str, kind: str) -> None:
        self._service, self._dataset, self._kind = service, dataset, kind
        self._fields = fields_of(kind)
        self._inputs = dict[str, ValidationElement[Any]]()
        simple = SIMPLE[kind]
        with card(), ui.element("div").classes("form"):
            for each in self._fields:
                if each.name in simple:
                    self._draw(each)
            self._notify = ui.input("Mail to, when it ends").props("outlined stack-label")
            self._notify.props["hint"] = "An address, or nothing."
        with ui.expansion("More").classes("card").props("dense"), ui.element("div").classes("form"):
            for each in self._fields:
                if each.name not in simple:
                    self._draw(each)
        self._said = words("p", "", "bad").props("role=alert")
        with ui.element("div"):
            self._begin = button("Start", self._start, is_main=True)
        if "budget.minutes" in self._inputs:
            self._inputs["budget.minutes"].value = "10"

    def _draw(self, each: Field) -> None:
        element: ValidationElement[Any]
        if each.choices:
            several: list[str] | None = [] if each.is_list else None
            element = ui.select(
                list(each.choices),
                label=each.label,
                multiple=each.is_list,
                value=several,
                clearable=True,
            ).props("outlined stack-label use-chips" if each.is_list else "outlined stack-label")
        else:
            element = ui.input(each.label).props("outlined stack-label")
            if not each.is_list:
                element.props["inputmode"] = "decimal" if each.kind is float else "numeric"
        element.props["hint"] = each.doc
        self._inputs[each.name] = element

    async def _start(self) -> None:
        for element in (*self._inputs.values(), self._notify):
            element.error = None
        self._said.text = ""
        self._begin.disable()
        try:
            entered = {name: element.value for name, element in self._inputs.items()}
            options = options_of(entered, self._fields)
            address = self._notify.value or ""
            if address:
                require_address(address)
            self._service.storage.require_room()
            job = await asyncio.to_thread(
                self._service.jobs.create, self._kind, self._dataset, options, "", address
            )
            ui.navigate.to(f"/jobs/{job.id}")
        except InputError as error:
            self._show(error)
        except OSError as error:
            self._said.text = no_access(error)
        finally:
            self._begin.enable()

    def _show(self, error: InputError) -> None:
        """Show a mistake beside its field, or above the button."""
        element = self._inputs.get(error.option or "")
        if error.option == "notify":
            element = self._notify
        if element is None:
            self._said.text = str(error)
            return
        element.error = str(error)
        element.run_method("focus")
