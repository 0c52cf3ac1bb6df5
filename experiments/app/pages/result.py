"""The page of a result: how good it is, the report, and the files to take."""

import asyncio
import io
import zipfile
from importlib.util import find_spec
from typing import Any

from nicegui import ui
from starlette.responses import Response

from experiments.app.api import Service
from experiments.app.job import Job
from experiments.app.pages.layout import (
    button,
    card,
    figure,
    frame,
    link,
    words,
)
from experiments.app.pages.wording import between, duration, milliseconds, percent, size
from experiments.app.store import NotFoundError
from experiments.statistics import Accuracy

_PREDICT = '''\
"""Say what photos show: python predict.py photo.jpg ... (it needs the package knn-slicing)."""

import sys
from pathlib import Path

from experiments.predict import predict
from slicing.adaptive import load

engine = load("engine.safetensors")
for found in predict(engine, [*map(Path, sys.argv[1:])]):
    sure = "" if found.confidence is None else f" ({100 * found.confidence:.0f} % sure)"
    print(f"{found.path}: {found.name}{sure}")
'''
_README = """\
A classifier of photos: {classes}.

engine.safetensors  the classifier: one file, nothing in it is executed
predict.py          says what photos show: python predict.py photo.jpg
report.html         how good it is, and at what it fails

It needs Python 3.11 or later and the package knn-slicing; no TensorFlow, no network.
{accuracy}
"""
# What they are called, and the package that makes them.
_EXPORTS = {"onnx": ("ONNX", "onnx"), "litert": ("LiteRT (phones)", "tensorflow")}


async def page(service: Service, identifier: str) -> None:
    """Draw it."""
    job = await asyncio.to_thread(service.jobs.get, identifier)
    summary = await asyncio.to_thread(job.summary)
    with frame(f"Result: {job.dataset_name}", "/jobs"):
        with ui.element("div").classes("line apart"):
            with ui.element("div"):
                words("h1", "The classifier")
                with words("p", "of ", "soft").style("margin: 0"):
                    link(job.dataset_name, f"/datasets/{job.dataset}")
            if job.engine is not None:
                button("Try it", lambda: ui.navigate.to(f"/jobs/{identifier}/try"), is_main=True)
        if summary is None or "winner" not in summary or job.engine is None:
            words("p", "There is no result yet.")
            with ui.element("div"):
                link("To the job", f"/jobs/{identifier}")
            return
        _figures(summary)
        _downloads(identifier)
        with card("Report: mistakes, confusions, and all that was tried"):
            frame_of = ui.element("iframe").classes("report").props('sandbox="" loading=lazy')
            frame_of.props["src"] = f"/api/jobs/{identifier}/report"
            frame_of.props["title"] = "Report"
            with ui.element("div").classes("line"):
                link("Open it on a page of its own", f"/api/jobs/{identifier}/report").props(
                    "target=_blank"
                )
                link("How it was found", f"/jobs/{identifier}")


def _tested(summary: dict[str, Any]) -> Accuracy:
    figures = summary["refit"] or summary["as_tried"]
    return Accuracy(figures["correct"], figures["total"])


def _figures(summary: dict[str, Any]) -> None:
    tested = _tested(summary)
    winner = _winner(summary)
    with card():
        words("p", _in_words(summary, tested)).style("margin: 0")
        with ui.element("div").classes("figures"):
            figure("Right", percent(tested.value), between(tested))
            figure("Size", size(summary["engine_bytes"]))
            figure("An image takes", milliseconds(winner["metrics"]["milliseconds"]))
            figure("Tried", f"{len(summary['trials']):,}", f"in {duration(summary['seconds'])}")


def _in_words(summary: dict[str, Any], tested: Accuracy) -> str:
    names = summary["classes"]
    some = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    family = _winner(summary)["family"]
    return (
        f"It tells {len(names)} classes apart: {some}. Of {tested.total:,} photos that it had "
        f"never seen, {tested.correct:,} were right. It is of the family {family}."
    )


def _winner(summary: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in summary["trials"] if each["number"] == summary["winner"])


def _downloads(identifier: str) -> None:
    with card("Take it with you"):
        with ui.element("div").classes("line"):
            take = f"/jobs/{identifier}/package"
            link("Everything as a zip", take).props("download")
            link("Classifier", f"/api/jobs/{identifier}/engine").props("download")
            link("Report", f"/api/jobs/{identifier}/report").props("download=report.html")
            for form, (name, needed) in _EXPORTS.items():
                if find_spec(needed) is None:
                    continue
                link(name, f"/api/jobs/{identifier}/export/{form}").props("download")
        words("p", "The zip has a program of ten lines that says what photos show.", "soft").style(
            "margin: 0"
        )


async def package(service: Service, identifier: str) -> Response:
    """Give all of a result as one file."""
    content, name = await asyncio.to_thread(_packed, service.jobs.get(identifier))
    headers = {"Content-Disposition": f'attachment; filename="classifier-{name}.zip"'}
    return Response(content, media_type="application/zip", headers=headers)


def _packed(job: Job) -> tuple[bytes, str]:
    engine, summary = job.engine, job.summary()
    if engine is None or summary is None or "winner" not in summary:
        raise NotFoundError("There is no result yet: wait for it.")
    tested = _tested(summary)
    said = _README.format(
        classes=", ".join(summary["classes"]),
        accuracy=f"Right: {percent(tested.value)} of {tested.total:,} photos that it had never "
        f"seen, {between(tested)} with 95 % confidence.",
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(engine, "engine.safetensors")
        archive.writestr("predict.py", _PREDICT)
        archive.writestr("README.txt", said)
        if job.report is not None:
            archive.write(job.report, "report.html")
    return content.getvalue(), job.id
