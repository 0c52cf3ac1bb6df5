"""The pages of the app: they read folders and call what the API calls.

Nothing is kept in a page. A reload, a second tab or another server shows the same.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from nicegui import ui

from experiments.app.api import Service
from experiments.app.pages import datasets, job, jobs, new_job, result, start, try_it
from experiments.app.pages.layout import COOKIE, LOOKS, TITLE, missing
from experiments.app.store import NotFoundError


def add_pages(app: FastAPI, service: Service) -> None:
    """Add the pages to a server; once in a process."""

    @app.get("/jobs/{identifier}/package", include_in_schema=False)
    async def package(identifier: str) -> Response:
        return await result.package(service, identifier)

    @app.get("/look/{look}", include_in_schema=False)
    async def look(request: Request, look: str) -> RedirectResponse:
        """Remember whether somebody likes it light or dark, and go back."""
        path = urlsplit(request.headers.get("referer", "/")).path
        # With two slashes it would be an address of somebody else.
        back = RedirectResponse("/" + path.lstrip("/\\"), 303)
        if look in LOOKS:
            back.set_cookie(COOKIE, look, max_age=31_536_000, samesite="strict", httponly=True)
        return back

    add_routes(service)
    ui.run_with(
        app, title=TITLE, favicon="🌷", dark=None, language="en-US", tailwind=False,
        show_welcome_message=False, binding_refresh_interval=None,
    )  # fmt: skip


def add_routes(service: Service) -> None:
    """Name the pages."""

    async def draw(page: Callable[[Service, str], Awaitable[None]], identifier: str) -> None:
        try:
            await page(service, identifier)
        except NotFoundError as error:
            missing(error)

    @ui.page("/")
    async def _() -> None:
        await start.page(service)

    @ui.page("/datasets/{identifier}")
    async def _(identifier: str) -> None:
        await draw(datasets.page, identifier)

    @ui.page("/datasets/{identifier}/new")
    async def _(identifier: str) -> None:
        await draw(new_job.page, identifier)

    @ui.page("/jobs")
    async def _() -> None:
        await jobs.page(service)

    @ui.page("/jobs/{identifier}")
    async def _(identifier: str) -> None:
        await draw(job.page, identifier)

    @ui.page("/jobs/{identifier}/result")
    async def _(identifier: str) -> None:
        await draw(result.page, identifier)

    @ui.page("/jobs/{identifier}/try")
    async def _(identifier: str) -> None:
        await draw(try_it.page, identifier)
