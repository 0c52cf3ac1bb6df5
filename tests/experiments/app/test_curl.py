"""The page for programs, line by line, against a real server."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slicing.engine.engine import Engine
from tests.experiments.app.conftest import archive, picture
from tests.experiments.app.serving import served

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/guide/app-api.md").read_text("utf-8")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_every_line_of_the_page_does_what_it_says(tmp_path):
    (tmp_path / "photos.zip").write_bytes(archive(n=30))
    for name, brightness in (("one", 60), ("two", 180)):
        (tmp_path / f"{name}.png").write_bytes(picture(brightness, 99))
    [script] = re.findall(r"```bash\n(.+?)```", PAGE, re.DOTALL)
    with served(tmp_path / "app") as address:
        script = script.replace("http://127.0.0.1:8080", address)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200,
            env=os.environ | {"PATH": path},
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    read = json.JSONDecoder().raw_decode
    dataset, end = read(done.stdout)
    assert dataset["images"] == 60
    stream, _, rest = done.stdout[end:].rpartition("\n\n")
    assert {"message", "trial", "end", "state"} <= set(re.findall(r"^event: (\w+)", stream, re.M))
    job, end = read(rest)
    assert job["state"] == "finished"
    assert [each["label"] for each in json.loads(rest[end:])] == ["cat", "dög & <b>"]
    assert "<html" in (tmp_path / "report.html").read_text("utf-8")
    assert Engine.load(tmp_path / "engine.safetensors").classes == ("cat", "dög & <b>")
