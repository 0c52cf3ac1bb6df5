"""A look at the images of a dataset, from its command line."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from experiments import inspect
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


FAULTS = {
    (): "data.directory is missing: give it as data.directory=...",
    ("data.directory=nowhere",): (
        "data.directory=nowhere is not there: name a folder that holds one of images for each class"
    ),
    ("data.directory=photos", "data.duplicate_radius=65"): (
        "data.duplicate_radius=65 is out of range: choose 0 to 64."
    ),
    ("data.directory=photos", "baseline=lenet"): (
        "baseline=lenet is for a run: experiments.inspect has no baseline, leave it out."
    ),
    ("data.directory=photos", "sed=1"): "sed is unknown: did you mean seed?",
    ("data.directory=photos", "data=foldr"): "data=foldr is unknown: did you mean data=folder?",
    ("--output=x",): "--output is no flag",
}


@pytest.mark.parametrize("words", FAULTS)
def test_a_mistake_is_one_sentence(words, monkeypatch, capsys, project):
    code, out, err = look(monkeypatch, capsys, project, *words)
    assert (code, out) == (2, "")
    assert FAULTS[words] in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not [*project.glob("outputs/*/*")]


def test_help_has_its_options_alone(monkeypatch, capsys, tmp_path):
    code, out, _ = look(monkeypatch, capsys, tmp_path, "--help")
    assert code == 0
    for word in ("data=folder", "data.duplicate_radius=8", "output=null", "seed=0"):
        assert word in out
    assert "baseline=" not in out
    assert "+experiment" not in out
    assert max(map(len, out.splitlines())) <= 100
