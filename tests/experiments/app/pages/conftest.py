"""A service with photos, and pages that are opened without a browser."""

import asyncio
import io
import sys
import zipfile
from contextlib import asynccontextmanager

import numpy as np
import pytest
from nicegui.testing.user_simulation import user_simulation
from PIL import Image

from experiments.app.pages import add_routes
from experiments.app.server import service_of
from experiments.schema.app import App

CLASSES = {"cat": 60, "dög & <b>": 180}


def picture(brightness, seed=0, size=(20, 24)):
    draw = np.random.default_rng(seed)
    content = io.BytesIO()
    pixels = draw.normal(brightness, 30, (*size, 3)).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def archive(n=4, more=None):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for label, brightness in CLASSES.items():
            for number in range(n):
                file.writestr(f"pets/{label}/{number}.png", picture(brightness, number))
        for name, data in (more or {}).items():
            file.writestr(name, data)
    return content.getvalue()


@pytest.fixture
def service(tmp_path):
    return service_of(App(folder=str(tmp_path / "app")))


@pytest.fixture
def dataset(service):
    with service.datasets.receive("my pets.zip") as upload:
        upload.write(archive())
        return upload.finish()


@pytest.fixture
def opened(service):
    """Run a test that is a coroutine of a user who looks at the pages."""

    @asynccontextmanager
    async def opening():
        # NiceGUI forgets the modules of pages, and all above them: later tests would have others.
        ours = {name: each for name, each in sys.modules.items() if name.startswith("experiments")}
        async with user_simulation() as user:
            add_routes(service)
            yield user
        sys.modules.update(ours)

    def run(test):
        async def running():
            async with opening() as user:
                await test(user)

        asyncio.run(running())

    return run
