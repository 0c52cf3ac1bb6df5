"""SIGKILL at any moment: resumed, a run ends as if nothing had happened, in the same MLflow run."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.forked_runs import finish, kill, wait_for
from tests.experiments.runs import begin, files_of, give_store, run_folder, run_here, runs_of

KILLS = 2
PARALLEL = ["strategy=parallel", "strategy.synchronize=3"]
# Serial and parallel: `benchmarks.faults` kills runs of all optimizers and executors.
RUNS = {
    "pso": ["optimizer=pso"],
    "cmaes, workers": ["optimizer=cmaes", *PARALLEL, "executor=processes", "executor.workers=2"],
}


def killed_and_resumed(overrides, project):
    """Kill a run at random moments, resume it each time, and let it end at last."""
    killed = 0
    arguments = overrides
    give_store(project)
    for _ in range(KILLS):
        process = begin(arguments, project)
        wait_for(process, project, "evolving")
        killed += kill(process, project, random.uniform(0, 1.0))
        arguments = [f"resume={run_folder(project)}"]
    return *finish(begin(arguments, project), project), killed


@pytest.fixture(scope="module")
def all_killed(tiny, tmp_path_factory):
    """All runs that are killed again and again, two at a time."""
    jobs = {
        name: ([*tiny, *options], tmp_path_factory.mktemp("project"))
        for name, options in RUNS.items()
    }
    with ThreadPoolExecutor(2) as pool:
        pending = {key: pool.submit(killed_and_resumed, *job) for key, job in jobs.items()}
    return {key: (*jobs[key], *future.result()) for key, future in pending.items()}


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_ends_as_if_nothing_had_happened(name, all_killed, tmp_path):
    overrides, project, code, said, killed = all_killed[name]
    assert code == 0, said
    assert killed >= 1
    # In one process, serial executor and all, this time.
    undisturbed = run_here([o for o in overrides if not o.startswith("executor")], tmp_path)
    folder = run_folder(project)
    assert files_of(folder) == files_of(undisturbed.folder)
    assert not (folder / "checkpoint").exists()
    client, [run] = runs_of(project)
    assert run.info.status == "FINISHED"
    for name in ("evolve/best_loss", "evolve/evaluations", "block/accepted"):
        points = [(each.step, each.value) for each in undisturbed.history(name)]
        found = client.get_metric_history(run.info.run_id, name)
        assert [(each.step, each.value) for each in found] == points
