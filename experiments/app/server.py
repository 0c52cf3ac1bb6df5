"""The server: what the app has, put together from its options."""

import asyncio
import logging
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from experiments.app.access import LOCAL, Access, token_of
from experiments.app.api import Service, answer_faults, router_of
from experiments.app.datasets import Datasets
from experiments.app.job import Job
from experiments.app.jobs import Jobs
from experiments.app.mail import Mailer
from experiments.app.pages import add_pages
from experiments.app.predictions import Predictions
from experiments.app.queue import Queue
from experiments.app.storage import Storage
from experiments.schema.app import App
from slicing.checks import at_least, positive
from slicing.threads import usable_processors

log = logging.getLogger(__name__)

# Seconds between two looks at the queue.
_TICK = 0.5


def service_of(options: App) -> Service:
    """Open what the options name.

    Raises
    ------
    InputError
    """
    at_least("jobs", options.jobs, 1)
    for name in ("hours", "upload_gigabytes", "gigabytes"):
        positive(name, getattr(options, name))
    folder = Path(options.folder).expanduser().absolute()
    roots = [Path(root) for root in options.roots]
    datasets = Datasets(folder / "datasets", roots, options.upload_gigabytes)
    threads = max(1, usable_processors() // options.jobs)
    jobs = Jobs(folder / "jobs", datasets, tuple(options.study), threads)
    return Service(datasets, jobs, Storage(folder, options.gigabytes), Predictions())


def app_of(options: App, service: Service) -> FastAPI:
    """Make the ASGI application: the API, and who may use it.

    Raises
    ------
    InputError
    """
    token = token_of(options.host)
    mailer = Mailer.of()
    queue = Queue(
        service.jobs, service.storage, options.jobs, options.hours,
        lambda job: _tell(mailer, job),
    )  # fmt: skip

    @asynccontextmanager
    async def working(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(_work(queue))
        yield
        task.cancel()

    app = FastAPI(
        title="knn-slicing", summary="Photos in, classifier out.", version=version("knn-slicing"),
        # A page of it would load scripts of others.
        lifespan=working, docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.include_router(router_of(service))
    answer_faults(app)
    add_pages(app, service)
    app.add_middleware(Access, token=token)
    hosts = options.hosts or (["*"] if token else [*LOCAL, options.host])
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    return app


async def _work(queue: Queue) -> None:
    while True:
        try:
            await asyncio.to_thread(queue.tick)
        except Exception:  # the next time may succeed: a disk was full
            log.exception("The queue could not go on")
        await asyncio.sleep(_TICK)


def _tell(mailer: Mailer | None, job: Job) -> None:
    if mailer is None or not job.notify:
        return
    try:
        mailer.send(job)
    except (OSError, smtplib.SMTPException) as error:
        log.warning("The mail about job %s was not sent: %s", job.id, error)
