"""An adaptive system, from its command line."""

import json
import shutil
import sys
from dataclasses import replace

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image

from experiments import predict
from experiments.adaptive import __main__ as program
from experiments.adaptive.candidates import ALONE, KINDS
from experiments.adaptive.program import DIALS, SYSTEM
from experiments.components import Components
from experiments.mlflow_store import global_address
from experiments.overrides import check
from experiments.programs import ADAPTIVE
from experiments.schema.adaptive import SELECTORS
from experiments.schema.docs import CONF
from slicing.adaptive import System, load
from slicing.adaptive.dial import MaxLoss
from slicing.baselines import UntrainedCNN
from slicing.data import mnist
from slicing.engine.recipe import Recipe
from slicing.errors import InputError
from tests.experiments.runs import give_store


@pytest.fixture(scope="module")
def words(digits):
    """Two members that are made in a second, and images of which many are hard for the first."""
    return [
        "data=mnist", f"data.directory={digits}", "data.train_size=1000", "data.test_size=100",
        "data.calibration_fraction=0.4", "baseline=random", "filters=[[1],[6,8]]",
        "slicing.per_class=4", "timed=5", "folds=3", "loss=0.1", "threads=1",
        "tracking.model=false",
    ]  # fmt: skip


def start(monkeypatch, capsys, folder, *arguments):
    """Run the command in this process: its exit code, and what it printed."""
    monkeypatch.chdir(folder)
    give_store(folder)
    monkeypatch.setattr(sys, "argv", ["adaptive", *arguments])
    code = 0
    try:
        program.main()
    except SystemExit as error:
        code = error.code
    return code, *capsys.readouterr()


@pytest.fixture(scope="module")
def project(words, tmp_path_factory):
    """A system that was made, and what stood on the disk when the test images were read."""
    folder = tmp_path_factory.mktemp("project")
    at_reading = []
    make = Components.dataset

    def dataset(self, monitor=None):
        found = make(self, monitor)

        def read():
            at_reading.append({each.name for each in (folder / "made").iterdir()})
            return found.read_test()

        return replace(found, read_test=read, read_test_all=None)

    give_store(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(Components, "dataset", dataset)
        own = ["selector=cascade", "output=made", "tracking.model=true"]
        patch.setattr(sys, "argv", ["adaptive", *words, *own])
        program.main()
    return folder, at_reading


@pytest.fixture
def summary(project):
    return json.loads((project[0] / "made/summary.json").read_text("utf-8"))


def test_the_test_images_are_read_once_when_all_thresholds_are_on_disk(project):
    _, at_reading = project
    assert at_reading == [{SYSTEM, DIALS}]


def test_the_system_is_one_file_that_answers_as_was_counted(project, summary, digits):
    folder, _ = project
    system = System.load(folder / "made" / SYSTEM)
    test = mnist(directory=digits, train_size=1000, test_size=100).read_test()
    right = int((system.predict_labels(test.images) == test.labels).sum())
    [own] = [each for each in summary["selectors"] if each["name"] == "cascade"]
    assert own["test"] == {"correct": right, "total": 100}
    assert dict(system.roles) == {"train": 600, "select": 200, "certify": 200}
    assert summary["roles"] == {**system.roles, "test": 100}
    assert own["bound"] <= 0.1
    # It spares something: the largest member is not always asked.
    assert own["escalated"] < 1.0
    assert system.point == system.dial.point(MaxLoss(0.1))
    dials = json.loads((folder / "made" / DIALS).read_text("utf-8"))
    assert dials["cascade"]["point"] == system.point
    assert dials["cascade"]["flips"] == system.dial.flips.tolist()


def test_all_selectors_are_compared_and_premodels_are_cross_validated(summary):
    names = {each["name"] for each in summary["selectors"]}
    assert names == {
        "random", "premodel", "premodel_tree", "premodel_svm", "premodel_activations", "cascade",
        "deferral",
    }  # fmt: skip
    for each in summary["selectors"]:
        is_premodel = each["name"] in ("premodel", "premodel_tree", "premodel_svm")
        assert (each["cross_validated"] is not None) == is_premodel
        ends = [accuracy for _, accuracy in (each["curve"][0], each["curve"][-1])]
        tested = [member["test"]["correct"] / 100 for member in summary["members"]]
        assert ends == pytest.approx([tested[-1], tested[0]])
    one, two = summary["members"]
    assert one["milliseconds"] < two["milliseconds"]
    assert one["select"]["correct"] < two["select"]["correct"]
    assert summary["assembled"]["p99"] >= summary["assembled"]["median"] > 0


def test_classes_add_up_and_the_first_answer_is_measured(summary):
    [own] = [each for each in summary["selectors"] if each["name"] == summary["chosen"]]
    totals = [sum(each["test"][key] for each in summary["classes"]) for key in ("correct", "total")]
    assert totals == [own["test"]["correct"], own["test"]["total"]]
    asked = sum(each["escalated"] * each["test"]["total"] for each in summary["classes"])
    assert asked / totals[1] == pytest.approx(own["escalated"])
    took = summary["assembled"]
    low, high = took["faster"]
    assert low <= took["largest"] / took["milliseconds"] <= high
    seconds, peak = summary["beginning"]
    assert 0 < seconds < 60
    assert peak is None or peak > 10_000_000


def test_the_report_and_mlflow_have_it_too(project, summary):
    folder, _ = project
    page = (folder / "made/report.html").read_text("utf-8")
    for words in ("cnn-6-8", "premodel_svm", "cascade (in the file)", "data:image/png"):
        assert words in page
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    [run] = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert run.info.status == "FINISHED"
    [own] = [each for each in summary["selectors"] if each["name"] == "cascade"]
    assert run.data.metrics["cascade/bound"] == own["bound"]
    artifacts = {each.path for each in client.list_artifacts(run.info.run_id)}
    assert artifacts == {SYSTEM, DIALS, "summary.json", "report.html", "curves.png"}


def test_mlflow_serves_a_system_like_an_engine(project, digits):
    address = f"sqlite:///{project[0] / 'mlflow.db'}"
    client = MlflowClient(address)
    [run] = client.search_runs([each.experiment_id for each in client.search_experiments()])
    [output] = run.outputs.model_outputs
    with global_address(address):
        model = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
        test = mnist(directory=digits, train_size=1000, test_size=100).read_test()
        names = model.predict(test.images)
        records = model.predict(test.images, params={"evidence": True})
    system = System.load(project[0] / "made" / SYSTEM)
    assert names.tolist() == system.predict(test.images).tolist()
    assert [each["class"] for each in records] == names.tolist()


def test_predict_takes_a_system_like_an_engine(project, digits, tmp_path):
    path = project[0] / "made" / SYSTEM
    system = load(path)
    test = mnist(directory=digits, train_size=1000, test_size=100).read_test()
    paths = []
    for number in range(8):
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(np.uint8(np.rint(255 * test.images[number, :, :, 0]))).save(paths[-1])
    found = [*predict.predict(system, paths)]
    assert [each.name for each in found] == system.predict(test.images[:8]).tolist()
    assert all(each.confidence is None for each in found)


@pytest.fixture(scope="module")
def files(words, digits, tmp_path_factory):
    """Engines of a run with the same data, of one that saw all images, and that averages copies."""
    folder = tmp_path_factory.mktemp("files")
    whole = mnist(directory=digits, train_size=1000, test_size=100)
    train = whole.hold_out(400, 0).train
    found = {}
    for name, filters, images, options in (
        ("small", [1], train, {"references": "prototypes", "per_class": 4, "k": 1}),
        ("large", [6], train, {"k": 3}),
        ("averaged", [6], train, {"k": 3, "average": 1}),
        ("seen", [6], whole.train, {"k": 3}),
    ):
        builder = UntrainedCNN(filters=filters, pooling=[True] * len(filters))
        stack = builder.build(images, whole.classes).stack
        found[name] = folder / f"{name}.safetensors"
        Recipe(shift=0, **options).build(stack, images, whole.classes).save(found[name])
    for name, digest in (("recorded", train.digest), ("other", whole.train.digest)):
        found[name] = folder / name / "engine.safetensors"
        found[name].parent.mkdir()
        shutil.copy(found["small"], found[name])
        (folder / name / "summary.json").write_text(json.dumps({"train_digest": digest}))
    return found


def test_members_may_be_files(monkeypatch, capsys, tmp_path, words, files, digits):
    members = f"members=[{files['large']},{files['recorded']}]"
    code, out, err = start(
        monkeypatch, capsys, tmp_path, *words, members, "selector=fixed", "output=made"
    )
    assert code == 0, err
    rows = [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("|")]
    assert rows[2:4] == ["recorded", "large"]
    # Of the other, a summary beside it says which images taught it.
    assert err.count("says which images taught it") == 1
    assert f"Nothing beside {files['large']} says" in err
    assert "fixed (in the file)" in rows


def test_shifts_begin_with_one_copy(monkeypatch, capsys, tmp_path, words, files):
    members = f"members=[{files['small']},{files['averaged']}]"
    code, out, err = start(
        monkeypatch, capsys, tmp_path, *words, members, "selector=shifts", "output=made"
    )
    if code:
        # By chance, one copy may be as good as nine.
        assert "there is nothing to select" in err
        return
    system = System.load(tmp_path / "made" / SYSTEM)
    assert [each.average for each in system.engines] == [0, 1]
    assert "averaged, one copy" in out


def test_nested_members_grow_on_each_other(monkeypatch, capsys, tmp_path, words):
    own = ["members=nested", "filters=[[1],[1,8]]", "output=made"]
    code, _, err = start(monkeypatch, capsys, tmp_path, *words, *own)
    assert not code, err
    one, two = (each.stack for each in System.load(tmp_path / "made" / SYSTEM).engines)
    np.testing.assert_array_equal(one.convs[0].weights, two.convs[0].weights)
    # The projections follow the one convolution of the first, and the two of the second.
    assert (len(one.convs), len(two.convs)) == (2, 3)


def faults(files):
    return {
        (f"members=[{files['small']},{files['seen']}]",): (
            "of the images held out taught the member seen: make it with the same data options"
        ),
        (f"members=[{files['other']},{files['large']}]",): (
            "Other images taught the member other: make it with the same data options, data.seed "
        ),
        ("loss=0.001",): (
            "loss=0.001 cannot be certified at confidence=0.95 with 200 images, even if no answer "
            "is lost: give loss=0.015 or more"
        ),
        ("selector=shifts",): "slicing.average=1",
        ("members=[nowhere.safetensors,b.safetensors]",): "nowhere.safetensors cannot be read",
        ("members=back",): (
            "members=back is unknown: give front, nested, or several files in brackets."
        ),
        ("filters=[4,8]",): "is no list of members: write [[4],[8,16]].",
        ("members=nested", "filters=[[4],[5,6]]"): "write [[8],[8,16],[8,16,64]]",
        ("filters=[[4]]",): "A system has two members at least",
        ("selector=cascades",): "selector=cascades is unknown: did you mean selector=cascade?",
        ("loss=2",): "loss=2.0 is out of range",
        ("data.calibration_fraction=0.05",): "50 images are held out to choose and to certify",
        ("data.calibration_fraction=0",): "0 images are held out to choose and to certify",
        ("optimizer=pso",): "optimizer=pso is for a run",
        ("slicing.tuning_generations=3",): "make such members with experiments.run",
    }


@pytest.mark.parametrize("number", range(15))
def test_a_mistake_is_one_sentence(number, monkeypatch, capsys, tmp_path, words, files):
    mistaken, sentence = [*faults(files).items()][number]
    code, out, err = start(monkeypatch, capsys, tmp_path, *words, *mistaken)
    assert (code, out) == (2, "")
    assert sentence in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not [*tmp_path.glob("outputs/*/*")]


def test_every_selector_has_its_file_and_is_learned():
    files = {path.stem for path in (CONF / "selector").glob("*.yaml")}
    assert files == {*SELECTORS} == {*KINDS, *ALONE}
    for name in files:
        [config] = check([f"selector={name}"], program=ADAPTIVE)
        assert config.selector.name == name
    with pytest.raises(InputError, match=r"selector=cascade is for experiments\.adaptive"):
        check(["selector=cascade"])


def test_help_has_its_options_alone(monkeypatch, capsys, tmp_path):
    code, out, _ = start(monkeypatch, capsys, tmp_path, "--help")
    assert code == 0
    for word in ("selector=deferral", "selector=premodel_tree", "slicing=prototypes", "loss=0.02"):
        assert word in out
    assert "optimizer=" not in out
    assert "strategy" not in out
    assert max(map(len, out.splitlines())) <= 100
