"""The engine that a run leaves: as small as asked for, in its folder, in MLflow, and served."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path

import mlflow
import numpy as np
import pytest
import requests
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import scoring_server

from evolve.optimizers import CMAES
from experiments.mlflow_store import global_address
from experiments.overrides import check
from experiments.recipes import check_options, recipe_of, tune_of
from experiments.schema.run import plain
from slicing.baselines import UntrainedCNN
from slicing.data import mnist
from slicing.engine.engine import Engine
from slicing.errors import InputError
from tests.experiments.runs import run_here


@pytest.fixture(scope="module")
def compact(tiny, tmp_path_factory):
    """A run whose engine is as small as it gets."""
    smaller = [
        "slicing=small", "slicing.projection=lda", "slicing.per_class=2",
        "slicing.tuning_generations=3",
    ]  # fmt: skip
    options = [*tiny, *smaller, "strategy.passes=1", "tracking.model=true"]
    return run_here(options, tmp_path_factory.mktemp("compact"))


@pytest.fixture(scope="module")
def unseen(digits):
    return mnist(directory=digits, train_size=120, test_size=60).read_test()


def test_the_file_is_what_was_measured(compact, unseen):
    path = compact.folder / "engine.safetensors"
    engine = Engine.load(path)
    metrics = compact.run.data.metrics
    accuracy = (engine.predict_labels(unseen.images) == unseen.labels).mean()
    assert metrics["engine/test_accuracy"] == pytest.approx(accuracy)
    assert metrics["engine/total_bytes"] == path.stat().st_size < 4000
    assert metrics["engine/conv_bytes"] == engine.conv_bytes
    assert metrics["engine/reference_bytes"] == engine.reference_bytes == 2 * 10 * (9 + 1)
    assert (engine.k, len(engine.labels), engine.references.shape[1]) == (1, 20, 9)
    text = (compact.folder / "summary.md").read_text()
    assert "its engine: 2 prototypes a class, tuned, int8" in text


def test_all_references_are_the_engine_where_nothing_else_is_asked_for(finished):
    engine = Engine.load(finished.folder / "engine.safetensors")
    assert len(engine.labels) == 200
    for number, conv in enumerate(engine.stack.convs, 1):
        np.testing.assert_array_equal(conv.weights, finished.kernels[f"conv{number}_weights"])
    assert "its engine" not in (finished.folder / "summary.md").read_text()


def test_all_engines_of_a_run_are_averaged(tiny, digits, unseen, tmp_path):
    options = [*tiny, "slicing=int8", "strategy.passes=0", "slicing.average=1"]
    run = run_here(options, tmp_path)
    saved = Engine.load(run.folder / "engine.safetensors")
    assert (saved.average, saved.step is None) == (1, False)
    metrics = run.run.data.metrics
    assert metrics["engine/test_accuracy"] == saved.score(unseen.images, unseen.labels)
    data = mnist(directory=digits, train_size=120, test_size=60)
    stack = UntrainedCNN(filters=(2, 3)).build(data.train, data.classes).stack
    whole = Engine.fit(stack, data.train, data.classes, average=1)
    accuracy = whole.score(unseen.images, unseen.labels)
    assert metrics["evolved/test_accuracy"] == metrics["sliced/test_accuracy"] == accuracy
    assert accuracy != replace(whole, average=0).score(unseen.images, unseen.labels)
    assert "sliced, averaged over 1 px, not evolved" in (run.folder / "summary.md").read_text()


@pytest.fixture(scope="module")
def model_uri(compact):
    [output] = compact.run.outputs.model_outputs
    return f"models:/{output.model_id}"


@pytest.fixture
def tracking(compact):
    uri = compact.client.tracking_uri
    with global_address(uri):
        yield uri


def test_mlflow_has_the_engine_as_a_model(compact, model_uri, tracking, unseen):
    engine = Engine.load(compact.folder / "engine.safetensors")
    model = mlflow.pyfunc.load_model(model_uri)
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 28, 28, 1)
    np.testing.assert_array_equal(model.predict(unseen.images), engine.predict(unseen.images))
    # The signature's type is MLflow's own check; the model says how to meet it.
    bytes_ = np.rint(unseen.images * 255).astype(np.uint8)
    for others in (bytes_, unseen.images.astype(float)):
        with pytest.raises(MlflowException, match="does not match expected dtype float32"):
            model.predict(others)
    assert "divide uint8 from 0 to 255 by np.float32(255)" in model.metadata.metadata["pixels"]
    np.testing.assert_array_equal(model.predict(bytes_ / np.float32(255)), engine.predict(bytes_))
    shares = model.predict(unseen.images, params={"proba": True})
    np.testing.assert_array_equal(shares, engine.predict_proba(unseen.images))


def post(app, query):
    """Send JSON to a scoring server, as Uvicorn would; its status and its answer."""
    body, sent = [{"type": "http.request", "body": json.dumps(query).encode()}], []

    async def receive():
        return body.pop() if body else await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/invocations", "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(each.get("body", b"") for each in sent))


@pytest.mark.parametrize("form", ["inputs", "instances"])
def test_a_server_answers_pixels_from_0_to_1_alone(form, compact, model_uri, tracking, unseen):
    engine = Engine.load(compact.folder / "engine.safetensors")
    app = scoring_server.init(mlflow.pyfunc.load_model(model_uri))
    images = unseen.images[:5]
    status, answer = post(app, {form: images.tolist()})
    assert (status, answer["predictions"]) == (200, engine.predict(images).tolist())
    status, answer = post(app, {form: images.tolist(), "params": {"evidence": True}})
    found = engine.evidence(images)
    assert [each["class"] for each in answer["predictions"]] == engine.predict(images).tolist()
    assert [each["margin"] for each in answer["predictions"]] == found.margins.tolist()
    assert {each["confidence"] for each in answer["predictions"]} == {None}
    bytes_ = np.rint(images * 255).astype(int)
    for wrong, sentence in (
        (bytes_.tolist(), "run from 0 to 255, and must be from 0 to 1: divide those of 0 to 255"),
        ((images - 1).tolist(), "run from -1 to 0"),
        (np.full_like(images, np.nan).tolist(), "not finite"),
        ([[[[None]] * 28] * 28], "not finite"),
        ((images.astype(float) * 1e308).tolist(), "not finite"),
    ):
        status, answer = post(app, {form: wrong})
        assert status == 400
        assert answer["error_code"] == "INVALID_PARAMETER_VALUE"
        assert sentence in answer["message"]
        assert "Traceback" not in json.dumps(answer)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_model_is_served(compact, model_uri, tracking, unseen, tmp_path):
    engine = Engine.load(compact.folder / "engine.safetensors")
    port = free_port()
    # As in an activated environment: MLflow looks for uvicorn there.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model_uri,
             "--env-manager", "local", "--port", str(port)],
            cwd=tmp_path,
            env=os.environ | {"MLFLOW_TRACKING_URI": tracking, "PATH": path,
                              "NUMBA_CACHE_DIR": str(tmp_path / "numba")},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while True:
            try:
                assert requests.get(f"{address}/ping", timeout=5).ok
                break
            except requests.ConnectionError:
                if server.poll() is not None or time.monotonic() > deadline:
                    pytest.fail((tmp_path / "log").read_text())
                time.sleep(0.5)
        compiled = {*tmp_path.rglob("numba/**/*.nbc")}
        assert compiled
        for n, params in product((1, 5), ({}, {"evidence": True})):
            query = {"inputs": unseen.images[:n].tolist(), "params": params}
            answer = requests.post(f"{address}/invocations", json=query, timeout=300)
            found = answer.json()["predictions"]
            names = [each["class"] for each in found] if params else found
            assert names == engine.predict(unseen.images[:n]).tolist()
        # It was ready when it said so.
        assert {*tmp_path.rglob("numba/**/*.nbc")} == compiled
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["slicing.projection=lda", "slicing.components=10"], "components=10 .* choose 1 to 9"),
        (["slicing.projection=pca", "slicing.components=0"], "components=0"),
        (["slicing=prototypes", "slicing.per_class=0"], "per_class=0"),
        (["slicing.tuning_generations=3"], "add slicing.references=prototypes"),
        (["slicing=tuned", "slicing.tuning_generations=-1"], "tuning_generations=-1"),
        (["slicing.components=5"], "slicing.components=5 belongs to a projection"),
        (["slicing.average=28"], "slicing.average=28 is out of range: choose 0 to 27 pixels"),
        (["slicing.average=-1", "slicing.projection=none"], "slicing.average=-1"),
        (
            ["slicing=prototypes", "slicing.per_class=1", "slicing.k=11"],
            "slicing.k=11 is out of range: choose 1 to 10 references",
        ),
        (["slicing=tuned", "optimizer=deap_cmaes", "baseline.filters=[2,30]"], "at most 500"),
    ],
)
def test_what_cannot_be_is_refused_at_once(tiny, options, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        run_here([*tiny, *options], tmp_path)
    assert not (tmp_path / "results" / "kernels.npz").exists()


@pytest.mark.parametrize("option", ["int8", "condensed", "prototypes", "tuned", "small"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_every_kind_of_engine(option, metric, digits, unseen):
    [config] = check([f"slicing={option}", "slicing.per_class=2", f"slicing.metric={metric}"])
    options = plain(config)["slicing"]
    options["tuning_generations"] = min(options["tuning_generations"], 2)
    data = mnist(directory=digits, train_size=120, test_size=60)
    stack = UntrainedCNN(filters=(2, 3)).build(data.train, data.classes).stack
    check_options(options, stack, data.train, CMAES)
    shown = []
    tune = tune_of(options, CMAES, 0)
    recipe = recipe_of(options)
    engine = recipe.build(
        stack, data.train, data.classes, tune=tune, show=lambda done, text: shown.append(done)
    )
    assert engine.score(unseen.images, unseen.labels) > 0.4
    assert (engine.step is not None) == (option in ("int8", "small"))
    n_references = len(engine.labels)
    if option == "condensed":
        assert 10 <= n_references < 120
    else:
        assert n_references == (120 if option == "int8" else 20)
    assert shown == sorted(shown)
    assert 0 <= shown[0] <= shown[-1] <= 1
    again = recipe.build(stack, data.train, data.classes, tune=tune)
    np.testing.assert_array_equal(again.references, engine.references)


def test_an_mlflow_that_takes_no_model_loses_nothing(tiny, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise MlflowException("no space for models")

    options = [*tiny, "strategy.generations=1", "block.layers=[1]", "tracking.model=true"]
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.models.Model.log", refuse)
        with pytest.raises(InputError, match=r"did not take everything .* The engine is in"):
            run_here(options, tmp_path)
    for name in ("summary.md", "engine.safetensors", "confusion.png", "kernels.npz"):
        assert (tmp_path / "results" / name).exists(), name
    # And it goes on from there: with one model in the end.
    result = run_here([*options, f"resume={tmp_path / 'results'}"], tmp_path)
    assert len(result.run.outputs.model_outputs) == 1
