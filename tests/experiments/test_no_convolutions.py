"""Runs on a baseline without convolutions, of which nothing is evolved."""

import json
import shutil

import numpy as np
import pytest

from experiments.stages import Experiment
from slicing.data import mnist
from slicing.engine.engine import Engine
from slicing.engine.export import to_litert, to_onnx
from tests.experiments.runs import run_here


@pytest.fixture(scope="module")
def plain(tiny):
    return [
        *(each for each in tiny if not each.startswith("baseline")),
        "baseline=naive_bayes", "baseline.features=hog",
    ]  # fmt: skip


ENGINES = {
    "pixels": [],
    "pca": ["slicing.projection=pca", "slicing.components=5", "slicing.storage=int8"],
    "lda": [
        "slicing.projection=lda", "slicing.average=1", "slicing.references=prototypes",
        "slicing.per_class=3", "slicing.k=3", "slicing.tuning_generations=1", "protocol=test",
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", ENGINES)
def test_a_run_goes_to_its_end_and_says_that_nothing_is_evolved(kind, plain, digits, tmp_path):
    run = run_here([*plain, *ENGINES[kind]], tmp_path)
    assert run.summary.title == "naive_bayes-hog-mnist-s0"
    names = ["baseline", "sliced", *(["engine"] if kind != "pixels" else [])]
    assert [*run.summary.networks] == names
    assert run.summary.networks["sliced"].name.startswith("k-NN on the pixels")
    assert run.summary.networks["baseline"].test.value > 0.5
    assert run.summary.saved.test.value > 0.5
    facts = run.summary.facts()
    assert [fact for fact in facts if "evol" in fact] == [
        "Nothing is evolved: this baseline has no kernels that evolution may move"
    ]
    assert any(fact.startswith("the saved engine instead of the baseline") for fact in facts)
    said = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    assert sum("Nothing is evolved" in line.get("text", "") for line in said) == 1
    # The test images choose nothing, under whatever protocol.
    assert "LEAKS" not in run.summary.text()
    assert "leaks" not in run.run.data.tags
    report = (run.folder / "report.html").read_text()
    assert "Nothing is evolved" in report
    assert "Loss over the evaluations" not in report
    assert not (run.folder / "convergence.png").exists()
    assert not {"sliced/loss", "evolved/loss"} & run.run.data.metrics.keys()
    assert run.run.data.metrics["engine/test_accuracy"] == run.summary.saved.test.value
    engine = Engine.load(run.folder / "engine.safetensors")
    images = mnist(directory=digits, train_size=120, test_size=60).read_test_all().images
    labels = engine.predict_labels(images)
    np.testing.assert_array_equal(labels, np.load(run.folder / "predictions.npz")[names[-1]])
    check_exports(engine, images, labels)


def check_exports(engine, images, labels):
    """Compare labels; of pixels, which have few levels, distances tie, and sums round them."""
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    session = onnxruntime.InferenceSession(to_onnx(engine), providers=["CPUExecutionProvider"])
    assert np.mean(session.run(["label"], {"images": images})[0] == labels) > 0.99
    litert = Interpreter(model_content=to_litert(engine)).get_signature_runner()
    assert np.mean(litert(images=images)["label"] == labels) > 0.99


def test_a_killed_run_is_resumed(plain, tmp_path, monkeypatch):
    engines = Experiment.engines

    def killed(self, *stacks):
        shutil.copytree(tmp_path / "here", tmp_path / "killed")
        return engines(self, *stacks)

    (tmp_path / "here").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Experiment, "engines", killed)
        whole = run_here(plain, tmp_path / "here")
    folder = tmp_path / "killed" / "results"
    resumed = run_here([*plain, f"resume={folder}"], tmp_path / "killed")
    assert resumed.run.info.run_id == whole.run.info.run_id
    assert resumed.summary.networks == whole.summary.networks
    assert not (folder / "checkpoint" / "run.state").exists()


def test_new_classes_are_learned_beside_the_baseline_that_is_trained_again(plain, tmp_path):
    options = ["new.classes=['9']", "new.images=[5]", "new.retrain=true"]
    [addition] = run_here([*plain, *options], tmp_path).summary.additions
    assert addition.cnn.old.value > 0.5
    assert addition.engine.old.value > 0.5


def test_a_recurrent_network_is_compared_with_the_k_nn_on_the_pixels(plain, tmp_path):
    options = [each for each in plain if not each.startswith("baseline")]
    options += ["baseline=lstm", "baseline.units=8", "baseline.epochs=2"]
    run = run_here([*options, f"baseline.cache_dir={tmp_path}"], tmp_path)
    assert [each.name for each in run.summary.rows] == ["lstm8", "k-NN on the pixels"]
    assert len(run.summary.training) == 2
    assert "The baseline's loss" in (run.folder / "report.html").read_text()
