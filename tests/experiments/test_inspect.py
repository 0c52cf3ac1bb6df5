"""A look at the images of a dataset, from its command line."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from experiments import inspect
from slicing.backbones.network import Network
from slicing.backend import load_keras
from slicing.baselines import Pretrained
from slicing.data.quality import Quality
from tests.slicing.data.pictures import photo, save


def look(monkeypatch, capsys, folder, *arguments):
    """Run the command in this process: its exit code, and what it printed."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["inspect", *arguments])
    code = 0
    try:
        inspect.main()
    except SystemExit as error:
        code = error.code
    return code, *capsys.readouterr()


@pytest.fixture
def project(tmp_path):
    """Photos with a copy under another label, one of each class under a hostile name, damage."""
    for number in range(12):
        for name, tint in (("dark", (-160,) * 3), ("<b>light", (160,) * 3)):
            save(photo(number, tint=tint), tmp_path / "photos" / name / f"{number}.png")
    save(photo(3, tint=(-160,) * 3), tmp_path / "photos" / "<b>light" / "\x1b[2J3.jpg", quality=50)
    (tmp_path / "photos/dark/cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    return tmp_path


class Pictures(HTMLParser):
    """Tags that are opened, and addresses of pictures."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.depth = [], [], 0
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.depth += tag not in ("img", "meta")
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        self.depth -= 1


def test_what_is_printed_and_written(monkeypatch, capsys, project):
    found = look(monkeypatch, capsys, project, "data.directory=photos", "data.channels=3")
    code, out, err = found
    assert code == 0, err
    [folder] = project.glob("outputs/*/*")
    rows = [line for line in out.splitlines() if line.startswith("|")]
    assert "images that are copies of one of another class |      2 |" in rows[2]
    assert "files that cannot be read" in rows[3]
    assert f"inspect.html, inspect.json: {folder.relative_to(project)}" in out
    quality = Quality.read(json.loads((folder / "inspect.json").read_text("utf-8")))
    assert quality.duplicates.contradictions == 2
    assert [path.rpartition("/")[2] for path in quality.unreadable] == ["cut.jpg"]
    page = (folder / "inspect.html").read_text("utf-8")
    for text in (out, err, page):
        assert set(text).isdisjoint(map(chr, [*range(10), *range(11, 32)]))
    pictures = Pictures(page)
    assert pictures.depth == 0
    assert "b" not in pictures.tags
    assert len(pictures.addresses) >= 2
    assert all(each.startswith("data:image/jpeg;base64,") for each in pictures.addresses)


def test_images_that_are_no_files(monkeypatch, capsys, digits, tmp_path):
    words = ["data=mnist", f"data.directory={digits}", "data.train_size=100", "data.test_size=50"]
    code, out, err = look(monkeypatch, capsys, tmp_path, *words, "output=look")
    assert code == 0, err
    assert {path.name for path in Path("look").iterdir()} == {"inspect.html", "inspect.json"}
    assert re.search(r"- 500 images of 10 classes\.", out)


class Colors(Pretrained):
    """A network that sees the mean color of a photo, and nothing of its shapes."""

    def network(self):
        return Network.of_model(color_network(), (16, 16, 3), name="color")


def color_network():
    keras = load_keras()
    images = keras.Input((16, 16, 3))
    out = keras.layers.Conv2D(3, 1, name="same")(images)
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D()(out), name="color")
    model.get_layer("same").set_weights([np.eye(3)[None, None] * 2 - 1, np.full(3, 0.2)])
    return model


@pytest.fixture
def colors(monkeypatch):
    pytest.importorskip("tf2onnx")
    monkeypatch.setattr(Pretrained, "network", Colors.network)


def test_a_network_judges_the_labels(monkeypatch, capsys, tmp_path, colors):
    pytest.importorskip("cleanlab")
    tints = {"green": (-60, 120, -60), "red": (120, -60, -60)}
    for number in range(40):
        for name, tint in tints.items():
            save(
                photo(2 * number + (name == "red"), tint=tint), tmp_path / f"p/{name}/{number}.png"
            )
    # One is under the wrong label.
    save(photo(99, tint=tints["red"]), tmp_path / "p/green/wrong.png")
    given = ["data.directory=p", "baseline=efficientnet_lite0"]
    code, _, err = look(monkeypatch, capsys, tmp_path, *given, "output=look")
    assert code == 0, err
    assert "files read" in err
    found = Quality.read(json.loads(Path("look/inspect.json").read_text("utf-8")))
    assert "linear discriminants on the network's features" in found.probe
    assert found.label_errors[0].image.path.endswith("green/wrong.png")
    assert found.label_errors[0].probable == "red"


FAULTS = {
    (): "data.directory is missing: give it as data.directory=...",
    ("data.directory=nowhere",): (
        "data.directory=nowhere is not there: name a folder that holds one of images for each class"
    ),
    ("data.directory=photos", "data.duplicate_radius=65"): (
        "data.duplicate_radius=65 is out of range: choose 0 to 64."
    ),
    ("data.directory=photos", "strategy=serial"): (
        "strategy=serial is for a run: experiments.inspect has no strategy, leave it out."
    ),
    ("data.directory=photos", "baseline=lenet"): (
        "baseline is no network that is frozen up to its cut (TrainedCNN): choose one, such as "
    ),
    ("data.directory=photos", "baseline=finetuned"): (
        "baseline is a network that is trained before it is cut: choose the one that it starts from"
    ),
    ("data.directory=photos", "baseline=efficientnet_lite0", "data.channels=1"): (
        "is for networks that are trained on your images, and color takes data.channels"
    ),
    ("data=mnist5k", "data.train_size=20", "data.test_size=10", "baseline=efficientnet_lite0"): (
        "baseline looks at files, and those of mnist5k are none: leave it out."
    ),
    ("data.directory=photos", "sed=1"): "sed is unknown: did you mean seed?",
    ("data.directory=photos", "data=foldr"): "data=foldr is unknown: did you mean data=folder?",
    ("--output=x",): "--output is no flag",
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_mistake_is_one_sentence(words, monkeypatch, capsys, project, colors):
    code, out, err = look(monkeypatch, capsys, project, *words)
    assert (code, out) == (2, "")
    assert FAULTS[words] in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not [*project.glob("outputs/*/*")]


def test_a_folder_that_takes_no_files_is_known_before_the_images_are_read(
    monkeypatch, capsys, project
):
    for output in ("/proc", "/proc/self/new", "photos/dark/0.png"):
        code, out, err = look(monkeypatch, capsys, project, "data.directory=no", f"output={output}")
        assert (code, out) == (2, "")
        assert err.splitlines()[-1].startswith(f"{output} cannot be read or written: ")


def test_help_has_its_options_alone(monkeypatch, capsys, tmp_path):
    code, out, _ = look(monkeypatch, capsys, tmp_path, "--help")
    assert code == 0
    for word in ("data=folder", "data.duplicate_radius=8", "output=null", "seed=0"):
        assert word in out
    assert "baseline=efficientnet_lite0" in out
    assert "baseline=lenet" not in out
    assert "+experiment" not in out
    assert max(map(len, out.splitlines())) <= 100
