"""Where to cut, from its command line."""

import json
import re
import sys

import numpy as np
import pytest
from mlflow import MlflowClient

from evolve.cuts import CutScore
from experiments import cuts, plots
from experiments.places import Place, Places, milliseconds_per_image
from slicing.backbones.network import Network
from slicing.baselines.pretrained import Pretrained
from tests.experiments.runs import give_store
from tests.figures import draw
from tests.slicing.backbones.colors import mean_colors
from tests.slicing.backbones.networks import residual
from tests.slicing.data.pictures import photo, save

pytest.importorskip("tf2onnx")

TINTS = {"dark": (-120, -120, -120), "green": (-60, 120, -60), "red": (120, -60, -60)}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@pytest.fixture
def project(tmp_path, monkeypatch, graphs):
    """Photos of three classes, and small networks in the place of the pretrained ones."""
    for number in range(20):
        for name, tint in TINTS.items():
            part = "test" if number >= 15 else "train"
            picture = photo(number, (20, 16), tint)
            save(picture, tmp_path / "photos" / part / name / f"{number}.png")

    def network(self, image_size=None):
        model = residual(seed=int(self.name[-1]))
        return Network.of_model(model, (12, 12, 3), name=self.name, cache_dir=graphs)

    monkeypatch.setattr(Pretrained, "network", network)
    monkeypatch.chdir(tmp_path)
    give_store(tmp_path)
    return tmp_path


def search(monkeypatch, capsys, *arguments):
    """Run the command in this process: its exit code, and what it printed."""
    monkeypatch.setattr(sys, "argv", ["cuts", *arguments])
    code = 0
    try:
        cuts.main()
    except SystemExit as error:
        code = error.code
    return code, *capsys.readouterr()


def runs_of(project):
    """All MLflow runs of a project folder."""
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    return client, client.search_runs([each.experiment_id for each in client.search_experiments()])


def found(folder):
    return json.loads((folder / "cuts.json").read_text("utf-8"))


def without_times(places):
    return [{k: v for k, v in place.items() if k != "milliseconds"} for place in places]


def test_what_is_printed_written_and_recorded(monkeypatch, capsys, project):
    code, out, err = search(monkeypatch, capsys, "data.directory=photos")
    assert code == 0, err
    [folder] = project.glob("outputs/*/*")
    assert f"cuts.json, cuts.png: {folder.relative_to(project)}" in out
    assert {path.name for path in folder.iterdir()} == {"cuts.json", "cuts.png"}
    figures = found(folder)
    assert figures["dataset"].endswith("photos")
    assert figures["images"] == 45
    places = {tuple(place["cuts"]): place for place in figures["places"]}
    single = [("first",), ("shrunk",), ("joined",), ("last",)]
    several = [("joined", "last"), ("shrunk", "joined", "last"), tuple(cut for (cut,) in single)]
    assert {*places} == {*single, *several}
    # The best is the first, and a row of the table for each.
    ranked = [place["discriminants"] for place in figures["places"]]
    assert ranked == sorted(ranked, reverse=True)
    assert ranked[0] > 0.8
    rows = [line for line in out.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 7
    assert "- the best |" in rows[0]
    assert f"{100 * ranked[0]:.2f}" in rows[0]
    assert sum("the best" in row for row in rows) == 1
    assert "no test image was read" in out
    # Deeper cuts take more.
    sizes = [places[cut]["total_bytes"] for cut in single]
    assert sizes == sorted(sizes)
    assert all(place["milliseconds"] > 0 for place in places.values())
    client, [run] = runs_of(project)
    assert run.info.status == "FINISHED"
    assert run.data.params["baseline.name"] == "efficientnet_lite0"
    assert run.data.tags["networks"] == "efficientnet_lite0-12x12"
    assert run.data.metrics["best/discriminants"] == ranked[0]
    assert "efficientnet_lite0-12x12/log_evidence" in run.data.metrics
    assert run.data.tags["mlflow.note.content"].startswith("**Where to cut")
    artifacts = {each.path for each in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"cuts.json", "cuts.png"}


def test_the_test_images_have_no_part_in_it(monkeypatch, capsys, project):
    words = "data.directory=photos"
    assert search(monkeypatch, capsys, words, "output=before")[0] == 0
    for number, path in enumerate(sorted(project.glob("photos/test/*/*.png"))):
        save(photo(100 + number, (30, 30)), path)
    assert search(monkeypatch, capsys, words, "output=after")[0] == 0
    before, after = (found(project / name)["places"] for name in ("before", "after"))
    assert without_times(before) == without_times(after)
    # Those of the training change it.
    save(photo(50, (30, 30)), project / "photos/train/red/0.png")
    assert search(monkeypatch, capsys, words, "output=others")[0] == 0
    assert without_times(found(project / "others")["places"]) != without_times(after)


def test_images_for_the_confidence_are_held_out_as_in_a_run(monkeypatch, capsys, project):
    monkeypatch.setattr("experiments.components.LEAST_CALIBRATION", 5)
    words = ("data.directory=photos", "data.calibration_fraction=0.2", "output=held")
    assert search(monkeypatch, capsys, *words)[0] == 0
    assert found(project / "held")["images"] == 36


def test_several_networks_are_ranked_in_one_table(monkeypatch, capsys, project):
    code, out, err = search(
        monkeypatch, capsys, "data.directory=photos", "output=both",
        "baseline=efficientnet_lite0,efficientnet_lite2",
    )  # fmt: skip
    assert code == 0, err
    places = found(project / "both")["places"]
    names = {f"efficientnet_lite{n}-12x12" for n in (0, 2)}
    assert {place["network"] for place in places} == names
    assert len(places) == 2 * 7
    rows = [line for line in out.splitlines() if line.startswith("|")][2:]
    assert len(rows) == 10
    assert places[0]["network"] in rows[0]
    assert "4 other places are in cuts.json" in out
    assert f"A run cuts {places[0]['network']} there by itself" in out


def test_networks_of_one_name_are_told_apart(monkeypatch, capsys, project):
    words = ("data.directory=photos", "output=twice", "baseline.kernels=0,8")
    assert search(monkeypatch, capsys, *words)[0] == 0
    names = [place["network"] for place in found(project / "twice")["places"]]
    assert sorted(names) == [f"efficientnet_lite0-12x12-{n}" for n in (1, 2) for _ in range(7)]


FAULTS = {
    (): "data.directory is missing: give it as data.directory=...",
    ("data.directory=nowhere",): "data.directory=nowhere is not there",
    ("data.directory=photos", "baseline=lenet"): (
        "baseline is no network that is frozen up to its cut (TrainedCNN): choose one, such as "
    ),
    ("data.directory=photos", "baseline=finetuned"): (
        "baseline is a network that is trained before it is cut: choose the one that it starts from"
    ),
    ("data.directory=photos", "data.seed=0,1"): (
        "data.seed has several values, and networks are compared on the same images: give one."
    ),
    ("data.directory=photos", "slicing.k=5"): "slicing.k is unknown",
    ("data.directory=photos", "slicing=small"): (
        "slicing=small is for a run: experiments.cuts has no slicing, leave it out."
    ),
    ("data.directory=photos", "data.channels=1"): ("data.channels=1 "),
    ("data.directory=photos", "threads=1000"): "threads=1000 is out of range",
    ("data.directory=photos", "baseline=efficientnet"): "baseline=efficientnet is unknown",
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_mistake_is_one_sentence(words, monkeypatch, capsys, project):
    code, out, err = search(monkeypatch, capsys, *words)
    assert (code, out) == (2, "")
    assert FAULTS[words] in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not [*project.glob("outputs/*/*")]
    # Nothing was begun that MLflow would show.
    assert not runs_of(project)[1]


def test_what_fails_leaves_no_empty_folder_and_a_failed_run(monkeypatch, capsys, project):
    monkeypatch.setattr("slicing.backbones.maps.Backbone.maps", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        search(monkeypatch, capsys, "data.directory=photos")
    assert not (project / "outputs").exists()
    [run] = runs_of(project)[1]
    assert run.info.status == "FAILED"


def test_help_has_its_options_alone(monkeypatch, capsys, tmp_path):
    code, out, _ = search(monkeypatch, capsys, "--help")
    assert code == 0
    for word in ("data=folder", "baseline=efficientnet_lite0", "output=null", "tracking.uri=null"):
        assert word in out
    assert "optimizer" not in out
    assert max(map(len, out.splitlines())) <= 100


def score(cuts, discriminants, n_features=8):
    return CutScore(tuple(cuts), n_features, discriminants, 0.5, 0.25, 1.5, -0.5)


def test_the_table_has_a_dash_where_the_h_score_tells_nothing():
    all_of = [
        Place("net", score("a", 0.8), 1, 1.0),
        Place("net", score("b", 0.9, n_features=100), 2, 2.0),
    ]
    places = Places("flowers", 100, all_of, "a processor")
    rows = [line.split("|") for line in places.text().splitlines() if line.startswith("|")][2:]
    assert [row[1].strip() for row in rows] == ["b - the best", "a"]
    assert [row[5].strip() for row in rows] == ["-", "1.500"]


def test_names_of_sets_are_short():
    place = Place("net", score(["block1", "block2", "top"], 0.5), 1, 1.0)
    assert place.name == "block1 to top (3 cuts)"
    assert Place("net", score(["top"], 0.5), 1, 1.0).name == "top"


def test_the_figure_is_drawn_for_one_network_and_for_several(tmp_path, monkeypatch):
    draw(monkeypatch)
    sizes = []
    for names in (["net"], ["net$", "x" * 80, "three"]):
        all_of = [
            Place(name, score(chosen, 0.2 * number, 5), 1, 2.0**number)
            for name in names
            for number, chosen in enumerate(("a", "b", "ab"), 1)
        ]
        plots.places(Places("photos", 10, all_of, "a processor"), tmp_path / "cuts.png")
        sizes.append((tmp_path / "cuts.png").read_bytes())
    assert sizes[0] != sizes[1]
    assert all(each.startswith(b"\x89PNG") for each in sizes)


def test_the_time_is_the_median_of_calls_with_one_image_and_one_thread(monkeypatch):
    import numba

    ticks = iter(np.cumsum([0, 1, 0, 100, 0, 3] + [0, 2] * 30))
    monkeypatch.setattr("experiments.places.perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr("experiments.places._WARM_UP", 2)
    monkeypatch.setattr("experiments.places._CALLS", 3)
    before, calls = numba.get_num_threads(), []

    class Watched:
        def maps(self, images):
            calls.append((len(images), images[0, 0, 0, 0], numba.get_num_threads()))

    images = np.arange(2, dtype=np.float32)[:, None, None, None]
    # 1 and 100 are of the warm-up.
    assert milliseconds_per_image(Watched(), images) == 2000
    assert calls == [(1, 0, 1), (1, 1, 1), (1, 0, 1), (1, 1, 1), (1, 0, 1)]
    assert numba.get_num_threads() == before


def test_a_backbone_is_measured():
    assert milliseconds_per_image(mean_colors(), np.zeros((2, 6, 6, 3), np.uint8)) > 0


def test_a_broken_store_is_one_sentence(monkeypatch, capsys, project):
    words = ("data.directory=photos", "tracking.uri=http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    computed = []
    monkeypatch.setattr("slicing.backbones.maps.through", lambda *_, **__: computed.append(1))
    code, _, err = search(monkeypatch, capsys, *words)
    assert (code, computed) == (2, [])
    assert re.search(r"MLflow|127\.0\.0\.1", err.splitlines()[-1])
    assert "Traceback" not in err
