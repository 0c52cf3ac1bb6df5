"""Take the pictures of the MLflow UI and of the app that the README and these pages show.

``python docs/screenshots.py`` runs a small sweep in a folder of its own, opens the UI on it as
``make ui`` does, and takes ``docs/images/*.png``; ``python docs/screenshots.py photos.zip`` takes
those of the app instead, with these photos. It needs the extra ``screenshots`` and a Chromium, that
of ``$CHROMIUM`` or on the path.
"""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

from mlflow import MlflowClient
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"

SWEEP = (
    "--multirun", "optimizer=cmaes,pso,random", "seed=0,1", "data.train_size=1000",
    "baseline.filters=[8,16]", "strategy.generations=8",
)  # fmt: skip
COLUMNS = (
    "params.`optimizer`", "params.`seed`", "metrics.`baseline/test_accuracy`",
    "metrics.`sliced/test_accuracy`", "metrics.`evolved/test_accuracy`", "metrics.`evolved/loss`",
)  # fmt: skip
# The UI begins with what belongs to language models, and with an assistant's panel.
PREFERENCES = {
    "mlflow.workflowType_v1": '"machine_learning"',
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}
# Seconds until a server answers, and until a page has drawn itself.
_START, _SETTLE = 120, 10
# Seconds until a study has something, and in which it then goes on.
_STUDY, _TRIALS = 300, 60


def main() -> None:
    """Take the pictures of the UI, or of the app with the photos that are named."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        sys.exit("There is no Chromium: install one, or name it in $CHROMIUM.")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        # Chromium has no sandbox for root, and the pages are our own.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        if sys.argv[1:]:
            _show_app(browser, Path(folder), Path(sys.argv[1]))
        else:
            _show_runs(browser, Path(folder))
        browser.close()


def _show_runs(browser: Browser, folder: Path) -> None:
    """Run the sweep, and take the pictures of the UI."""
    # A cache of its own: else the summaries would say that the baselines come from there.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder)}
    command = [sys.executable, "-m", "experiments.run", *SWEEP]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    store = f"sqlite:///{folder}/mlflow.db"
    with _serving(folder, "mlflow", "ui", "--backend-store-uri", store, "--port", "{}") as address:
        page = browser.new_page(viewport={"width": 1400, "height": 620})
        _take(page, address, MlflowClient(store))


def _show_app(browser: Browser, folder: Path, photos: Path) -> None:
    """Go the way from photos to a classifier, and take the pictures of it."""
    photos = photos.resolve()
    with _serving(folder, "experiments.app", "port={}", f"folder={folder}/app") as address:
        page = browser.new_page(viewport={"width": 1000, "height": 680})
        page.set_default_timeout(_STUDY * 1000)
        page.goto(address)
        page.locator("input[type=file]").set_input_files(photos)
        page.get_by_text("Looking for damaged").wait_for()
        page.get_by_text("Looking for damaged").wait_for(state="hidden")
        _keep(page, "app-photos")
        page.get_by_role("button", name="Start").click()
        # A few trials, so that the figures have lines.
        page.get_by_text("Right, so far").wait_for()
        time.sleep(_TRIALS)
        page.set_viewport_size({"width": 1000, "height": 1060})
        _keep(page, "app-job")
        page.set_viewport_size({"width": 1000, "height": 680})
        job = page.url
        page.get_by_role("link", name="Try it").click()
        with zipfile.ZipFile(photos) as archive:
            names = [name for name in archive.namelist() if name.endswith((".jpg", ".png"))]
            for name in names[:: max(1, len(names) // 3)][:3]:
                (folder / Path(name).name).write_bytes(archive.read(name))
        some = [path for path in folder.iterdir() if path.suffix in (".jpg", ".png")]
        page.locator("input[type=file]").first.set_input_files(some)
        page.locator(".voters img[src*='/images/']").first.wait_for()
        _keep(page, "app-try")
        page.goto(job)
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="See the result").click()
        page.frame_locator("iframe").get_by_text("The winner").first.wait_for()
        _keep(page, "app-result")
        page.goto(address)
        _keep(page, "app-start")


def _keep(page: Page, name: str) -> None:
    """Take a picture, with few colors: photos would make it large."""
    time.sleep(2)
    content = io.BytesIO(page.screenshot())
    Image.open(content).convert("RGB").quantize(128).save(IMAGES / f"{name}.png", optimize=True)


@contextmanager
def _serving(folder: Path, *words: str) -> Iterator[str]:
    """Serve what a module serves, and give the address; ``{}`` in its words is the port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", *(word.replace("{}", str(port)) for word in words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address)
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)  # with its workers
        server.wait()


def _wait_for(address: str) -> None:
    """Wait until a server answers."""
    for _ in range(_START):
        with suppress(OSError):
            urlopen(address).close()
            return
        time.sleep(1)
    sys.exit(f"The server has not answered within {_START} seconds.")


def _take(page: Page, address: str, client: MlflowClient) -> None:
    """Take all pictures."""
    experiment = client.get_experiment_by_name("knn-slicing").experiment_id
    runs = client.search_runs([experiment], order_by=["metrics.`evolved/loss` ASC"])
    [parent] = [run.info.run_id for run in runs if "parent_of" in run.data.tags]
    best = next(run.info.run_id for run in runs if "evolved/loss" in run.data.metrics)
    state = {
        "orderByKey": "attributes.start_time", "orderByAsc": False, "startTime": "ALL",
        "lifecycleFilter": "Active", "selectedColumns": COLUMNS, "runsExpanded": {parent: True},
    }  # fmt: skip
    key = f'MLflowLocalStorage-1.1-ExperimentPage-["{experiment}"]-ReactComponentState'
    for name, value in (PREFERENCES | {key: json.dumps(state)}).items():
        page.add_init_script(f"localStorage.setItem({json.dumps(name)}, {json.dumps(value)})")
    place = f"{address}/#/experiments/{experiment}/runs"
    for name, where, shown, height in (
        ("runs", place, "random-serial-lenet64-mnist5k-s1", 560),
        ("sweep", f"{place}/{parent}", "Show more", 620),
        ("run", f"{place}/{best}", "Show more", 900),
        ("metrics", f"{place}/{best}/model-metrics", "sigma", 900),
        ("report", f"{place}/{best}/artifacts/report.html", "Networks", 900),
    ):
        page.set_viewport_size({"width": 1400, "height": height})
        page.goto(where)
        page.reload()  # another place behind the # is not another page
        if name == "metrics":
            page.get_by_placeholder("Search metric charts").fill("evolve/")
        # The page asks the server again and again, and never says that it is done.
        frame = page.frame_locator("iframe") if name == "report" else page
        found = frame.get_by_text(shown).first
        found.wait_for(timeout=_START * 1000)
        if shown == "Show more":
            found.click()
        time.sleep(_SETTLE)
        if name == "report":  # a path of this machine
            page.get_by_text("Path: file:").evaluate("line => line.style.visibility = 'hidden'")
        page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
