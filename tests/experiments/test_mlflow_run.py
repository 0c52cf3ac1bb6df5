import http.server
import json
import threading

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from evolve.events import BlockEnd, Generation
from experiments import mlflow_run
from experiments.dead_runs import PROCESS, this_process
from experiments.mlflow_run import MLflowRun, leaves
from experiments.mlflow_store import connect
from slicing.data import Images
from slicing.errors import InputError
from slicing.names import shown

FILES = ("figure.png", "config.yaml", "missing.txt")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder with a database in it; making one takes seconds."""
    folder = tmp_path_factory.mktemp("a project #1")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        connect(None, "tests")
    return folder


@pytest.fixture
def tracker(project, monkeypatch):
    monkeypatch.chdir(project)
    tracker = MLflowRun(None, "tests")
    tracker.begin("a run", {"a": 1, "b.c": [1, 2], "d": None}, {"dataset": "digits", "threads": 2})
    tracker.ready()
    return tracker


@pytest.fixture
def latest(project):
    def read():
        client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("tests")
        return client, client.search_runs([experiment.experiment_id], max_results=1)[0]

    return read


def values(latest, metric):
    client, run = latest()
    return [(each.step, each.value) for each in client.get_metric_history(run.info.run_id, metric)]


def test_the_database_is_in_the_project_with_the_artifacts_beside_it(project, tracker, latest):
    assert (project / "mlflow.db").is_file()
    _, run = latest()
    assert run.info.artifact_uri.startswith((project / "mlartifacts").as_uri())


def test_parameters_and_tags(tracker, latest):
    _, run = latest()
    assert run.info.run_name == "a run"
    assert run.info.status == "RUNNING"
    assert run.data.params == {"a": "1", "b.c": "[1, 2]", "d": "None"}
    assert {k: v for k, v in run.data.tags.items() if not k.startswith("mlflow.")} == {
        "dataset": "digits",
        "threads": "2",
        PROCESS: this_process(),
    }


def test_more_and_longer_parameters_than_mlflow_takes_at_once(project, monkeypatch, latest):
    monkeypatch.chdir(project)
    tracker = MLflowRun(None, "tests")
    tracker.begin("many", {f"p{i}": "x" * 7000 if i == 7 else i for i in range(250)}, {})
    tracker.ready()
    _, run = latest()
    assert len(run.data.params) == 250
    assert run.data.params["p249"] == "249"
    assert run.data.params["p7"].startswith("x" * 1000)
    assert len(run.data.params["p7"]) <= 6000


def test_metrics_are_gathered_and_none_is_lost(tracker, latest, tmp_path, monkeypatch):
    calls = []
    log_batch = MlflowClient.log_batch

    def counted(self, *args, **kwargs):
        calls.append(len(kwargs["metrics"]))
        return log_batch(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", counted)
    for step in range(1500):
        tracker.log({"loss": 1 / (step + 1), "sigma": step}, step)
    tracker.finish(tmp_path, FILES, "note")
    assert sum(calls) == 3000
    assert max(calls) <= 1000
    assert len(calls) <= 10
    assert values(latest, "loss") == [(step, 1 / (step + 1)) for step in range(1500)]
    assert values(latest, "sigma") == [(step, float(step)) for step in range(1500)]


def test_metrics_arrive_while_the_run_goes_on(tracker, latest, monkeypatch):
    monkeypatch.setattr(mlflow_run, "_SECONDS", 0.0)
    tracker.log({"first": 1.0})  # begin() set the time of the first flush
    tracker._next_flush = 0.0
    tracker.log({"loss": 2.0})
    assert values(latest, "loss") == [(0, 2.0)]
    assert values(latest, "first") == [(0, 1.0)]


def test_an_outage_costs_no_point(tracker, latest, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(mlflow_run, "_SECONDS", 0.0)
    monkeypatch.setattr(mlflow_run, "_PATIENCE", 0.0)
    tracker._next_flush = 0.0
    with monkeypatch.context() as outage:
        outage.setattr(MlflowClient, "log_batch", _unreachable)
        for step in range(3):
            tracker.log({"loss": step}, step)
    assert "MLflow does not answer" in caplog.text
    tracker.log({"loss": 3}, 3)
    tracker.finish(tmp_path, FILES, "note")
    assert values(latest, "loss") == [(step, float(step)) for step in range(4)]


def _unreachable(*args, **kwargs):
    raise MlflowException("no answer\nand a traceback")


def test_an_outage_at_the_end_is_one_sentence_that_says_where_the_results_are(
    tracker, tmp_path, monkeypatch
):
    (tmp_path / "figure.png").write_bytes(b"content")
    monkeypatch.setattr(MlflowClient, "log_artifact", _unreachable)
    with pytest.raises(
        InputError, match=rf"\(no answer\)\. All results are in {tmp_path}"
    ) as error:
        tracker.finish(tmp_path, FILES, "note")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("error", "raised", "sentence"),
    [
        (MlflowException("no answer"), InputError, r"\(no answer\)\. Try again when it does"),
        (ImportError("No module named 'boto3'"), InputError, "boto3'\\): install what it needs"),
        (PermissionError(13, "Permission denied", "mlartifacts"), OSError, "mlartifacts"),
    ],
)
def test_a_store_that_takes_no_files_is_known_at_the_start(
    error, raised, sentence, project, tmp_path, monkeypatch
):
    def refuse(*args):
        raise error

    monkeypatch.chdir(project)
    monkeypatch.setattr(MlflowClient, "log_artifact", refuse)
    tracker = MLflowRun(None, "tests")
    tracker.begin("a run", {}, {}, first=tmp_path / "config.yaml")
    with pytest.raises(raised, match=sentence):
        tracker.ready()
    tracker.abandon("FAILED")


def test_images_are_datasets_of_the_run_once(tracker, latest):
    for context, n in (("training", 5), ("testing", 3), ("training", 5)):
        images = Images(np.zeros((n, 4, 6, 1), np.float32), np.arange(n))
        found = tracker.log_images("d\x1b" + 600 * "x", images, context, "Try again.")
        assert images.digest.startswith(found.digest)
    _, run = latest()
    inputs = {each.tags[0].value: each.dataset for each in run.inputs.dataset_inputs}
    assert len(run.inputs.dataset_inputs) == len(inputs) == 2
    assert inputs["testing"].name.startswith("d\\u001bxxx")
    profile = json.loads(inputs["testing"].profile)
    assert (profile["images"], profile["height, width, channels"]) == (3, [4, 6, 1])
    tracker.abandon("KILLED")


def test_images_that_mlflow_does_not_take_are_one_sentence(tracker, monkeypatch):
    monkeypatch.setattr(MlflowClient, "log_inputs", _unreachable)
    images = Images(np.zeros((1, 4, 6, 1), np.float32), np.arange(1))
    with pytest.raises(InputError, match=r"\(no answer\)\. Try again\.$"):
        tracker.log_images("d", images, "training", "Try again.")
    tracker.abandon("KILLED")


def test_the_end_of_a_run(tracker, latest, tmp_path):
    for name in ("figure.png", "config.yaml", "of_the_user.txt"):
        (tmp_path / name).write_bytes(b"content")
    tracker.finish(tmp_path, FILES, "| a | table |")
    client, run = latest()
    assert run.info.status == "FINISHED"
    assert run.data.tags["status"] == "finished"
    assert run.data.tags["mlflow.note.content"] == "| a | table |"
    assert {item.path for item in client.list_artifacts(run.info.run_id)} == {
        "figure.png",
        "config.yaml",
    }


def test_an_interrupted_run(tracker, latest, tmp_path):
    tracker.finish(tmp_path, FILES, "note", interrupted=True)
    _, run = latest()
    assert (run.info.status, run.data.tags["status"]) == ("KILLED", "interrupted")


@pytest.mark.parametrize("status", ["FAILED", "KILLED"])
def test_an_abandoned_run_keeps_its_metrics(tracker, latest, status):
    tracker.log({"loss": 1.0})
    tracker.abandon(status)
    tracker.abandon("FINISHED")  # it has ended: nothing happens
    _, run = latest()
    assert (run.info.status, run.data.tags["status"]) == (status, status.lower())
    assert run.data.metrics == {"loss": 1.0}


def test_a_run_that_never_began_is_not_marked(project, monkeypatch, latest):
    monkeypatch.chdir(project)
    _, before = latest()
    MLflowRun(None, "tests").abandon("FAILED")
    _, after = latest()
    assert before.info.run_id == after.info.run_id


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "sqlite:////proc/nothing/mlflow.db", "/some/folder", "what://is"]
)
def test_a_store_that_cannot_be_used_is_one_sentence(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(InputError, match=rf"MLflow cannot use tracking\.uri={uri} ") as error:
        connect(uri, "tests")
    assert "\n" not in str(error.value)


def test_a_server_that_is_no_mlflow_is_one_sentence(monkeypatch):
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    try:
        with pytest.raises(InputError, match=r"MLflow cannot use tracking\.uri") as error:
            connect(f"http://127.0.0.1:{server.server_port}", "tests")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert "\n" not in str(error.value)


def test_a_deleted_experiment_is_one_sentence(project, monkeypatch):
    monkeypatch.chdir(project)
    client, experiment_id = connect(None, "deleted")
    client.delete_experiment(experiment_id)
    with pytest.raises(InputError, match="experiment deleted was deleted: restore it"):
        connect(None, "deleted")


def test_leaves():
    config = {"a": 1, "b": {"c": [1], "d": {"e": None}}, "empty": {}}
    assert leaves(config) == {"a": 1, "b.c": [1], "b.d.e": None}


def test_it_begins_in_the_background_and_tells_its_id(project, monkeypatch, latest):
    monkeypatch.chdir(project)
    ids = []
    tracker = MLflowRun(None, "tests")
    tracker.log({"early": 1.0})
    tracker.begin("in the background", {}, {}, ids.append)
    tracker.ready()
    _, run = latest()
    assert ids == [tracker.run_id] == [run.info.run_id]
    tracker.abandon("KILLED")
    assert values(latest, "early") == [(0, 1.0)]
    # It goes on in a folder whose name is no text.
    again = MLflowRun(None, "tests")
    again.begin("again", {}, {"folder": "b\udcff"}, earlier=ids[0])
    again.ready()
    _, run = latest()
    assert (run.info.run_id, run.data.tags["folder"]) == (ids[0], shown("b\udcff"))
    again.abandon("KILLED")


def test_a_store_that_cannot_be_used_is_told_by_ready_and_leaves_no_run(monkeypatch):
    tracker = MLflowRun("/some/folder", "tests")
    tracker.begin("a run", {}, {})
    with pytest.raises(InputError, match=r"MLflow cannot use tracking\.uri=/some/folder "):
        tracker.ready()
    tracker.abandon("FAILED")  # nothing to mark


def test_generations_and_blocks_are_metrics(tracker, latest, make_schedule):
    schedule = make_schedule()
    events = list(schedule)
    for event in events:
        tracker.event(event)
    tracker.abandon("KILLED")
    generations = [each for each in events if isinstance(each, Generation)]
    ends = [each for each in events if isinstance(each, BlockEnd)]
    assert values(latest, "evolve/best_loss") == [
        (step, each.best_loss) for step, each in enumerate(generations, 1)
    ]
    assert values(latest, "block/loss") == [(end.block_number, end.loss_after) for end in ends]
