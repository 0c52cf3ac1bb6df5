"""The page of a job at work: what it has found so far, and how to end it."""

import asyncio
import shlex
from collections.abc import Awaitable, Callable
from functools import partial

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from experiments.app import store
from experiments.app.api import Service
from experiments.app.job import Job, State
from experiments.app.pages import charts
from experiments.app.pages.layout import (
    button,
    card,
    figure,
    frame,
    link,
    telling_mistakes,
    watch,
    words,
)
from experiments.app.pages.progress import Follower, Progress
from experiments.app.pages.wording import (
    KINDS,
    between,
    duration,
    milliseconds,
    percent,
    size,
    state_of,
)

# Bytes of the log that are shown.
_TAIL = 6000
_MORE = {5: "5 more minutes", 10: "10 more minutes", 60: "1 more hour"}
_SOON = "The first classifier comes in a moment."
_ENDED = (State.FINISHED, State.CANCELLED, State.FAILED)


async def page(service: Service, identifier: str) -> None:
    """Draw it."""
    job = await asyncio.to_thread(service.jobs.get, identifier)
    with frame(f"{KINDS[job.kind]}: {job.dataset_name}", "/jobs"):
        with ui.element("div"):
            words("h1", KINDS[job.kind])
            with words("p", "among ", "soft").style("margin: 0"):
                link(job.dataset_name, f"/datasets/{job.dataset}")
        live = _Live(service, job)
        follower = Follower(job)
        watch(1.0, lambda: follower.follow(service.jobs.get(identifier)), live.show)
        with ui.expansion("Log and command line").classes("card").props("dense"):
            log = words("pre", "", "log").props("tabindex=0 aria-label=Log")
            words("pre", f"python {shlex.join(job.argv[1:])}", "log soft")
            if run := await asyncio.to_thread(_mlflow_run, job):
                words("p", f"In MLflow it is the run {run}: make ui shows it.", "soft")
        watch(2.0, lambda: service.jobs.get(identifier).log(_TAIL), partial(_show_log, log))


def _show_log(log: TextElement, said: str) -> None:
    log.text = said or "It has said nothing yet."


def _mlflow_run(job: Job) -> str:
    origin = job.run / "study.json"
    return str(store.read(origin).get("mlflow_run", "")) if origin.is_file() else ""


class _Live:
    """The parts of the page that change."""

    def __init__(self, service: Service, job: Job) -> None:
        self._service, self._job = service, job
        self._shown, self._buttons_for = (-1, -1, False), ("", "", False, False)
        with card():
            with ui.element("div").classes("line apart"):
                with ui.element("div").props("role=status"):
                    self._state = words("div", "…").style("font-weight: 650")
                    self._now = words("div", " ", "soft")
                self._left = words("div", " ", "figure")
            self._reason = words("p", "", "bad")
            self._reason.set_visibility(False)
            self._buttons = ui.element("div").classes("line").style("min-height: 2.5rem")
        if job.kind != "study":
            return
        with card():
            self._figures = ui.element("div").classes("figures").style("min-height: 5.2rem")
        with card("Best so far, with the interval of 95 %"):
            self._best = ui.echart(charts.best_over_time(Progress(State.QUEUED, "")))
            self._best.classes("chart").props('role=img aria-label="Best accuracy over time"')
        with card("All trials: each is a line"):
            self._parallel = ui.echart(charts.parallel([])).classes("chart")
            self._parallel.props('role=img aria-label="Trials by their figures"')
        with card("How the best network learned") as self._learning:
            self._training = ui.echart({}).classes("chart")
            self._training.props('role=img aria-label="Loss and accuracy by epochs"')
        self._learning.set_visibility(False)

    def show(self, progress: Progress) -> None:
        """Show what has changed."""
        self._state.text = state_of(progress.state, progress.asked).capitalize()
        self._now.text = progress.now or progress.message or " "
        left = progress.left
        self._left.text = (
            " " if left is None else f"{duration(left)} left" if left else "finishing…"
        )
        self._reason.set_visibility(bool(progress.reason))
        self._reason.text = progress.reason
        looks = (progress.state, progress.asked, progress.has_engine, progress.has_report)
        if looks != self._buttons_for:
            self._buttons_for = looks
            self._show_buttons(progress)
        if self._job.kind == "study" and _shown(progress) != self._shown:
            self._shown = _shown(progress)
            self._show_study(progress)

    def _show_study(self, progress: Progress) -> None:
        best = progress.best
        self._figures.clear()
        with self._figures:
            if best is None:
                ended = progress.state in _ENDED
                said = "No classifier was found." if ended else _SOON
                words("p", said, "soft")
                return
            figure("Right, so far", percent(best.accuracy.value), between(best.accuracy))
            figure("Size", size(best.bytes))
            figure("An image takes", milliseconds(best.milliseconds))
            failed = f"{progress.n_failed} failed" if progress.n_failed else ""
            figure("Tried", f"{len(progress.trials):,}", failed)
        _draw(self._best, charts.best_over_time(progress))
        _draw(self._parallel, charts.parallel(progress.trials))
        if best.training:
            self._learning.set_visibility(True)
            _draw(self._training, charts.training(best))

    def _show_buttons(self, progress: Progress) -> None:
        jobs, identifier = self._service.jobs, self._job.id
        self._buttons.clear()
        with self._buttons:
            if progress.state in (State.QUEUED, State.RUNNING) and not progress.asked:
                if progress.state == State.RUNNING and self._job.kind == "study":
                    stop = button("Stop: take the best so far", self._doing(jobs.stop), True)
                    stop.set_enabled(progress.has_engine)
                button("Cancel", self._doing(jobs.cancel))
            elif progress.state == State.FINISHED and self._job.kind == "study":
                button("See the result", lambda: ui.navigate.to(f"/jobs/{identifier}/result"), True)
            elif progress.has_report and progress.state in _ENDED:
                link("See the report", f"/api/jobs/{identifier}/report").props("target=_blank")
            if progress.has_engine:
                link("Try it", f"/jobs/{identifier}/try")
                if self._job.kind == "adaptive" and progress.state in _ENDED:
                    link("Take the file", f"/api/jobs/{identifier}/engine")
            if progress.state in _ENDED:
                self._go_on()
                button("Delete", self._delete)

    def _go_on(self) -> None:
        if self._job.kind != "study":
            button("Again", self._doing(lambda each: self._service.jobs.go_on(each, {})))
            return
        minutes = ui.select(_MORE, value=10, label="Continue for").props("outlined dense")
        minutes.style("min-width: 10rem")

        def go_on(identifier: str) -> None:
            job = self._service.jobs.get(identifier)
            begun = (job.run / "study.json").exists()
            self._service.jobs.go_on(identifier, {"budget.minutes": minutes.value} if begun else {})

        button("Continue", self._doing(go_on))

    def _doing(self, act: Callable[[str], object]) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            with telling_mistakes():
                await asyncio.to_thread(act, self._job.id)

        return do

    async def _delete(self) -> None:
        with telling_mistakes():
            await asyncio.to_thread(self._service.jobs.delete, self._job.id)
            ui.navigate.to("/jobs")


def _shown(progress: Progress) -> tuple[int, int, bool]:
    """Say what the figures depend on."""
    return len(progress.trials), progress.n_failed, progress.state in _ENDED


def _draw(chart: ui.echart, options: dict[str, object]) -> None:
    chart.options.clear()
    chart.options.update(options)
    chart.update()
