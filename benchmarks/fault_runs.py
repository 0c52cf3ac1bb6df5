"""Small runs that are killed, or find their files damaged, and what is left of them at the end."""

import itertools
import json
import os
import random
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.damage import DAMAGES, EXECUTED
from benchmarks.forked_runs import begin, finish, kill, wait_for
from benchmarks.readers import keep_within_bound
from evolve.optimizers import BY_NAME
from experiments.resume import has_begun

# A run of a few seconds, with both layers and a model in MLflow, and nothing to train.
TINY = (
    "data=mnist", "data.train_size=120", "data.test_size=60", "baseline=random",
    "baseline.filters=[2,3]", "block.layers=null", "strategy.generations=6", "strategy.passes=2",
    "fitness=neighbors", "fitness.neighbors=16", "slicing.projection=none", "threads=1",
)  # fmt: skip

STRATEGIES = {
    "serial": ("strategy=serial",),
    "parallel": ("strategy=parallel", "strategy.synchronize=3"),
}
EXECUTORS = {
    "serial": (),
    "processes": ("executor=processes", "executor.workers=2"),
    "ray": ("executor=ray", "executor.workers=2"),
}

# Seconds within which Ray's agents have ended on busy cores.
_GRACE_OF_RAY = 90.0
# What a killed process may leave beside its results.
_LEFT = (".part", ".new", ".previous", ".tmp")


@dataclass(frozen=True)
class Case:
    """A kind of run.

    Attributes
    ----------
    optimizer, strategy, executor : str
    """

    optimizer: str
    strategy: str
    executor: str

    @property
    def reference(self) -> "Case":
        """The run that must have the same results."""
        return Case(self.optimizer, self.strategy, "serial")

    def command(self, data: Path) -> list[str]:
        """Give the words of its command line."""
        own = [*STRATEGIES[self.strategy], *EXECUTORS[self.executor]]
        return [*TINY, f"data.directory={data}", f"optimizer={self.optimizer}", *own]


def cases() -> list[Case]:
    """List all optimizers with all strategies, those side by side with workers, too."""
    plain = [Case(*pair, "serial") for pair in itertools.product(BY_NAME, STRATEGIES)]
    workers = [Case(name, "parallel", "processes") for name in BY_NAME]
    return [*plain, *workers, Case("cmaes", "parallel", "ray")]


def run_folder(project: Path) -> Path | None:
    """Find the folder of the project's only run."""
    folders = [*project.glob("outputs/*/*")]
    return folders[0] if folders else None


def results_of(folder: Path) -> dict[str, Any]:
    """Read what must be the same for the same run, however often it was killed."""
    found: dict[str, Any] = {}
    for name in ("kernels.npz", "predictions.npz"):
        with np.load(folder / name) as arrays:
            found |= {f"{name}/{key}": arrays[key].tobytes() for key in arrays}
    for name in ("history.csv", "blocks.csv", "engine.safetensors"):
        found[name] = (folder / name).read_bytes()
    summary = json.loads((folder / "summary.json").read_text())
    found |= {name: summary[name] for name in ("loss_before", "loss_after", "evaluations")}
    return found


def faults_of_store(project: Path) -> Iterator[str]:
    """Name what is wrong with the runs and models in the project's MLflow store."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    for experiment in client.search_experiments():
        finished = 0
        for run in client.search_runs([experiment.experiment_id]):
            finished += run.info.status == "FINISHED"
            if run.info.status == "RUNNING":
                yield "a run that is RUNNING"
        models = client.search_logged_models([experiment.experiment_id])
        ready = [model for model in models if str(model.status).endswith("READY")]
        for model in ready:
            if not [*Path(model.artifact_location.removeprefix("file://")).rglob("*.safetensors")]:
                yield "a model without its engine"
        if finished and len(ready) < finished:
            yield "a model that is not READY"


def faults_of_folder(project: Path, grace: float = 30.0) -> Iterator[str]:
    """Name what is left that should not be there, processes after some seconds."""
    for path in project.rglob("*"):
        if path.suffix in _LEFT:
            yield f"a file {path.suffix}"
        if path.name == "checkpoint":
            yield "a checkpoint"
        if path.name == EXECUTED:
            yield "executed"
    deadline = time.monotonic() + grace
    while processes := _processes_in(project):
        if time.monotonic() > deadline:
            yield from ("a process" for _ in processes)
            break
        time.sleep(0.5)


def _processes_in(project: Path) -> list[int]:
    """List the processes whose directory a project is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == project:
                found.append(int(process.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


@dataclass
class Undisturbed:
    """A run that nothing happened to.

    Attributes
    ----------
    results : dict
        See :func:`results_of`.
    seconds : float
        How long it took.
    """

    results: dict[str, Any]
    seconds: float


def undisturbed(case: Case, data: Path, project: Path) -> Undisturbed:
    """Run a case to its end.

    Raises
    ------
    RuntimeError
        Where it does not get there.
    """
    start = time.monotonic()
    code, said = finish(begin(case.command(data), project), project)
    folder = run_folder(project)
    if code != 0 or folder is None:
        raise RuntimeError(f"{case} ended with {code}: {said}")
    return Undisturbed(results_of(folder), time.monotonic() - start)


def killed(
    case: Case, kills: int, expected: Undisturbed, data: Path, folder: Path, rng: random.Random
) -> list[str]:
    """Kill runs at random moments, so often in all, and resume each to its end.

    Returns
    -------
    list of str
        What was wrong at their ends.
    """
    faults: list[str] = []
    for number in itertools.count():
        project = folder / str(number)
        project.mkdir()
        done, found = _killed(case, kills, expected, data, project, rng)
        faults += found
        kills -= done
        if not kills:
            break
    return faults


def _killed(
    case: Case, kills: int, expected: Undisturbed, data: Path, project: Path, rng: random.Random
) -> tuple[int, list[str]]:
    """Kill one run, at most so often; give how often it was still there, and its faults."""
    command, done, has_ended, folder = case.command(data), 0, False, None
    arguments = command
    for _ in range(kills):
        # The later ones begin with what the earlier ones have done.
        done += kill(begin(arguments, project), project, rng.uniform(0.0, expected.seconds))
        folder = run_folder(project)
        has_ended = bool(folder and (folder / "summary.md").exists() and not has_begun(folder))
        if has_ended:
            break
        arguments = [f"resume={folder}"] if folder and has_begun(folder) else [*command]
        if folder is not None and not has_begun(folder):
            arguments.append(f"hydra.run.dir={folder}")
    code: int | None = 0
    said = ""
    if not has_ended:
        for scratch in project.glob(".mlflow-*"):
            # The next run clears it away once nobody can be at work in it, after an hour.
            for left in (scratch, *scratch.rglob("*")):
                os.utime(left, (0, 0))
        code, said = finish(begin(arguments, project), project)
        folder = run_folder(project)
    grace = {"grace": _GRACE_OF_RAY} if case.executor == "ray" else {}
    faults = [*faults_of_store(project), *faults_of_folder(project, **grace)]
    if not has_ended and [*project.glob(".mlflow-*")]:
        faults.append("a folder .mlflow")
    if "Traceback" in said:
        faults.append("traceback")
    if code is None:
        faults.append("hang")
    if folder is None or not (folder / "kernels.npz").exists():
        return done, [*faults, f"no results, exit code {code}"]
    if results_of(folder) != expected.results:
        faults.append("other results")
    return done, faults


def damaged(
    source: Path, target: str, content: bytes, expected: Mapping[str, Any], project: Path
) -> str:
    """Resume a copy of a killed run with one file damaged, within the readers' bound of memory.

    Returns
    -------
    str
        ``read`` where it ended as if nothing had happened, ``sentence`` where it was refused with
        one, else the fault.
    """
    shutil.copytree(source, project)
    [path] = [*project.glob(f"outputs/*/*/{target}"), *project.glob(target)]
    path.write_bytes(content)
    words = [f"resume={run_folder(project)}"]
    process = begin(words, project, prepare=keep_within_bound)
    code, said = finish(process, project, 120.0)
    if [*project.rglob(EXECUTED)]:
        return "executed"
    if "Traceback" in said:
        return "traceback"
    if code is None:
        return "hang"
    if code == 2:
        return "sentence"
    folder = run_folder(project)
    if code != 0 or folder is None:
        return f"exit code {code}"
    return "read" if results_of(folder) == expected else "other results"


def half_done(case: Case, data: Path, project: Path) -> list[str]:
    """Kill a run in its evolution; list its files that a resumed run reads."""
    process = begin(case.command(data), project)
    wait_for(process, project, "evolving")
    kill(process, project, 1.0)
    folder = run_folder(project)
    assert folder is not None
    states = sorted(f"checkpoint/{path.name}" for path in (folder / "checkpoint").glob("*.state"))
    return [*states, "history.csv", "blocks.csv", "events.jsonl", "mlflow.db"]


def damage(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Damage a file's content; also name how."""
    name: str = rng.choice(sorted(DAMAGES))
    return name, DAMAGES[name](content, rng)


def shares(total: int, parts: Sequence[Any]) -> list[int]:
    """Divide a number into nearly equal shares."""
    return [(i + 1) * total // len(parts) - i * total // len(parts) for i in range(len(parts))]
