"""The whole way in a real browser: photos in, classifier out."""

import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.experiments.app.pages.conftest import archive, picture
from tests.experiments.app.serving import served

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

CHROMIUM = shutil.which("chromium")
ROOT = Path(__file__).parents[4]
# Chromium has no sandbox for root, and asks its maker's servers at each start.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@contextmanager
def browsing(address):
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.set_default_timeout(90_000)
        page.mistakes = []
        page.on("pageerror", lambda error: page.mistakes.append(str(error)))
        page.goto(address)
        yield page
        browser.close()


def require_accessible(page):
    """Find nothing serious, and nothing that is wider than a phone."""
    # Quasar's bar above the page, for a moment, has no name that one could give it.
    context = {"exclude": [[".q-loading-bar"]]}
    found = axe.Axe().run(page, context=context).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert not [(each["id"], each["nodes"][0]["html"]) for each in serious]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_from_photos_to_a_classifier(tmp_path):
    with served(tmp_path / "app") as address, browsing(address) as page:
        require_accessible(page)
        send = page.locator("input[type=file]")
        send.set_input_files(
            files=[{"name": "no.zip", "mimeType": "application/zip", "buffer": b"no"}]
        )
        page.get_by_text("no is damaged").wait_for()
        damaged = {"pets/cat/broken.png": picture(60)[:300]}
        content = archive(20, damaged)
        send.set_input_files(
            files=[{"name": "pets.zip", "mimeType": "application/zip", "buffer": content}]
        )
        page.wait_for_url("**/datasets/*")
        page.get_by_text("Cannot be read (1)").wait_for()
        require_accessible(page)
        page.get_by_role("button", name="Leave all out: Cannot be read").click()
        page.get_by_text("1 photo left out").first.wait_for()

        page.get_by_role("link", name="More choices").click()
        page.get_by_role("combobox", name="Space").click()
        page.get_by_role("option", name="untrained").click()
        page.keyboard.press("Escape")
        page.get_by_role("listbox").wait_for(state="hidden")
        require_accessible(page)
        page.get_by_role("button", name="Start").click()
        page.wait_for_url("**/jobs/*")
        page.get_by_text("min left").wait_for()
        page.get_by_text("Right, so far").wait_for()
        page.reload()
        page.get_by_text("Right, so far").wait_for()
        require_accessible(page)

        job = page.url
        page.get_by_role("link", name="Try it").click()  # while the study goes on
        _try(page, tmp_path)
        require_accessible(page)
        _teach(page, tmp_path)
        page.goto(job)
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="See the result").click()
        page.frame_locator("iframe").get_by_text("The winner").first.wait_for()
        with page.expect_download() as download:
            page.get_by_role("link", name="Everything as a zip").click()
        download.value.save_as(tmp_path / "classifier.zip")
        assert page.mistakes == []
    _predict_alone(tmp_path)


def _try(page, folder):
    (folder / "bright.png").write_bytes(picture(180, 77))
    page.locator("input[type=file]").first.set_input_files(folder / "bright.png")
    page.get_by_text("of the votes").first.wait_for()
    # Those that voted are photos that were sent.
    page.locator(".voters img[src*='/images/']").first.wait_for()
    assert page.locator(".figure", has_text="dög & <b>").is_visible()


def _teach(page, folder):
    """Teach it a class between the two that it knows."""
    photos = []
    for number in range(5):
        photos.append(folder / f"gray-{number}.png")
        photos[-1].write_bytes(picture(120, 100 + number))
    page.get_by_text("Teach it a new class").click()
    page.get_by_label("Name of the class").fill("gray")
    page.locator("input[type=file]").last.set_input_files(photos)
    page.get_by_text("It knows gray now").wait_for()
    page.locator("input[type=file]").first.set_input_files(photos[0])
    page.locator(".figure", has_text="gray").wait_for()
    require_accessible(page)


def _predict_alone(folder):
    """Let the program in the package say what a photo shows."""
    with zipfile.ZipFile(folder / "classifier.zip") as package:
        package.extractall(folder / "package")
    run = subprocess.run(
        [sys.executable, "predict.py", str(folder / "bright.png")], cwd=folder / "package",
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "dög & <b>" in run.stdout
