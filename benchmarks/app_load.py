"""How the app answers while many look at it, and how soon there is something to try."""

import io
import json
import statistics
import threading
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from benchmarks.app_faults import photos
from benchmarks.app_server import Server
from slicing.errors import InputError

# Seconds between two looks of a viewer at a page.
_LOOK = 2.0


@dataclass(frozen=True)
class Load:
    """What viewers see, and what they cost.

    Attributes
    ----------
    viewers, uploads : int
        At once.
    seconds : float
        That it was watched.
    pages : int
        Answers to viewers.
    median, p95 : float
        Seconds of an answer.
    upload_seconds : float
        Of the slowest upload.
    trials_alone, trials_watched : int
        That a study has tried in these seconds, alone and watched.
    """

    viewers: int
    uploads: int
    seconds: float
    pages: int
    median: float
    p95: float
    upload_seconds: float
    trials_alone: int
    trials_watched: int


@dataclass(frozen=True)
class First:
    """How soon somebody can try a classifier of their photos.

    Attributes
    ----------
    photos, bytes : int
        That are sent.
    upload_seconds : float
        Until they are a data set.
    seconds : float
        From the start of the upload until the first classifier answers, the study still searching.
    """

    photos: int
    bytes: int
    upload_seconds: float
    seconds: float


def load(folder: Path, viewers: int, uploads: int, seconds: float) -> Load:
    """Let a study work alone, then another while people look and send photos."""
    folder.mkdir(parents=True)
    with Server(folder / "app") as server:
        dataset = server.upload(photos(60))
        options = {"space": ["untrained"], "budget.minutes": 10, "folds": 1, "threads": 2}
        trials = []
        took, uploaded = list[float](), list[float]()
        for is_watched in (False, True):
            job = server.study(dataset, options)
            _until_trials(server, job, 1)
            before = _n_trials(server, job)
            begun, end = time.monotonic(), threading.Event()
            people = []
            if is_watched:
                people += [_thread(_view, server, job, end, took) for _ in range(viewers)]
                people += [_thread(_send, server, uploaded) for _ in range(uploads)]
            time.sleep(max(0.0, begun + seconds - time.monotonic()))
            trials.append(_n_trials(server, job) - before)
            end.set()
            server.post(f"/api/jobs/{job}/cancel", b"")
            server.until_ended(job)
            for each in people:
                each.join()
    ordered = sorted(took)
    return Load(
        viewers, uploads, seconds, len(took), statistics.median(took),
        ordered[int(0.95 * (len(ordered) - 1))], max(uploaded), *trials,
    )  # fmt: skip


def first(folder: Path, directory: Path, n: int) -> First:
    """Send photos of a folder, start a study, and wait until it can be tried."""
    content = _archive(directory, n)
    folder.mkdir(parents=True)
    with Server(folder / "app") as server:
        begun = time.monotonic()
        dataset = server.upload(content)
        uploaded = time.monotonic() - begun
        job = server.study(dataset, {"space": ["sliced"], "budget.minutes": 5})
        while server.get(f"/api/jobs/{job}/engine")[0] != 200:
            if server.job(job)["state"] not in ("queued", "running"):
                raise InputError("The study has ended without a classifier.")
            time.sleep(0.1)
        took = time.monotonic() - begun
        server.post(f"/api/jobs/{job}/cancel", b"")
        server.until_ended(job)
    return First(n, len(content), uploaded, took)


def _archive(directory: Path, n: int) -> bytes:
    """Pack some photos of each class, in turn."""
    classes = sorted(path for path in directory.iterdir() if path.is_dir())
    by_class = [sorted(path.glob("*.jpg")) for path in classes]
    chosen = [each[i] for i in range(n) for each in by_class if i < len(each)][:n]
    if len(chosen) < n:
        raise InputError(f"--directory {directory} has {len(chosen)} photos: give one of {n:,}.")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in chosen:
            # Not with its own time: zip knows none before 1980.
            archive.writestr(f"{path.parent.name}/{path.name}", path.read_bytes())
    return content.getvalue()


def _thread(target: object, *given: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=given, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def _view(server: Server, job: str, end: threading.Event, took: list[float]) -> None:
    """Look at a job as a page does: the page again and again, and its events."""
    events = _thread(_follow, server, job, end)
    while not end.wait(_LOOK):
        for path in (f"/jobs/{job}", f"/api/jobs/{job}"):
            begun = time.monotonic()
            status, _ = server.get(path)
            took.append(time.monotonic() - begun)
            if status != 200:
                raise InputError(f"{path} was answered with {status}.")
    events.join(30)


def _follow(server: Server, job: str, end: threading.Event) -> None:
    with urlopen(f"{server.address}/api/jobs/{job}/events", timeout=60) as stream:
        for _ in stream:
            if end.is_set():
                break


def _send(server: Server, took: list[float]) -> None:
    begun = time.monotonic()
    server.upload(photos(100, 64))
    took.append(time.monotonic() - begun)


def _n_trials(server: Server, job: str) -> int:
    log = server.get(f"/api/jobs/{job}/log")[1].decode(errors="replace")
    return sum(line.startswith("Trial ") for line in log.splitlines())


def _until_trials(server: Server, job: str, n: int) -> None:
    deadline = time.monotonic() + 120
    while _n_trials(server, job) < n:
        if time.monotonic() > deadline:
            raise InputError(f"The study tries nothing: {json.dumps(server.job(job)['reason'])}")
        time.sleep(0.2)
