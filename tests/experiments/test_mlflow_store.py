"""Where runs are recorded: folders of any name, MLflow's own environment variables."""

import shutil

import mlflow
import pytest
from mlflow import MlflowClient, artifacts

from experiments.mlflow_store import connect, given_address, global_address
from slicing.errors import InputError
from tests.experiments.runs import command_line, finish, forked, give_store, runs_of

NAMES = [
    "a?b",
    "a#b",
    "100%41",
    "two words é 日本",
    "'\"",
    "x:y@z",
    "back\\slash",
    "a;b=1&c",
    "a\nb",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_may_have_any_name(name, tmp_path, monkeypatch):
    folder = tmp_path / name
    folder.mkdir()
    give_store(folder)
    monkeypatch.chdir(folder)
    client, experiment = connect(None, "mine")
    run = client.create_run(experiment)
    client.log_text(run.info.run_id, "noted", "note.txt")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlartifacts"}
    [note] = folder.glob("mlartifacts/*/*/note.txt")
    assert note.read_text() == "noted"


def test_a_database_is_made_in_one(tmp_path, monkeypatch):
    folder = tmp_path / "?%41#"
    folder.mkdir()
    monkeypatch.chdir(folder)
    connect(None, None)
    assert [path.name for path in folder.iterdir()] == ["mlflow.db"]
    assert [path.name for path in tmp_path.iterdir()] == ["?%41#"]


def noted(project, monkeypatch, text):
    """Log a text in a new run of a project, and read the texts of all runs."""
    monkeypatch.chdir(project)
    client, experiment = connect(None, "mine")
    run = client.create_run(experiment).info.run_id
    client.log_text(run, text, "note.txt")
    runs = client.search_runs([experiment], order_by=["start_time"])
    return [artifacts.load_text(f"{run.info.artifact_uri}/note.txt") for run in runs]


@pytest.mark.parametrize("name", ["new", "two words %41", "it's"])
@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_folder_that_was_moved_or_copied_takes_its_files_along(how, name, tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / name
    old.mkdir()
    give_store(old)
    assert noted(old, monkeypatch, "first") == ["first"]
    monkeypatch.chdir(tmp_path)
    if how == "moved":
        old.rename(new)
    else:
        shutil.copytree(old, new)
        before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    assert noted(new, monkeypatch, "second") == ["first", "second"]
    assert len([*new.glob("mlartifacts/*/*/note.txt")]) == 2
    if how == "moved":
        assert not old.exists()
    else:
        assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before


def test_files_that_did_not_come_along_and_places_of_others_stay(tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    give_store(old)
    theirs = (tmp_path / "theirs").as_uri()
    monkeypatch.chdir(old)
    client, _ = connect(None, "mine")
    client.create_experiment("theirs", theirs)
    noted(old, monkeypatch, "first")
    shutil.copy(old / "mlflow.db", new)
    assert noted(new, monkeypatch, "second") == ["first", "second"]
    assert not (new / "mlartifacts").exists()
    client, _ = connect(None, "theirs")
    assert client.get_experiment_by_name("theirs").artifact_location == theirs


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A store that the environment names."""
    (tmp_path / "elsewhere").mkdir()
    give_store(tmp_path / "elsewhere")
    address = f"sqlite:///{tmp_path}/elsewhere/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    return address


@pytest.mark.parametrize(("experiment", "name"), [(None, "theirs"), ("mine", "mine")])
def test_what_the_environment_says_holds_where_no_option_is_given(
    experiment, name, elsewhere, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    _, identity = connect(None, experiment)
    assert MlflowClient(elsewhere).get_experiment(identity).name == name
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
    give_store(tmp_path)
    here = f"sqlite:///{tmp_path}/mlflow.db"
    _, identity = connect(here, experiment)
    assert MlflowClient(here).get_experiment(identity).name == name


@pytest.mark.parametrize("given", [None, "http://host:5000"])
def test_what_mlflow_notes_in_the_environment_is_not_taken_for_the_users(given, monkeypatch):
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given or "")
    if given is None:
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with global_address("sqlite:///one.db"):
        assert mlflow.get_tracking_uri() == "sqlite:///one.db"
    assert given_address(None) == given
    assert mlflow.get_tracking_uri() in (before, given)


def test_a_sentence_names_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://x")
    with pytest.raises(InputError, match=r"^MLflow cannot use MLFLOW_TRACKING_URI=nonsense://x "):
        connect(None, None)
    with pytest.raises(InputError, match=r"^MLflow cannot use tracking\.uri=odd://x "):
        connect("odd://x", None)


def test_a_run_says_that_the_environment_names_the_store(elsewhere, tiny, tmp_path):
    found = finish(command_line([*tiny, "strategy.generations=1"], tmp_path))
    assert found.code == 0, found.err
    assert f"Recording in MLflow at {elsewhere}\n" in found.err
    # With an address that is given, MLflow decides where artifacts are.
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", "mlruns", "outputs"}


def test_the_working_directory_is_that_of_the_start(digits, tiny, tmp_path):
    give_store(tmp_path)
    (tmp_path / "images").symlink_to(digits)
    small = [each for each in tiny if not each.startswith(("data.directory", "strategy.passes"))]
    arguments = [*small, "data.directory=images", "strategy.generations=1", "seed=0,1"]
    found = forked(["--multirun", "hydra.job.chdir=true", *arguments], tmp_path)
    assert found.code == 0, found.err
    assert [run.info.status for run in runs_of(tmp_path)[1]] == ["FINISHED", "FINISHED"]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"images", "mlflow.db", "mlartifacts", "multirun"}
    assert len(list(tmp_path.rglob("mlflow.db"))) == 1
