"""Bad archives, and servers and jobs that are killed: what the app makes of them."""

import io
import json
import os
import random
import signal
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.app_server import Server
from benchmarks.fault_runs import damage
from slicing.errors import InputError

# A study of a second or two.
_SHORT = {"space": ["untrained"], "budget.trials": 2, "folds": 1, "threads": 1}


@dataclass(frozen=True)
class Archives:
    """What became of bad archives.

    Attributes
    ----------
    sent, taken, refused : int
        All, those of which the app makes a data set, and those that it refuses with one sentence.
    faults : dict of str to int
        All else, by what it was.
    """

    sent: int
    taken: int
    refused: int
    faults: dict[str, int]


@dataclass(frozen=True)
class Kills:
    """What became of jobs whose server was killed, and of one that was killed itself.

    Attributes
    ----------
    kills : int
        Of the server.
    jobs, finished, lost, twice : int
        Sent, ended with a result, not there any more, and there more than once or with a trial that
        is counted twice.
    killed_job : str
        What became of a job whose own process was killed, and that was asked to go on.
    """

    kills: int
    jobs: int
    finished: int
    lost: int
    twice: int
    killed_job: str


def photos(n: int, side: int = 32, seed: int = 0) -> bytes:
    """Make a zip of n photos of each of two classes, noise around two colors."""
    rng, content = np.random.default_rng(seed), io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for label, color in (("cat", (70, 60, 50)), ("dog", (150, 160, 190))):
            for number in range(n):
                pixels = rng.normal(color, 40, (side, side, 3)).clip(0, 255).astype(np.uint8)
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "JPEG")
                archive.writestr(f"pets/{label}/{number}.jpg", file.getvalue())
    return content.getvalue()


def _zip(files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def _tar(links: dict[str, str]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, target in links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return content.getvalue()


def hostile() -> Iterator[bytes]:
    """Make archives that somebody has made to do harm, or by mistake."""
    good = photos(3)
    image = zipfile.ZipFile(io.BytesIO(good)).read("pets/cat/0.jpg")
    yield from (b"", b"no archive", good)
    for name in ("../../outside.jpg", "/tmp/outside.jpg", "a/../../outside.jpg", "a\\..\\b.jpg"):
        yield _zip({name: image, "cat/1.jpg": image, "dog/1.jpg": image})
    yield _tar({"cat/1.jpg": "/etc/passwd", "dog/1.jpg": "../../outside.jpg"})
    yield _zip({"cat/1.bmp": bytes(3 * 10**8)}, zipfile.ZIP_DEFLATED)
    yield _zip({f"cat/{n}.zip": good for n in range(2)})
    yield _zip({".hidden/1.jpg": image, "__MACOSX/cat/1.jpg": image})
    yield _zip({"cat/readme.txt": b"no photo", "dog/2.txt": b"none"})
    yield _zip({f"cat/{n}.jpg": image for n in range(3)})
    yield _zip({f"{label}/{n}.jpg": b"damaged" for label in "ab" for n in range(3)})
    yield _zip({"a" * 300 + "/1.jpg": image, "b\n\x1b[31m/1.jpg": image, "=1+1/1.jpg": image})
    # The flag that says that it is encrypted.
    yield good.replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01")


def archives(folder: Path, count: int, seed: int) -> Archives:
    """Send damaged and hostile archives, and look at what they leave."""
    rng, outcomes = random.Random(seed), Counter[str]()
    sources = [*hostile()]
    (folder / "app").mkdir(parents=True)
    with Server(folder / "app") as server:
        before = _outside(folder)
        for number in range(count):
            content = (
                sources[number] if number < len(sources) else damage(rng.choice(sources), rng)[1]
            )
            outcome = _sent(server, content)
            outcomes[outcome] += 1
            if _outside(folder) != before:
                outcomes["something outside the folder"] += 1
                before = _outside(folder)
        if not server.is_alive:
            outcomes["the server has ended"] += 1
        if [*(folder / "app").rglob(".new-*")]:
            outcomes["something half made"] += 1
    known = ("taken", "refused")
    faults = {name: n for name, n in outcomes.items() if name not in known}
    return Archives(count, outcomes["taken"], outcomes["refused"], faults)


def _sent(server: Server, content: bytes) -> str:
    status, answer = server.post("/api/datasets?name=photos.zip", content)
    if status == 201:
        return "taken"
    try:
        sentence = json.loads(answer)["detail"]
    except (ValueError, LookupError, TypeError):
        return f"no sentence, status {status}"
    if not 400 <= status < 500 or len(sentence.splitlines()) != 1 or "Traceback" in sentence:
        return f"status {status}"
    return "refused"


def _outside(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} | {
        path.name for path in Path("/tmp").glob("outside*")
    }


def kills(folder: Path, count: int, seed: int) -> Kills:
    """Kill the server at random moments while jobs wait and work; then kill a job."""
    rng = random.Random(seed)
    (folder / "app").mkdir(parents=True)
    server = Server(folder / "app")
    server.start()
    try:
        dataset = server.upload(photos(30))
        sent = [server.study(dataset, {**_SHORT, "seed": n}) for n in range(4)]
        for number in range(count):
            time.sleep(rng.uniform(0.0, 2.0))
            server.kill()
            server.start()
            if number % 5 == 4:
                sent.append(server.study(dataset, {**_SHORT, "seed": len(sent)}))
        ended = [server.until_ended(each) for each in sent]
        there = Counter(each["id"] for each in json.loads(server.get("/api/jobs")[1]))
        twice = sum(n > 1 for n in there.values()) + sum(map(_counts_twice, ended))
        return Kills(
            kills=count,
            jobs=len(sent),
            finished=sum(each["state"] == "finished" for each in ended),
            lost=sum(each not in there for each in sent),
            twice=twice,
            killed_job=_killed_job(server, dataset, folder / "app"),
        )
    finally:
        server.kill(signal.SIGINT)


def _counts_twice(job: dict[str, object]) -> bool:
    summary = job.get("summary")
    trials = summary.get("trials", []) if isinstance(summary, dict) else []
    numbers = [each["number"] for each in trials]
    return len(numbers) != len(set(numbers)) or len(numbers) > int(str(_SHORT["budget.trials"]))


def _killed_job(server: Server, dataset: str, folder: Path) -> str:
    """Kill a job that works, and let it go on."""
    identifier = server.study(dataset, {**_SHORT, "budget.trials": 6})
    lock = folder / "jobs" / identifier / "lock"
    deadline = time.monotonic() + 60
    while not (lock.exists() and lock.read_text()):
        if time.monotonic() > deadline:
            raise InputError("The app starts no job: look at its log.")
        time.sleep(0.1)
    time.sleep(5.0)
    os.killpg(int(lock.read_text()), signal.SIGKILL)
    first = server.until_ended(identifier)["state"]
    server.post(f"/api/jobs/{identifier}/continue", {"options": {}})
    return f"{first}, then {server.until_ended(identifier)['state']}"
