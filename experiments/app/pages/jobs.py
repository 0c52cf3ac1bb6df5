"""All jobs, side by side."""

from dataclasses import dataclass

from nicegui import ui

from experiments.app.api import Service
from experiments.app.job import Job, State
from experiments.app.pages.layout import frame, link, watch, words
from experiments.app.pages.progress import Follower
from experiments.app.pages.wording import (
    KINDS,
    ago,
    between,
    duration,
    milliseconds,
    percent,
    size,
    state_of,
)
from experiments.statistics import Accuracy

_HEADER = ("job", "state", "right", "size", "ms an image", "took", "begun")


@dataclass(frozen=True)
class _Row:
    """What is shown of a job."""

    job: Job
    state: str
    cells: tuple[str, ...]


async def page(service: Service) -> None:
    """Draw it."""
    followers = dict[str, Follower]()

    def read() -> list[_Row]:
        return [_row(each, followers) for each in service.jobs.all()]

    with frame("Jobs", "/jobs"):
        words("h1", "Jobs")
        place = (
            ui.element("div").classes("card wide").props("tabindex=0 role=region aria-label=Jobs")
        )
        watch(2.0, read, lambda rows: _show(place, rows))


def _row(job: Job, followers: dict[str, Follower]) -> _Row:
    state = job.state
    best = ("", "", "")
    if job.kind == "study":
        best = _best(job, followers, state)
    took = ""
    if job.started:
        took = duration((job.ended or job.started) - job.started) if job.ended else "…"
    return _Row(job, state_of(state, job.asked), (*best, took, ago(job.created)))


def _best(job: Job, followers: dict[str, Follower], state: State) -> tuple[str, str, str]:
    summary = job.summary() if state == State.FINISHED else None
    if summary is not None:
        figures = summary["refit"] or summary["as_tried"]
        winner = next(t for t in summary["trials"] if t["number"] == summary["winner"])
        accuracy = Accuracy(figures["correct"], figures["total"])
        n_bytes, per_image = summary["engine_bytes"], winner["metrics"]["milliseconds"]
    else:
        trial = followers.setdefault(job.id, Follower(job)).follow(job).best
        if trial is None:
            return "", "", ""
        accuracy, n_bytes, per_image = trial.accuracy, trial.bytes, trial.milliseconds
    right = f"{percent(accuracy.value)} ({between(accuracy)})"
    return right, size(n_bytes), milliseconds(per_image)


def _show(place: ui.element, rows: list[_Row]) -> None:
    place.clear()
    with place:
        if not rows:
            words("p", "There are none yet.", "soft")
            with ui.element("div"):
                link("Choose photos, and press start", "/")
            return
        with ui.element("table").classes("plain"):
            with ui.element("thead"), ui.element("tr"):
                for name in _HEADER:
                    words("th", name).props("scope=col")
            with ui.element("tbody"):
                for row in rows:
                    with ui.element("tr"):
                        with ui.element("td"):
                            link(KINDS[row.job.kind], f"/jobs/{row.job.id}")
                            words("div", row.job.dataset_name, "soft")
                        words("td", row.state)
                        for cell in row.cells:
                            words("td", cell)
