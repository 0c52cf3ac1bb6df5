"""Faults on purpose: damaged files for every reader, and SIGKILL at random moments.

``python -m benchmarks.faults --json FILE``

Files
    Good and hostile files of every kind are damaged in all the ways of :mod:`benchmarks.damage`,
    and read: engines, IDX files, images, Keras models, tables of images and archives by their
    readers, within a bound of memory and time; states, tables of a run and the MLflow store by a
    run that is resumed from them.
    ``read``: the reader accepts it; where a run was resumed, its results are those of a run that
    nothing happened to, to the last bit. ``sentence``: it is refused with one. All else is a fault:
    a traceback, a hang, memory beyond the bound, something executed, other results.
Kills
    Small runs of all optimizers, strategies and executors are killed (SIGKILL) at random moments,
    from their first instant to their last, and resumed. At the end, their results must be those of
    a run that nothing happened to, to the last bit; their runs in MLflow finished, their models
    READY, and nothing else left: no temporary file, no process.

It exits with 1 where there is a fault.
"""

import argparse
import io
import random
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import fault_runs
from benchmarks.damage import EXECUTED
from benchmarks.fault_runs import Case
from benchmarks.machine import command_line, origin
from benchmarks.output import Output
from benchmarks.readers import BOUND, IMAGES_OF_TABLE
from experiments.console import exit_on_mistake, say
from experiments.tables import table
from slicing.backend import load_keras
from slicing.baselines import UntrainedCNN
from slicing.checks import at_least
from slicing.data import Images, mnist5k
from slicing.engine.engine import Engine

SECONDS = 60.0
"""Time that reading one file may take."""

_FINE = ("read", "sentence")


def write_idx(folder: Path, images: Images, n_train: int) -> None:
    """Write images as the four files of MNIST."""
    pixels = np.rint(images.images[..., 0] * 255).astype(np.uint8)
    labels = images.labels.astype(np.uint8)
    for part, chosen in (("train", slice(0, n_train)), ("t10k", slice(n_train, None))):
        for name, array in (("images-idx3", pixels[chosen]), ("labels-idx1", labels[chosen])):
            header = bytes([0, 0, 8, array.ndim])
            header += b"".join(size.to_bytes(4, "big") for size in array.shape)
            (folder / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())


def good_files(kind: str, data: Path, images: Images, classes: tuple[str, ...]) -> Iterator[bytes]:
    """Make whole files of a kind, the first an ordinary one, and bombs."""
    if kind == "engine":
        stack = UntrainedCNN(filters=(2, 3)).build(images, classes).stack
        yield _saved(Engine.fit(stack, images, classes).save)
        yield _saved(Engine.fit(stack, images, classes, storage="int8", average=1).save)
    elif kind == "idx":
        yield (data / "t10k-images-idx3-ubyte").read_bytes()
    elif kind == "image":
        pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
        for mode, file_format in (("RGB", "PNG"), ("RGB", "JPEG"), ("P", "PNG"), ("LA", "PNG")):
            file = io.BytesIO()
            Image.fromarray(pixels).convert(mode).save(file, file_format)
            yield file.getvalue()
        file = io.BytesIO()
        Image.new("1", (30_000, 30_000)).save(file, "PNG")
        yield file.getvalue()
    elif kind == "table":
        rows = [f"{name},{number % 2}" for number, name in enumerate(IMAGES_OF_TABLE)]
        yield "\n".join(["path,label", *rows]).encode()
        parts = [f"{row};{part}" for row, part in zip(rows, ("train", "test") * 2, strict=True)]
        yield "\n".join(["file;class;split", *parts]).replace(",", ";").encode()
        yield f"path,label\n{IMAGES_OF_TABLE[0]},a\n../../{EXECUTED},b\n".encode()
    elif kind == "archive":
        yield from _archives()
    else:
        keras = load_keras()
        model = keras.Sequential(
            [
                keras.layers.Input((28, 28, 1)), keras.layers.Conv2D(2, 5, activation="relu"),
                keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax"),
            ]
        )  # fmt: skip
        yield _saved(model.save, ".keras")


def _archives() -> Iterator[bytes]:
    """Make a zip and a packed tar archive of images, and a zip that unpacks to too much."""
    names = [f"{label}/{number}.png" for label in "ab" for number in range(3)]
    content = np.random.default_rng(0).bytes(500)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in names:
            zipped.writestr(name, content)
    yield file.getvalue()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        for name in names:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            packed.addfile(header, io.BytesIO(content))
    yield file.getvalue()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(names[0], bytes(2 * 10**8))
    yield file.getvalue()


def _saved(save: Callable[[Path], object], suffix: str = "") -> bytes:
    """Give what is written to a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{suffix}"
        save(path)
        return path.read_bytes()


_SUFFIXES = {
    "engine": ".safetensors", "idx": "", "image": ".png", "keras": ".keras", "table": ".csv",
    "archive": ".zip",
}  # fmt: skip


class Reader:
    """Reads files in a process of its own, which is started again after it hung or died.

    Parameters
    ----------
    kind : str
    whole : Path
        A file that can be read.
    folder : Path
        The process's directory.
    """

    def __init__(self, kind: str, whole: Path, folder: Path) -> None:
        self._kind, self._whole, self._folder = kind, whole, folder
        self._process: subprocess.Popen[str] | None = None

    def read(self, path: Path) -> str:
        """Read a file, and name what came of it."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.readers", self._kind],
                cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL, text=True,
            )  # fmt: skip
            if self._ask(self._whole, 10 * SECONDS) != "read":
                raise RuntimeError(f"A whole file of the kind {self._kind} is not read.")
        outcome = self._ask(path, SECONDS)
        executed = self._folder / EXECUTED
        if executed.exists():
            executed.unlink()
            return "executed"
        return outcome

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, path: Path, seconds: float) -> str:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        outcome = process.stdout.readline().strip()
        timer.cancel()
        if outcome:
            return outcome
        self.close()
        return "hang or death"


def fuzz_readers(kind: str, count: int, data: Path, images: Images, seed: int) -> Counter[str]:
    """Damage files of a kind, let its reader read them, and count what came of it."""
    rng, outcomes = random.Random(f"{seed} {kind}"), Counter[str]()
    classes = tuple("0123456789")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = folder / f"whole{_SUFFIXES[kind]}"
        contents = [*good_files(kind, data, images, classes)]
        whole.write_bytes(contents[0])
        reader = Reader(kind, whole, folder)
        for _ in range(count):
            how, content = fault_runs.damage(rng.choice(contents), rng)
            path = folder / f"damaged{_SUFFIXES[kind]}"
            path.write_bytes(content)
            outcome = reader.read(path)
            outcomes[outcome] += 1
            if outcome not in _FINE:
                say(f"{kind}, {how}: {outcome}")
        reader.close()
    return outcomes


def fuzz_runs(count: int, data: Path, workers: int, seed: int) -> dict[str, Counter[str]]:
    """Damage files of half-finished runs, resume them, and count what came of it."""
    case, rng = Case("cmaes", "serial", "serial"), random.Random(seed)
    outcomes: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for project in (folder / "whole", folder / "half"):
            project.mkdir()
        expected = fault_runs.undisturbed(case, data, folder / "whole").results
        source = folder / "half"
        targets = fault_runs.half_done(case, data, source)
        jobs = []
        for target, share in zip(targets, fault_runs.shares(count, targets), strict=True):
            [path] = [*source.glob(f"outputs/*/*/{target}"), *source.glob(target)]
            for number in range(share):
                how, content = fault_runs.damage(path.read_bytes(), rng)
                project = folder / f"{target.replace('/', '-')}-{number}"
                jobs.append((target, how, content, project))

        def one(job: tuple[str, str, bytes, Path]) -> str:
            target, _, content, project = job
            return fault_runs.damaged(source, target, content, expected, project)

        with ThreadPoolExecutor(workers) as pool:
            for (target, how, _, _), outcome in zip(jobs, pool.map(one, jobs), strict=True):
                kind = target.split("/")[-1].split("-")[0]
                outcomes.setdefault(kind, Counter())[outcome] += 1
                if outcome not in _FINE:
                    say(f"{target}, {how}: {outcome}")
    return outcomes


def kill_runs(count: int, data: Path, workers: int, seed: int) -> dict[str, Counter[str]]:
    """Kill runs of all cases, and count the kills and the faults."""
    cases = fault_runs.cases()
    shares = fault_runs.shares(count, cases)
    jobs = [(case, share) for case, share in zip(cases, shares, strict=True) if share]
    outcomes: dict[str, Counter[str]] = {}
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(workers) as pool:
        folder = Path(name)

        def project(case: Case, what: str) -> Path:
            found = folder / f"{case.optimizer}-{case.strategy}-{case.executor}-{what}"
            found.mkdir()
            return found

        references = list(dict.fromkeys(case.reference for case, _ in jobs))
        results = pool.map(
            lambda case: fault_runs.undisturbed(case, data, project(case, "whole")), references
        )
        expected = dict(zip(references, results, strict=True))

        def one(job: tuple[Case, int]) -> list[str]:
            case, share = job
            rng = random.Random(f"{seed} {case}")
            where = project(case, "killed")
            return fault_runs.killed(case, share, expected[case.reference], data, where, rng)

        for (case, kills), faults in zip(jobs, pool.map(one, jobs), strict=True):
            key = f"{case.optimizer}, {case.strategy}, {case.executor}"
            outcomes[key] = Counter({"kills": kills}) + Counter(faults)
            for fault in faults:
                say(f"{key}: {fault}")
    return outcomes


def report(files: Mapping[str, Counter[str]], kills: Mapping[str, Counter[str]]) -> str:
    """Set the counts as two tables."""

    def faults(found: Counter[str], fine: tuple[str, ...]) -> str:
        others = [f"{count} x {name}" for name, count in found.items() if name not in fine]
        return ", ".join(others) or "none"

    rows = [
        [kind, str(found.total()), str(found["read"]), str(found["sentence"]), faults(found, _FINE)]
        for kind, found in files.items()
    ]
    killed = [
        [case, str(found["kills"]), faults(found, ("kills",))] for case, found in kills.items()
    ]
    return "\n".join(
        [
            *table(["damaged file", "files", "read", "one sentence", "faults"], rows), "",
            *table(["killed run", "kills", "faults at its end"], killed),
        ]
    )  # fmt: skip


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="write the counts there")
    parser.add_argument("--files", type=int, default=1400, help="damaged files")
    parser.add_argument("--kills", type=int, default=100, help="kills")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with exit_on_mistake(), tempfile.TemporaryDirectory() as name:
        at_least("--files", arguments.files, 0)
        at_least("--kills", arguments.kills, 0)
        at_least("--workers", arguments.workers, 1)
        output = None if arguments.json is None else Output("--json", arguments.json)
        data = Path(name)
        images = mnist5k(train_size=200, test_size=10).train
        write_idx(data, images, 120)
        seed, files = arguments.seed, dict[str, Counter[str]]()
        *parts, rest = fault_runs.shares(arguments.files, range(len(_SUFFIXES) + 1))
        for kind, count in zip(_SUFFIXES, parts, strict=True):
            say(f"Damaging {count} files of the kind {kind}")
            files[kind] = fuzz_readers(kind, count, data, images, seed)
        say(f"Damaging {rest} files of runs")
        files |= fuzz_runs(rest, data, arguments.workers, seed)
        say(f"Killing runs {arguments.kills} times")
        kills = kill_runs(arguments.kills, data, arguments.workers, seed)
        if output is not None:
            counts: dict[str, Any] = {
                "bound_bytes": BOUND,
                "bound_seconds": SECONDS,
                "files": {kind: dict(found) for kind, found in files.items()},
                "kills": {case: dict(found) for case, found in kills.items()},
            }
            output.write_json({**origin(command_line("benchmarks.faults")), **counts})
    print(report(files, kills))
    fine = (*_FINE, "kills")
    sys.exit(
        any(name not in fine for found in [*files.values(), *kills.values()] for name in found)
    )


if __name__ == "__main__":
    main()
