"""Whatever ends a process while MLflow stores a model: in the end there is one, READY and whole."""

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from experiments import logged_model
from experiments.mlflow_run import MLflowRun
from experiments.mlflow_store import connect
from slicing.data import Images
from slicing.errors import InputError
from slicing.files import clear_parts
from tests.experiments.runs import give_store

SHAPE = (28, 28, 1)


class KilledError(BaseException):
    pass


@pytest.fixture
def project(tmp_path, monkeypatch):
    give_store(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "engine.safetensors").write_bytes(b"as if it were an engine")
    return tmp_path


@pytest.fixture
def engine(project):
    return project / "engine.safetensors"


@pytest.fixture
def run(project):
    client, experiment_id = connect(None, "tests")
    return client, client.create_run(experiment_id).info.run_id, experiment_id


def models_of(client, run_id, experiment_id):
    found = client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'")
    return [(each.status, files_of(client, each)) for each in found]


def files_of(client, model):
    folder = Path(model.artifact_location.removeprefix("file://"))
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def killed_after(n_files, monkeypatch):
    """End the process after so many files; whatever it would do then, it does not do."""

    def some(self, local_dir, artifact_path=None):
        files = sorted(path for path in Path(local_dir).rglob("*") if path.is_file())
        for path in files[:n_files]:
            target = Path(self.artifact_dir) / path.relative_to(local_dir)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        raise KilledError

    monkeypatch.setattr(LocalArtifactRepository, "log_artifacts", some)
    monkeypatch.setattr(MlflowClient, "finalize_logged_model", lambda *args: None)


@pytest.mark.parametrize("n_files", [0, 1, 12, 10_000])
def test_a_model_that_is_not_ready_is_logged_again(n_files, run, engine, monkeypatch):
    with monkeypatch.context() as patch:
        killed_after(n_files, patch)
        with pytest.raises(KilledError):
            logged_model.log_engine(*run, engine, SHAPE)
    [(status, _)] = models_of(*run)
    assert status == "PENDING"
    logged_model.log_engine(*run, engine, SHAPE)
    [(status, files)] = models_of(*run)
    assert status == "READY"
    assert {"MLmodel", "artifacts/engine.safetensors", "code/slicing/stack.py"} <= files


def test_temporary_files_are_beside_the_engine_and_cleared_away(run, engine, monkeypatch):
    found, log = [], LocalArtifactRepository.log_artifacts

    def spying(self, local_dir, artifact_path=None):
        found.append(Path(local_dir))
        # As SIGKILL would leave it.
        shutil.copytree(local_dir, engine.parent / ".tmp-killed" / "model")
        log(self, local_dir, artifact_path)

    monkeypatch.setattr(LocalArtifactRepository, "log_artifacts", spying)
    before = tempfile.gettempdir()
    logged_model.log_engine(*run, engine, SHAPE)
    [folder] = found
    assert folder.is_relative_to(engine.parent)
    assert folder.relative_to(engine.parent).parts[0].startswith(".tmp-")
    assert tempfile.gettempdir() == before
    assert [each.name for each in engine.parent.glob(".tmp-*")] == [".tmp-killed"]
    clear_parts(engine.parent)
    assert not [*engine.parent.glob(".tmp-*")]
    assert engine.exists()


def test_a_model_that_is_not_linked_yet_is_no_orphan(run, engine, monkeypatch):
    def unlinked(*args, **kwargs):
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_outputs", unlinked)
        patch.setattr(MlflowClient, "finalize_logged_model", lambda *args: None)
        with pytest.raises(KilledError):
            logged_model.log_engine(*run, engine, SHAPE)
    logged_model.log_engine(*run, engine, SHAPE)
    assert [status for status, _ in models_of(*run)] == ["READY"]


def test_a_whole_model_is_logged_once_and_one_that_lost_a_file_again(run, engine):
    model_id = logged_model.log_engine(*run, engine, SHAPE)
    [model] = run[0].search_logged_models([run[2]])
    assert model.model_id == model_id
    assert logged_model.log_engine(*run, engine, SHAPE) == model_id
    assert [each.model_id for each in run[0].search_logged_models([run[2]])] == [model.model_id]
    whole = files_of(run[0], model)
    for name in ("MLmodel", "artifacts/engine.safetensors", "code/slicing/engine/engine.py"):
        path = Path(model.artifact_location.removeprefix("file://")) / name
        path.write_bytes(path.read_bytes()[:5])
        if name == "MLmodel":
            path.unlink()
        logged_model.log_engine(*run, engine, SHAPE)
        [(status, files)] = models_of(*run)
        assert (status, files) == ("READY", whole)
        [model] = run[0].search_logged_models([run[2]])


def test_it_leaves_no_variables_that_the_next_run_would_take_for_the_users(
    run, engine, monkeypatch
):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "of the user")
    before = dict(os.environ)
    logged_model.log_engine(*run, engine, SHAPE)
    assert dict(os.environ) == before


def test_a_store_that_keeps_too_little_is_one_sentence(run, engine, monkeypatch):
    monkeypatch.setattr(LocalArtifactRepository, "log_artifacts", lambda *args, **kwargs: None)
    with pytest.raises(InputError, match=r"MLflow has not stored the whole model.* The engine is"):
        logged_model.log_engine(*run, engine, SHAPE)


def test_an_outage_is_one_sentence(run, engine, monkeypatch):
    def unreachable(*args, **kwargs):
        raise MlflowException("no answer\nand a traceback")

    monkeypatch.setattr(MlflowClient, "search_logged_models", unreachable)
    with pytest.raises(InputError, match=r"\(no answer\)\. The engine is in"):
        logged_model.log_engine(*run, engine, SHAPE)


def test_a_tracker_logs_it_where_it_is_asked_to(project, engine):
    for wanted in (True, False):
        tracker = MLflowRun(None, "tests", model=wanted)
        tracker.begin("a run", {}, {})
        tracker.ready()
        run_id = tracker.run_id
        images = Images(np.zeros((2, *SHAPE), np.float32), np.arange(2))
        dataset = tracker.log_images("digits", images, "testing", "Try again.")
        model = tracker.log_engine(engine, SHAPE, (), None, {"test_accuracy": 0.5}, dataset)
        tracker.abandon("KILLED")
        assert (model is not None) == wanted
        client, experiment_id = connect(None, "tests")
        assert len(models_of(client, run_id, experiment_id)) == wanted
        if model:
            # What the list of models shows by itself: figures on a dataset.
            found = {each.key: each for each in client.get_logged_model(model).metrics}
            accuracy = found["test_accuracy"]
            assert (accuracy.value, accuracy.dataset_name) == (0.5, "digits")
            assert accuracy.dataset_digest == dataset.digest
