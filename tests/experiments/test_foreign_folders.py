"""A run folder may be someone else's: what stands in it is never executed."""

import pickle
from pathlib import Path

import pytest

from evolve.checkpoint import Checkpoint
from experiments.overrides import check, resumed
from experiments.resume import RunOrigin, checkpoint_of, has_begun, load
from slicing.errors import InputError
from tests.experiments.runs import forked, run_here


class Executes:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("magic", [b"", b"knn-slicing state 1\n"])
@pytest.mark.parametrize("name", ["run", "schedule", "block-0"])
def test_a_pickle_among_the_states_is_not_read(magic, name, tiny, tmp_path):
    traces = tmp_path / "executed"
    folder = tmp_path / "results"
    checkpoint = folder / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / f"{name}.state").write_bytes(magic + pickle.dumps(Executes(traces)))
    if name != "block-0":
        with pytest.raises(InputError, match="cannot be resumed"):
            resumed([f"resume={folder}"])
        # As in the folder that hydra.run.dir names.
        with pytest.raises(InputError, match=r"missing, damaged or of another version\. Start"):
            run_here(tiny, tmp_path)
        assert has_begun(folder)
    else:
        assert run_here([*tiny, "strategy.passes=1"], tmp_path).summary.ended == "passes"
    assert not traces.exists()


def test_the_state_of_another_schedule_is_not_taken_silently(tiny, tmp_path):
    """Of a run of the same kernels on other images, say, whose origin is gone."""
    checkpoint_of(tmp_path / "results").save("schedule", {})
    with pytest.raises(InputError, match="cannot be resumed"):
        run_here(tiny, tmp_path)
    assert (tmp_path / "results" / "checkpoint" / "schedule.state").exists()


@pytest.mark.parametrize(
    "line",
    [
        "optimizer._target_=evil.Optimizer",
        "++data._target_=os.system",
        "+data={_target_: os.system}",
    ],
)
def test_a_folder_does_not_choose_code(line, tmp_path):
    RunOrigin(("seed=1", line), {}, "", "").save(checkpoint_of(tmp_path))
    _, overrides = resumed([f"resume={tmp_path}"])
    with pytest.raises(InputError, match="names code, which is not taken from the command line"):
        check(overrides)


@pytest.mark.parametrize(
    "line",
    ["hydra/job_logging=evil", "hydra.run.dir=/", "++hydra.callbacks.x._target_=evil"],
)
def test_a_folder_does_not_choose_how_hydra_runs(line, tmp_path):
    RunOrigin(("seed=1", line), {}, "", "").save(checkpoint_of(tmp_path))
    assert resumed([f"resume={tmp_path}"]) == (tmp_path, ["seed=1"])


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"overrides": "seed=1"},
        {"overrides": [1]},
        {"overrides": [], "options": []},
        {"overrides": [], "options": {}, "mlflow_run": 1, "images": ""},
    ],
)
def test_an_origin_of_odd_content_is_one_sentence(content, tmp_path):
    Checkpoint(tmp_path / "checkpoint").save("run", content)
    with pytest.raises(InputError, match=r"run\.state does not hold what this version writes"):
        load(tmp_path)


def test_the_command_line_says_it_in_one_sentence(tmp_path):
    checkpoint_of(tmp_path).save("run", {})
    process = forked([f"resume={tmp_path}"], tmp_path)
    assert process.code == 2
    assert process.err.count("\n") == 1
    assert "start a new run in another folder" in process.err
    assert "Nothing is lost" not in process.err
