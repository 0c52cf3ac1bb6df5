"""Whatever ends a run: resumed, it ends as if nothing had happened, in the same MLflow run."""

import re
import shlex
import shutil
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest

from evolve.checkpoint import Checkpoint
from evolve.protocols import leave_one_out, test_set
from experiments import run as program
from experiments.components import Components
from experiments.history import History
from experiments.overrides import resumed
from experiments.resume import RunOrigin, checkpoint_of, digest_of, load
from experiments.run import _way_on
from slicing.data import Dataset, Images
from slicing.errors import InputError
from tests.experiments.runs import command_line, files_of, finish, forked, run_here, runs_of


@pytest.fixture(autouse=True)
def _started_as_users_do(monkeypatch):
    monkeypatch.setattr(sys, "argv", [program.__file__])


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory):
    return run_here(tiny, tmp_path_factory.mktemp("undisturbed"))


class PowerCutError(Exception):
    pass


def break_off(project, overrides, after, how):
    """Run an experiment in this process until ``how()`` ends it after some events."""
    events = []
    append = History.append

    def counting(self, event):
        append(self, event)
        events.append(event)
        if len(events) == after:
            how()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(History, "append", counting)
        try:
            return run_here(overrides, project)
        except PowerCutError:
            return None


def power_cut():
    raise PowerCutError


@pytest.fixture(scope="module")
def broken_off_project(tiny, tmp_path_factory):
    project = tmp_path_factory.mktemp("broken off")
    break_off(project, tiny, 50, power_cut)
    return project


@pytest.fixture
def broken_off(broken_off_project, tmp_path):
    """The folder of a run that was broken off, in a copy of its project."""
    shutil.copytree(broken_off_project, tmp_path, dirs_exist_ok=True)
    return tmp_path / "results"


def test_an_error_keeps_the_checkpoint_and_says_how_to_go_on(broken_off, tiny):
    _, [run] = runs_of(broken_off.parent)
    assert run.info.status == "FAILED"
    assert _way_on(broken_off).endswith(f"python -m experiments.run resume={broken_off}")
    assert resumed([f"resume={broken_off}", "executor=processes"]) == (
        broken_off, [*tiny, "executor=processes"],
    )  # fmt: skip
    result = run_here([*tiny, f"resume={broken_off}"], broken_off.parent)
    assert result.run.info.run_id == run.info.run_id
    assert result.run.info.status == "FINISHED"
    assert result.run.data.tags["status"] == "finished"
    assert result.summary.blocks_done == 10
    assert _way_on(broken_off) == ""


def test_after_a_mistake_resuming_at_once_is_no_advice(broken_off):
    way = _way_on(broken_off, is_mistake=True)
    assert "Nothing is lost: resume it" not in way
    assert "Once that is mended" in way
    assert way.endswith(f"python -m experiments.run resume={broken_off}")


def test_removed_images_are_no_reason_to_resume_at_once(broken_off, digits):
    away = digits.with_name("away")
    digits.rename(away)
    try:
        process = forked([f"resume={broken_off}"], broken_off.parent)
    finally:
        away.rename(digits)
    assert process.code == 2
    assert "Traceback" not in process.err
    last = process.err.splitlines()[-1]
    assert f"{digits} is not a folder" in last
    assert "Once that is mended" in last
    assert "Nothing is lost: resume it" not in last


def test_a_folder_where_a_file_should_be_is_no_reason_to_resume_at_once(broken_off):
    (broken_off / "history.csv").unlink()
    (broken_off / "history.csv").mkdir()
    process = forked([f"resume={broken_off}"], broken_off.parent)
    assert process.code == 2
    last = process.err.splitlines()[-1]
    assert f"{broken_off}/history.csv cannot be read or written: Is a directory. What" in last
    assert "Once that is mended" in last
    assert "Nothing is lost: resume it" not in last


def test_threads_that_cannot_start_are_one_sentence_and_leave_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_THREADING_LAYER", "nonsense")
    process = finish(command_line([*tiny, "hydra.run.dir=results"], tmp_path))
    assert process.code == 2
    assert not re.search("Traceback|Error executing job", process.err)
    last = process.err.splitlines()[-1]
    assert last.startswith("Numba cannot start its threads (")
    assert last.endswith("unset or correct NUMBA_THREADING_LAYER.")
    assert not (tmp_path / "results").exists()


def test_a_changed_configuration_is_refused_and_nothing_is_lost(broken_off, tiny, monkeypatch):
    def read(*args, **more):
        raise AssertionError("The images were read.")

    for change, sentence in (
        ("seed=1", "^seed was 0 when the run began and is 1 now"),
        ("strategy.passes=3", r"strategy\.passes was 2 when the run began and is 3 now"),
        ("optimizer=pso", r"optimizer\._target_ was evolve\.optimizers\.CMAES"),
        ("data.train_size=100", r"data\.train_size was 120"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(Components, "dataset", read)
            with pytest.raises(InputError, match=sentence):
                run_here([*tiny, change, f"resume={broken_off}"], broken_off.parent)
    assert run_here([*tiny, f"resume={broken_off}"], broken_off.parent).summary.ended == "passes"


def test_a_wrong_option_says_once_how_to_go_on(broken_off):
    process = finish(command_line([f"resume={broken_off}", "seed=1"], broken_off.parent))
    assert process.code == 2
    last = process.err.splitlines()[-1]
    assert last.startswith("seed was 0 when the run began and is 1 now")
    assert last.endswith(f"resume={broken_off}")
    assert len(re.findall("resume", last)) == 2  # to resume it, and the word of the command


def test_moved_images_are_the_same_and_others_are_refused(
    broken_off, tiny, digits, undisturbed, tmp_path
):
    moved = tmp_path / "moved"
    shutil.copytree(digits, moved)
    there = f"data.directory={moved}"
    path = moved / "train-images-idx3-ubyte"
    content = bytearray(path.read_bytes())
    content[16 + 400] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match="images differ from those"):
        run_here([*tiny, there, f"resume={broken_off}"], broken_off.parent)
    content[16 + 400] ^= 255
    path.write_bytes(content)
    result = run_here([*tiny, there, f"resume={broken_off}"], broken_off.parent)
    assert files_of(result.folder) == files_of(undisturbed.folder)


def test_only_paths_may_change(broken_off):
    begun = load(broken_off)
    options = begun.options | {"data": begun.options["data"] | {"test_directory": "elsewhere"}}
    begun.check_options(options | {"baseline": begun.options["baseline"] | {"cache_dir": "new"}})
    options["data"] |= {"test_size": 50}
    with pytest.raises(InputError, match=r"data\.test_size was 60"):
        begun.check_options(options)


@pytest.mark.parametrize("changed", ["train", "calibration", "test"])
def test_all_images_that_a_run_depends_on_are_in_its_digest(changed):
    def some(seed):
        return Images(np.random.default_rng(seed).random((6, 4, 4, 1), np.float32), np.arange(6))

    images = {"train": some(0), "calibration": some(1), "test": some(2)}

    def digest(protocol):
        test = images["test"]
        data = Dataset("", ("a",), images["train"], lambda: test, calibration=images["calibration"])
        return digest_of(data, protocol(data))

    before = digest(test_set), digest(leave_one_out)
    images[changed] = some(3)
    assert digest(test_set) != before[0]
    assert (digest(leave_one_out) != before[1]) == (changed != "test")


def test_the_same_command_in_the_same_folder_goes_on(broken_off, tiny, undisturbed):
    # As where a cluster starts a job again; and another one does not overwrite it.
    with pytest.raises(InputError, match="seed was 0 when the run began and is 1 now"):
        run_here([*tiny, "seed=1"], broken_off.parent)
    result = run_here(tiny, broken_off.parent)
    assert files_of(result.folder) == files_of(undisturbed.folder)
    assert len(runs_of(broken_off.parent)[1]) == 1


def test_what_has_not_begun_or_has_ended_cannot_be_resumed(finished, tmp_path):
    (tmp_path / "file").touch()
    for nothing in (tmp_path, tmp_path / "file", tmp_path / "nowhere"):
        with pytest.raises(InputError, match="There is nothing to resume"):
            resumed([f"resume={nothing}"])
    with pytest.raises(InputError, match=r"has ended: its results are in .*summary\.md"):
        resumed([f"resume={finished.folder}"])
    assert resumed(["seed=1"]) is None


def test_resuming_is_for_one_run(tmp_path):
    process = forked(["--multirun", f"resume={tmp_path}"], tmp_path)
    assert process.code == 2
    assert process.err.count("\n") == 1


def test_ctrl_c_keeps_what_was_found_and_the_way_back(tiny, tmp_path, undisturbed):
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        interrupted = break_off(tmp_path, tiny, 50, lambda: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, handler)
    assert interrupted.summary.interrupted
    assert interrupted.summary.ended == "interrupted"
    assert interrupted.run.info.status == "KILLED"
    result = run_here([*tiny, f"resume={interrupted.folder}"], tmp_path)
    assert result.run.info.run_id == interrupted.run.info.run_id
    assert result.run.info.status == "FINISHED"
    assert files_of(result.folder) == files_of(undisturbed.folder)
    for name in ("evolve/best_loss", "block/loss"):
        assert [(e.step, e.value) for e in result.history(name)] == [
            (e.step, e.value) for e in undisturbed.history(name)
        ]


def test_a_full_disk_loses_nothing(tiny, tmp_path, undisturbed, monkeypatch):
    save, saved = Checkpoint.save, []

    def fills_up(self, name, *state, **options):
        saved.append(name)
        if len(saved) > 50:
            raise OSError(28, "No space left on device", str(self.folder / name))
        save(self, name, *state, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", fills_up)
        with pytest.raises(OSError, match="No space left"):
            run_here(tiny, tmp_path)
    assert "resume=" in _way_on(tmp_path / "results")
    result = run_here([*tiny, f"resume={tmp_path / 'results'}"], tmp_path)
    assert files_of(result.folder) == files_of(undisturbed.folder)


def test_a_deleted_mlflow_run_is_begun_again(broken_off, tiny, undisturbed, caplog):
    client, [run] = runs_of(broken_off.parent)
    client.delete_run(run.info.run_id)
    result = run_here([*tiny, f"resume={broken_off}"], broken_off.parent)
    assert f"MLflow has no run {run.info.run_id} here any more: a new one begins" in caplog.text
    is_whole_elsewhere(result, undisturbed)


def test_a_lost_store_is_begun_again(broken_off, tiny, undisturbed):
    (broken_off.parent / "mlflow.db").unlink()
    is_whole_elsewhere(run_here([*tiny, f"resume={broken_off}"], broken_off.parent), undisturbed)


def test_a_run_goes_on_in_a_store_that_has_moved(broken_off, tiny, undisturbed, tmp_path):
    _, [run] = runs_of(broken_off.parent)
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (broken_off.parent / "mlflow.db").rename(moved / "mlflow.db")
    here = f"tracking.uri=sqlite:///{moved}/mlflow.db"

    def breaking(self, event):
        raise PowerCutError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(History, "append", breaking)
        with pytest.raises(PowerCutError):
            run_here([*tiny, f"resume={broken_off}", here], broken_off.parent)
    # It is remembered.
    assert here in resumed([f"resume={broken_off}"])[1]
    (broken_off.parent / "mlflow.db").unlink()  # run_here had put an empty one there
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.experiments.runs.runs_of", lambda project: runs_of(moved))
        result = run_here([*tiny, f"resume={broken_off}", here], broken_off.parent)
    assert result.run.info.run_id == run.info.run_id
    is_whole_elsewhere(result, undisturbed)


def is_whole_elsewhere(result, undisturbed):
    assert result.run.info.status == "FINISHED"
    assert files_of(result.folder) == files_of(undisturbed.folder)
    for name in ("evolve/best_loss", "block/loss"):
        assert [(e.step, e.value) for e in result.history(name)] == [
            (e.step, e.value) for e in undisturbed.history(name)
        ]


@pytest.mark.parametrize("damage", [None, b"", b"\xff\0" * 100, b"block,a\n1,2\n", b'{"a": [\n'])
def test_what_stands_beside_the_state_does_not_count(damage, broken_off, tiny, undisturbed):
    for name in ("history.csv", "blocks.csv", "events.jsonl", "config.yaml"):
        path = broken_off / name
        path.unlink() if damage is None else path.write_bytes(damage)
    result = run_here([*tiny, f"resume={broken_off}"], broken_off.parent)
    assert files_of(result.folder) == files_of(undisturbed.folder)
    for name in ("blocks_done", "blocks_accepted", "n_blocks", "evaluations", "loss_after"):
        assert getattr(result.summary, name) == getattr(undisturbed.summary, name)


@pytest.mark.parametrize("n_damaged", [1, 2])
def test_a_damaged_origin(n_damaged, broken_off, tiny, undisturbed):
    for suffix in (".state", ".previous")[:n_damaged]:
        (broken_off / "checkpoint" / f"run{suffix}").write_bytes(b"damaged")
    if n_damaged == 1:
        result = run_here([*tiny, f"resume={broken_off}"], broken_off.parent)
        assert files_of(result.folder) == files_of(undisturbed.folder)
        return
    for overrides in (tiny, [*tiny, f"resume={broken_off}"]):
        with pytest.raises(InputError, match=r"damaged .* Start a new run in another folder\.$"):
            run_here(overrides, broken_off.parent)
    # It would end here again.
    assert _way_on(broken_off) == ""


def test_a_folder_of_a_run_that_has_ended_may_be_used_again(tiny, tmp_path):
    run_here([*tiny, "strategy.passes=1"], tmp_path)
    result = run_here([*tiny, "strategy.passes=1", "block.layers=[1]", "seed=3"], tmp_path)
    assert result.summary.n_blocks == 2
    assert len((result.folder / "blocks.csv").read_text().splitlines()) == 3


def test_another_executor_takes_over(broken_off, tiny):
    begun = load(broken_off)
    overrides = (*tiny, "strategy=parallel", "executor=processes", "executor.workers=4")
    replace(begun, overrides=overrides).save(checkpoint_of(broken_off))
    new = [f"resume={broken_off}", "executor=serial", tiny[0]]
    assert resumed(new)[1] == [*tiny[1:], "strategy=parallel", "executor=serial", tiny[0]]
    assert resumed(new[:1])[1] == list(overrides)
    for mistake in ([f"resume={broken_off},a"], ["resume=1,2"]):
        with pytest.raises(InputError, match="resume takes the folder of one run"):
            resumed(mistake)


@pytest.mark.parametrize(
    "name", ["plain", "with space", "a=b,c=d", "it's", "(a) [b]", "back\\slash", "end\\", "ü"]
)
def test_the_way_on_can_be_typed(name, tmp_path):
    folder = tmp_path / name
    RunOrigin(("seed=3",), {}, "", "").save(checkpoint_of(folder))
    command = _way_on(folder).partition("experiments.run ")[2]
    [word] = shlex.split(command)
    assert resumed([word]) == (folder, ["seed=3"])


def test_a_mistake_before_the_first_generation_leaves_nothing(tiny, tmp_path):
    with pytest.raises(InputError, match="max_evaluations=5 does not suffice"):
        run_here([*tiny, "strategy.max_evaluations=5"], tmp_path)
    assert _way_on(tmp_path / "results") == ""
    assert not (tmp_path / "results" / "checkpoint").exists()
