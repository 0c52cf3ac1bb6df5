import errno
import json
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

import slicing.backend
import slicing.data
from experiments import pipeline
from experiments.components import BY_DEFAULT, Components
from experiments.environment import set_threads
from experiments.history import GENERATIONS
from experiments.mlflow_run import leaves
from experiments.monitor import Interrupts, Silent
from experiments.overrides import check
from experiments.recorder import EVENTS, Recorder
from experiments.schema.docs import CONF
from experiments.schema.run import plain
from experiments.statistics import Comparison
from slicing.baselines import SavedCNN
from slicing.data import mnist
from slicing.engine.engine import Engine
from slicing.engine.reduction import project
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Pool
from tests.experiments.runs import N_TEST, run_here, runs_of

# That for photos is run on a folder.
PRESETS = sorted(
    path.stem for path in (CONF / "experiment").glob("*.yaml") if path.stem != "photos"
)


def test_metrics_of_the_end(finished):
    metrics = finished.run.data.metrics
    assert finished.summary.metrics().items() <= metrics.items()
    for network in ("baseline", "sliced", "evolved"):
        for which in ("test_accuracy", "test_accuracy_all"):
            assert 0.05 < metrics[f"{network}/{which}"] <= 1
    n_conv = 4 * (9 + 1) + 6 * (9 * 4 + 1)
    n_features = 5 * 5 * 6
    assert metrics["model/parameters"] == n_conv
    assert metrics["baseline/parameters"] == n_conv + (n_features + 1) * 8 + 9 * 10
    assert metrics["baseline/engine_bytes"] == 4 * metrics["baseline/parameters"]
    assert metrics["engine/conv_bytes"] == 4 * n_conv
    assert metrics["engine/reference_bytes"] == 200 * (4 * n_features + 1)
    assert metrics["engine/total_bytes"] == (finished.folder / "engine.safetensors").stat().st_size
    assert metrics["time/train_seconds"] > 0
    assert metrics["time/evolve_seconds"] > 0


def test_evolution_lowers_the_loss(finished):
    assert finished.summary.loss_after < finished.summary.loss_before


def test_metrics_of_every_generation_and_block(finished):
    evaluations = finished.history("evolve/evaluations")
    assert [each.step for each in evaluations] == list(range(1, 13))
    assert evaluations[-1].value < finished.summary.evaluations
    for name in ("evolve/best_loss", "evolve/mean_loss", "evolve/sigma"):
        assert [each.step for each in finished.history(name)] == list(range(1, 13))
    blocks = finished.history("block/loss")
    assert [each.step for each in blocks] == list(range(6))
    losses = [each.value for each in blocks]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == finished.summary.loss_after


def test_every_leaf_of_the_configuration_is_a_parameter(finished, small):
    [config] = check(small)
    wanted = {name: str(value) for name, value in leaves(plain(config)).items()}
    del wanted["resume"]  # which is about a process, not about the experiment
    # Null is what suits what is sliced, and recorded as what it was.
    wanted |= {
        f"{group}.{name}": str(values[0])
        for (group, name), values in BY_DEFAULT.items()
        if wanted.get(f"{group}.{name}") == "None"
    }
    assert wanted.items() <= finished.run.data.params.items()
    assert finished.run.data.params["slicing.k"] == "9"
    assert finished.run.data.params["optimizer"] == "cmaes"


def test_the_training_of_the_baseline_epoch_by_epoch(finished):
    training = finished.summary.training
    assert len(training) == 2
    for metric in ("loss", "accuracy"):
        points = [(each.step, each.value) for each in finished.history(f"baseline/{metric}")]
        assert points == [(n, getattr(each, metric)) for n, each in enumerate(training, 1)]


def test_the_images_are_datasets_and_the_model_has_its_accuracy_on_them(finished):
    inputs = finished.run.inputs.dataset_inputs
    found = {each.tags[0].value: each.dataset for each in inputs}
    assert found["training"].name == found["testing"].name == "mnist"
    assert json.loads(found["testing"].profile)["images"] == 60
    digest = finished.run.data.tags["dataset.train_digest"]
    assert digest.startswith(found["training"].digest)
    model = finished.client.get_logged_model(finished.summary.mlflow_model)
    [accuracy] = [each for each in model.metrics if each.dataset_digest == found["testing"].digest]
    assert accuracy.key == "test_accuracy"
    assert accuracy.value == finished.summary.networks["evolved"].test.value


def test_the_networks_are_compared_on_all_test_images(finished):
    found = finished.summary.comparisons
    assert [*found] == ["evolution", "slicing"]
    with np.load(finished.folder / "predictions.npz") as predictions:
        labels, evolved = predictions["labels"], predictions["evolved"]
        for key, first in (("evolution", "sliced"), ("slicing", "baseline")):
            assert found[key] == Comparison.of(predictions[first], evolved, labels)
    assert found["evolution"].total == N_TEST


def test_the_summary_knows_its_command_line_and_its_runs(finished, small):
    values = json.loads((finished.folder / "summary.json").read_text())
    assert values["overrides"] == small
    assert values["mlflow_run"] == finished.run.info.run_id
    assert finished.run.data.tags["overrides"] == " ".join(small)
    [path] = finished.folder.glob("summary.json")
    sent = finished.client.download_artifacts(values["mlflow_run"], path.name)
    assert json.loads(Path(sent).read_text()) == values


def test_tags_name_and_status(finished):
    tags = finished.run.data.tags
    assert finished.run.info.run_name == "cmaes-serial-lenet8-mnist-s0"
    assert finished.run.info.status == "FINISHED"
    assert tags["status"] == "finished"
    assert tags["dataset"] == "mnist"
    assert tags["protocol"] == "leave_one_out"
    assert int(tags["threads"]) >= 1
    for library in ("python", "tensorflow", "numpy", "numba", "cma", "knn-slicing"):
        assert tags[f"version.{library}"]
    assert "leaks" not in tags
    assert tags["mlflow.note.content"] == finished.summary.text()


def test_artifacts(finished):
    files = {item.path for item in finished.client.list_artifacts(finished.run.info.run_id)}
    assert files >= {
        "config.yaml", "kernels.npz", "predictions.npz", "history.csv", "summary.md",
        "convergence.png", "kernels.png", "confusion.png",
    }  # fmt: skip
    assert not any("part" in name for name in files)
    assert "metric: euclidean" in (finished.folder / "config.yaml").read_text()
    assert len((finished.folder / "history.csv").read_text().splitlines()) == 13


def test_the_predictions_are_those_of_the_table(finished):
    with np.load(finished.folder / "predictions.npz") as predictions:
        labels = predictions["labels"]
        assert labels.shape == (N_TEST,)
        for name in ("baseline", "sliced", "evolved"):
            expected = finished.summary.networks[name]
            right = predictions[name] == labels
            assert right.sum() == expected.test_all.correct
            assert right[:60].sum() == expected.test.correct
        assert "engine" not in predictions


def stack_of(kernels):
    layers = []
    for number in (1, 2):
        layers += [Conv(kernels[f"conv{number}_weights"], kernels[f"conv{number}_bias"]), Pool()]
    return ConvStack(tuple(layers), (28, 28, 1))


def test_the_saved_kernels_have_the_accuracy_of_the_table(finished, digits):
    dataset = mnist(directory=digits, train_size=200, test_size=N_TEST)
    test = dataset.read_test()
    stack = stack_of(finished.kernels)
    knn = KNeighborsClassifier(9, algorithm="brute").fit(
        stack.forward(dataset.train.images), dataset.train.labels
    )
    correct = knn.predict(stack.forward(test.images)) == test.labels
    metrics = finished.run.data.metrics
    assert correct.mean() == pytest.approx(metrics["evolved/test_accuracy_all"], abs=1e-9)
    assert correct[:60].mean() == pytest.approx(metrics["evolved/test_accuracy"], abs=1e-9)


def test_with_the_defaults_the_k_nn_sees_discriminants(digits, tmp_path):
    result = run_here(
        [
            "data=mnist", f"data.directory={digits}", "data.train_size=600", "data.test_size=60",
            "baseline.filters=[4,6]", "baseline.epochs=2", "strategy.generations=6",
        ],
        tmp_path,
    )  # fmt: skip
    summary = result.summary
    assert summary.objective == "discriminants"
    # Both on the same images, and by more than another choice of them changes.
    assert summary.loss_after < 0.95 * summary.loss_before
    assert "| sliced, lda, not evolved" in summary.text()
    assert "| evolved by cmaes, lda" in summary.text()
    dataset = mnist(directory=digits, train_size=600, test_size=N_TEST)
    test = dataset.read_test()
    stack = project(stack_of(result.kernels), dataset.train, "lda", shift=1)
    engine = Engine.fit(stack, dataset.train, dataset.classes)
    accuracy = result.run.data.metrics["evolved/test_accuracy_all"]
    assert engine.score(test.images, test.labels) == pytest.approx(accuracy)
    assert accuracy > result.run.data.metrics["baseline/test_accuracy_all"]


def test_losses_on_images_that_change_compare_between_runs(tiny, tmp_path):
    others = ("fitness", "slicing", "block.layers")
    words = [each for each in tiny if not each.startswith(others)]
    found = {}
    for optimizer in ("cmaes", "random"):
        project = tmp_path / optimizer
        project.mkdir()
        overrides = [*words, "fitness=discriminants", f"optimizer={optimizer}"]
        result = run_here(overrides, project)
        [config] = check(overrides)
        components = Components(plain(config), {})
        dataset = components.dataset()
        images = components.split(dataset)
        before = components.baseline().build(images.references, dataset.classes).stack
        after = before.with_conv(
            1,
            Conv(result.kernels["conv2_weights"], result.kernels["conv2_bias"]),
        )
        fitness = components.fitness(before, images)
        assert result.summary.loss_before == fitness.loss
        assert result.summary.loss_after == fitness.loss_of(after) < fitness.loss
        found[optimizer] = result.summary
    assert found["cmaes"].loss_before == found["random"].loss_before
    assert found["cmaes"].loss_after != found["random"].loss_after


@pytest.mark.parametrize("protocol", ["leave_one_out", "validation"])
def test_the_test_images_are_read_after_evolution_and_change_nothing(
    protocol, small, tmp_path, monkeypatch
):
    overrides = [*small, "fitness.neighbors=16", f"protocol={protocol}"]
    results = []
    for name in ("as they are", "scrambled"):
        project = tmp_path / name
        project.mkdir()
        evolved_before_each_reading = []

        def watched(name=name, project=project, seen=evolved_before_each_reading, **options):
            dataset = mnist(**options)

            def reading(read):
                def read_test():
                    seen.append((project / "results" / "kernels.npz").exists())
                    test = read()
                    if name == "scrambled":
                        rng = np.random.default_rng(0)
                        rng.shuffle(test.labels)
                        rng.shuffle(test.images)
                    return test

                return read_test

            object.__setattr__(dataset, "read_test", reading(dataset.read_test))
            object.__setattr__(dataset, "read_test_all", reading(dataset.read_test_all))
            return dataset

        monkeypatch.setattr(slicing.data, "mnist", watched)
        results.append(run_here(overrides, project))
        assert evolved_before_each_reading == [True, True]
    plain, scrambled = results
    assert plain.kernels.keys() == scrambled.kernels.keys()
    for key, array in plain.kernels.items():
        assert array.tobytes() == scrambled.kernels[key].tobytes()
    assert plain.summary.loss_after == scrambled.summary.loss_after
    assert (
        scrambled.summary.networks["evolved"].test.value
        < plain.summary.networks["evolved"].test.value - 0.1
    )
    assert plain.run.data.tags["protocol"] == protocol


def test_protocol_test_leaks_and_says_so(small, tmp_path, caplog):
    result = run_here([*small, "fitness=accuracy", "protocol=test"], tmp_path)
    assert "LEAKS" in result.run.data.tags["leaks"]
    assert result.run.data.tags["protocol"] == "test"
    assert "LEAKS" in caplog.text
    assert "| evolved by cmaes LEAKS" in result.summary.text()
    # What was minimized is what the table shows.
    assert 1 - result.summary.loss_after == pytest.approx(
        result.summary.networks["evolved"].test.value
    )


def test_a_second_run_reads_the_baseline_from_the_cache_and_finds_the_same(
    finished, small, tmp_path
):
    again = run_here(small, tmp_path)
    assert again.summary.from_cache
    assert again.summary.train_seconds == finished.summary.train_seconds
    for key, array in again.kernels.items():
        assert array.tobytes() == finished.kernels[key].tobytes()


def test_rgb_images_in_a_folder_of_ones_own(tmp_path):
    rng = np.random.default_rng(0)
    for channel, name in enumerate(("green leaf", "plum", "sky")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(20):
            pixels = rng.integers(0, 120, (24, 20, 3), dtype=np.uint8)
            pixels[..., channel] += 100
            suffix = "jpg" if number % 2 else "png"
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.{suffix}")
    result = run_here(
        [
            "data=folder", f"data.directory={tmp_path / 'images'}", "data.channels=3",
            "data.image_size=[20,16]", "baseline.filters=[4,4]", "baseline.epochs=20",
            "strategy.generations=1", "slicing.metric=cosine",
            "optimizer=random", "name=my own images", "threads=1",
        ],
        tmp_path,
    )  # fmt: skip
    assert result.run.info.run_name == "my own images"
    assert result.run.data.tags["dataset"] == f"{tmp_path.name}-images"
    assert result.summary.networks["evolved"].test.total == 12
    assert result.summary.networks["evolved"].test.value > 0.8
    assert result.summary.networks["evolved"].test_all is None
    assert result.kernels["conv1_weights"].shape == (3, 3, 3, 4)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_shipped_experiment_runs_shrunk(preset, digits, tmp_path):
    result = run_here(
        [
            f"+experiment={preset}", "+debug=quick", "data=mnist", f"data.directory={digits}",
            "baseline.filters=[4,6]", "new.images=[1,5]", "threads=1",
        ],
        tmp_path,
    )  # fmt: skip
    assert result.run.info.status == "FINISHED"
    assert 0 < result.summary.evaluations <= 210
    # The images of new classes are not among them.
    assert (result.summary.networks["evolved"].test.total == 50) != (preset == "new_class")
    untrained = preset == "no_backprop"
    assert ("baseline/test_accuracy" in result.run.data.metrics) != untrained


def test_a_mistake_that_shows_late_marks_the_run_as_failed(small, tmp_path):
    with pytest.raises(InputError, match=r"learning_rate=1e\+30 is too large"):
        run_here([*small, "baseline.learning_rate=1e30"], tmp_path)
    _, [failed] = runs_of(tmp_path)
    assert failed.info.status == "FAILED"
    assert failed.data.tags["status"] == "failed"


def test_threads_are_set_and_checked():
    cores = numba.config.NUMBA_NUM_THREADS
    try:
        assert set_threads(1) == 1
        assert numba.get_num_threads() == 1
        for threads in (0, cores + 1):
            with pytest.raises(InputError, match=rf"threads={threads} is out of range: choose 1"):
                set_threads(threads)
    finally:
        set_threads(None)
    assert numba.get_num_threads() == cores


def test_the_second_ctrl_c_ends_at_once(capfd):
    # Where the tests run in the background, Ctrl-C is ignored.
    before = signal.default_int_handler
    at_first = signal.signal(signal.SIGINT, before)
    told = []
    with Interrupts(told.append) as interrupts:
        assert interrupts.stop_reason() is None
        signal.raise_signal(signal.SIGINT)
        assert told == ["interrupted"]
        assert interrupts.stop_reason() == "interrupted"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.signal(signal.SIGINT, at_first) is before
    assert capfd.readouterr().err.count("Ctrl-C again ends at once") == 1


def test_runs_outside_the_main_thread(small, tmp_path):
    """Where there are no signals: in a notebook's or a launcher's thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(run_here(small, tmp_path)))
    thread.start()
    thread.join()
    [result] = found
    assert result.run.info.status == "FINISHED"


class Stubs(Silent):
    """What a run is made of, with nothing to compute; each may fail."""

    def __init__(self, monkeypatch):
        self.happened, self.failures = [], {}
        for name in ("MLflowRun", "Experiment"):
            monkeypatch.setattr(pipeline, name, lambda *args, **options: self)

    def say(self, text):
        self.happened.append(text)

    def begin(self, name, parameters, tags, begun, *others):
        begun("a run")

    def run(self):
        self.fail("run")
        return SimpleNamespace(interrupted=False, text=str)

    def finish(self, *args):
        self.fail("finish")

    def abandon(self, status):
        self.happened.append(f"abandoned {status}")

    def fail(self, where):
        if where in self.failures:
            raise self.failures[where]


@pytest.fixture
def stubs(monkeypatch):
    return Stubs(monkeypatch)


def start(overrides, folder, monitor):
    [config] = check(overrides)
    pipeline.run(config, {"baseline": "random"}, folder, overrides, monitor)


def test_the_mlflow_run_ends_where_the_folder_takes_nothing_more(
    stubs, tiny, tmp_path, monkeypatch
):
    full = OSError(errno.ENOSPC, "No space left on device")

    def end(folder, status):
        raise full

    monkeypatch.setattr(Recorder, "end", end)
    stubs.failures["run"] = full
    with pytest.raises(OSError, match="No space left"):
        start([*tiny, "name=full"], tmp_path, Silent())
    assert stubs.happened == ["abandoned FAILED"]


def test_a_run_that_mlflow_does_not_take_has_failed(stubs, tiny, tmp_path):
    stubs.failures["finish"] = InputError("MLflow did not take everything.")
    # What the evolution would have written: without it the run would have been refused.
    (tmp_path / GENERATIONS).touch()
    with pytest.raises(InputError, match="did not take"):
        start([*tiny, "name=refused"], tmp_path, Silent())
    lines = map(json.loads, (tmp_path / EVENTS).read_text().splitlines())
    assert [line["status"] for line in lines if line["type"] == "end"] == ["finished", "failed"]


def test_tensorflow_is_started_before_it_reads_a_network(stubs, tiny, tmp_path, monkeypatch):
    def checked(components, images, n_classes):
        stubs.say("checked")
        raise InputError("That is enough.")

    def configured(threads):
        stubs.say(f"{threads} threads")
        return threads

    def read(builder):
        stubs.say("network read")
        return False

    monkeypatch.setattr(Components, "check", checked)
    monkeypatch.setattr(slicing.backend, "configure_threads", configured)
    monkeypatch.setattr(SavedCNN, "__post_init__", lambda builder: None)
    monkeypatch.setattr(SavedCNN, "is_frozen", property(read))
    words = [each for each in tiny if not each.startswith("baseline")]
    with pytest.raises(InputError, match="enough"):
        start([*words, "baseline=file", "baseline.path=any.keras"], tmp_path, stubs)
    assert [*dict.fromkeys(stubs.happened)] == [
        "Starting TensorFlow", "1 threads", "network read", "Reading the images", "checked",
    ]  # fmt: skip
