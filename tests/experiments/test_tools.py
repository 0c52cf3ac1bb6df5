"""The small tools: predict and export, through their command lines."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from experiments import predict
from experiments.schema.docs import CONF
from experiments.tools import run_tool
from slicing.data import find_photos, idx
from slicing.engine.engine import Engine
from slicing.memory import set_bound


def process(name, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{name}", *arguments],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(CONF.parent)},
    )  # fmt: skip


@pytest.fixture
def tool(monkeypatch, capsys):
    """Run a tool in this process; what it comes to is that of a process."""

    def run(name, *arguments):
        module, code = import_module(f"experiments.{name}"), 0
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        try:
            run_tool(f"experiments.{name}", module.Options, module.main)
        except SystemExit as end:
            code = end.code
        out, err = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=out, stderr=err)

    yield run
    # A process takes its bound with it.
    set_bound(None)


@pytest.fixture(scope="module")
def engine_file(finished):
    return finished.folder / "engine.safetensors"


@pytest.fixture(scope="module")
def pixels(digits):
    return idx.read(digits / "t10k-images-idx3-ubyte", (28, 28))[:12]


@pytest.fixture(scope="module")
def folder(pixels, tmp_path_factory):
    """Images in a folder, some in a folder of it, one in color, one of another size."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "more").mkdir()
    for number, image in enumerate(pixels):
        place = folder / "more" if number % 2 else folder
        Image.fromarray(image).save(place / f"{number:02}.png")
    Image.fromarray(pixels[0]).convert("RGB").save(folder / "color.png")
    Image.fromarray(255 - pixels[0]).save(folder / "dark.png")
    Image.fromarray(pixels[0]).resize((56, 56)).save(folder / "large.jpg")
    (folder / "notes.txt").write_text("not an image")
    (folder / "._00.png").write_text("what macOS hides")
    (folder / "folder.png").mkdir()
    return folder


def test_predictions_are_those_of_the_engine(engine_file, folder, pixels):
    found = process("predict", f"engine={engine_file}", f"images={folder}", "format=json")
    assert found.returncode == 0, found.stderr
    rows = {row["image"]: row for row in json.loads(found.stdout)}
    assert len(rows) == 15
    engine = Engine.load(engine_file)
    images = (pixels / np.float32(255))[..., None]
    expected = zip(engine.predict(images), engine.predict_proba(images), strict=True)
    for number, (name, shares) in enumerate(expected):
        place = folder / "more" if number % 2 else folder
        row = rows[str(place / f"{number:02}.png")]
        assert row["class"] == name
        assert list(row["votes"].values()) == shares.tolist()
        assert list(row["votes"]) == list(engine.classes)
    assert rows[str(folder / "color.png")]["class"] == engine.predict(images[:1])[0]


def test_table_and_csv_of_several_files(engine_file, folder, pixels, tool):
    engine = Engine.load(engine_file)
    [first, second] = engine.predict((pixels[[0, 2]] / np.float32(255))[..., None])
    files = f"images=[{folder}/00.png,{folder}/02.png]"
    found = tool("predict", f"engine={engine_file}", files, "format=csv")
    header, one, two = csv.reader(io.StringIO(found.stdout))
    evidence = ["confidence", "outlier", "distance", "margin"]
    assert header == ["image", "class", *evidence, *engine.classes]
    assert (one[:2], two[:2]) == ([f"{folder}/00.png", first], [f"{folder}/02.png", second])
    assert sum(map(float, one[6:])) == pytest.approx(1)
    found = tool("predict", f"engine={engine_file}", files)
    lines = [line.split("|")[1:3] for line in found.stdout.splitlines()]
    assert [cell.strip() for cell in lines[2]] == [f"{folder}/00.png", first]
    assert len(lines) == 4


def test_a_table_is_printed_as_its_rows_come(engine_file, folder, capsys):
    engine = Engine.load(engine_file)
    paths = sorted(folder.glob("0*.png"))
    shown = []

    def rows():
        for row in predict.predict(engine, paths):
            yield row
            shown.append(capsys.readouterr().out)

    predict._print_table(engine, paths, rows())
    assert len(shown) == len(paths) > 2
    for path, text in zip(paths, shown, strict=True):
        assert text.splitlines()[-1].startswith(f"| {path} ")
    assert len({len(line) for text in shown for line in text.splitlines()}) == 1


@pytest.mark.parametrize("name", ["predict", "export"])
def test_the_memory_of_an_engine_has_a_bound(name, engine_file, folder, tool):
    more = {"predict": f"images={folder}", "export": "format=onnx"}[name]
    found = tool(name, f"engine={engine_file}", more, "max_gigabytes=1e-6")
    assert found.returncode == 2
    assert "max_gigabytes is 1e-06" in found.stderr
    assert found.stderr.count("\n") == 1


def test_dark_digits_on_a_bright_ground_are_inverted(engine_file, folder, pixels, tool):
    arguments = [f"engine={engine_file}", f"images={folder}/dark.png", "format=json"]
    [plain] = json.loads(tool("predict", *arguments).stdout)
    [inverted] = json.loads(tool("predict", *arguments, "invert=true").stdout)
    engine = Engine.load(engine_file)
    assert inverted["class"] == engine.predict((pixels[:1] / np.float32(255))[..., None])[0]
    assert plain["votes"] != inverted["votes"]


@pytest.mark.parametrize("form", ["zip", "tar", "gztar"])
def test_an_archive_is_answered_as_its_folder(form, engine_file, folder, tmp_path, tool):
    archive = shutil.make_archive(tmp_path / "photos", form, folder.parent, folder.name)
    given = [f"engine={engine_file}", "format=csv"]
    wanted = tool("predict", *given, f"images={folder}")
    for images in (archive, f"[{archive},{folder}/00.png]"):
        found = tool("predict", *given, f"images={images}")
        assert found.returncode == 0, found.stderr
        rows = [line.partition(f"/{folder.name}/")[2] for line in found.stdout.splitlines()[1:]]
        assert rows[:15] == [
            line.partition(f"/{folder.name}/")[2] for line in wanted.stdout.splitlines()[1:]
        ]
    assert len(rows) == 16


def test_an_archive_that_cannot_be_unpacked_is_one_sentence(
    engine_file, folder, tmp_path, tool, monkeypatch
):
    archive = Path(shutil.make_archive(tmp_path / "photos", "zip", folder))
    (tmp_path / "cut.zip").write_bytes(archive.read_bytes()[:200])
    given = f"engine={engine_file}"
    found = tool("predict", given, f"images={tmp_path}/cut.zip")
    assert (found.returncode, found.stdout) == (2, "")
    assert re.fullmatch(r".*cut\.zip is damaged, or no zip or tar archive .*\n", found.stderr)
    monkeypatch.setattr(find_photos, "unpacked", partial(too_small, find_photos.unpacked))
    found = tool("predict", given, f"images={archive}", "max_gigabytes=5")
    assert (found.returncode, found.stdout) == (2, "")
    assert re.fullmatch(
        r".*photos\.zip unpacks to more than 20 GB: unpack it yourself, and give the folder\.\n",
        found.stderr,
    )


def too_small(unpacked, archive, max_gigabytes, name):
    """Unpack at most a byte."""
    return unpacked(archive, max_gigabytes / 2e10, name)


@pytest.fixture
def photos(pixels, tmp_path):
    """Three images, named so that each kind of output has something to make safe, two damaged."""
    for number, name in enumerate(["=1|a.jfif", os.fsdecode(b"\x1b[2J\xff"), "é\n.png"]):
        Image.fromarray(pixels[number]).save(tmp_path / name, "PNG")
    (tmp_path / "cut.png").write_bytes((tmp_path / "=1|a.jfif").read_bytes()[:90])
    (tmp_path / "empty.png").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


@pytest.mark.parametrize("format", ["table", "csv", "json"])
def test_damaged_files_do_not_stop_the_others(engine_file, photos, format, tool, monkeypatch):  # noqa: A002
    monkeypatch.chdir(photos)
    found = tool("predict", f"engine={engine_file}", "images=.", f"format={format}")
    assert found.returncode == 2
    assert "3 of 6 files could not be read." in found.stderr
    for name, reason in (("cut", "truncated"), ("empty", "none of"), ("pipe", "named pipe")):
        assert re.search(rf"^{name}.*cannot be read as an image \(.*{reason}", found.stderr, re.M)
    assert not set(map(chr, range(32))) - {"\n"} & set(found.stdout + found.stderr)
    if format == "json":
        rows = json.loads(found.stdout)
        assert {row["image"] for row in rows} == {"=1|a.jfif", "\x1b[2J\udcff", "é\n.png"}
    elif format == "csv":
        rows = list(csv.reader(io.StringIO(found.stdout)))[1:]
        assert {row[0] for row in rows} == {"'=1|a.jfif", r"\u001b[2J\udcff", r"é\u000a.png"}
    else:
        assert len(found.stdout.splitlines()) == 5
        assert r"| =1\|a.jfif" in found.stdout


def test_folders_that_name_classes_give_the_accuracy(engine_file, pixels, digits, tmp_path, tool):
    labels = idx.read(digits / "t10k-labels-idx1-ubyte", ())[:12]
    engine = Engine.load(engine_file)
    right = engine.predict((pixels / np.float32(255))[..., None]) == labels.astype(str)
    for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        place = tmp_path / str(label)
        place.mkdir(exist_ok=True)
        Image.fromarray(image).save(place / f"{number}.png")
    Image.fromarray(pixels[0]).save(tmp_path / "of no class.png")
    found = tool("predict", f"engine={engine_file}", f"images={tmp_path}", "format=csv")
    assert len(found.stdout.splitlines()) == 14
    assert found.stderr.startswith(
        f"Taken for the class that their folder names: {sum(right)} of 12 images, "
        f"{np.mean(right):.2%} (95 % interval "
    )


@pytest.mark.parametrize(("format", "suffix"), [("onnx", ".onnx"), ("litert", ".tflite")])
def test_the_export_says_where_it_is(engine_file, tmp_path, format, suffix, tool):  # noqa: A002
    target = tmp_path / f"mine{suffix}"
    found = tool("export", f"engine={engine_file}", f"format={format}", f"output={target}")
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(f"{target}: {target.stat().st_size:,} bytes")


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("predict", [], "engine is missing: give it as engine=..."),
        ("predict", ["engine=nowhere"], "images is missing"),
        ("predict", ["engine=nowhere", "images=x"], "nowhere cannot be read (No such file"),
        ("predict", ["engine={engine}", "images=nowhere"], "There is no file or folder nowhere"),
        ("predict", ["engine={engine}", "images={empty}"], "holds no images: name another one"),
        ("predict", ["engine={engine}", "images=[]"], "images names no file"),
        ("predict", ["engine={engine}", "images={engine}"], "cannot be read as an image (it is"),
        ("predict", ["engine={engine}", "images=/dev/zero"], "(it is a device, not a file)"),
        ("predict", ["engine={engine}", "images=/dev/zero", "max_megapixels=0"], "=0.0 is out"),
        ("predict", ["engine={empty}/text", "images=x"], "is not a file of a knn-slicing engine"),
        ("predict", ["image=x"], "There is no option image: did you mean images?"),
        ("predict", ["engine=a", "images=b", "format=xml"], "format=xml does not fit"),
        ("predict", ["--verbose"], "--verbose is no flag: options are written NAME=VALUE"),
        (
            "predict",
            ["--engine", "x"],
            "--engine is no flag: options are written NAME=VALUE, engine=.",
        ),
        (
            "export",
            ["--format=onnx"],
            "--format is no flag: options are written NAME=VALUE, format=",
        ),
        (
            "predict",
            ["images=my", "photos"],
            'if it belongs to images=my, write "images=my photos".',
        ),
        ("predict", ["photos"], "photos is no NAME=VALUE."),
        ("predict", ["engine={engine}", "images=a.png,b.png"], "images=[a.png,b.png]"),
        ("predict", ["engine={engine}", "images=[a.png"], "close brackets and quotes"),
        ("predict", ["engine={engine}", "images=[a.png],b"], "names several values"),
        ("predict", ["engine={engine}", "images=josé (1)#=2.png"], "folder josé (1)#=2.png"),
        ("export", ["engine=", "format=onnx"], "engine= names no file"),
        ("predict", ["engine=a", "images=${{x}}"], "cannot be resolved"),
        ("export", ["engine=x.onnx", "format=onnx"], "x.onnx is the engine itself"),
        ("export", ["engine={engine}"], "format is missing"),
        ("export", ["engine={engine}", "format=keras"], "format=keras does not fit"),
        ("export", ["engine={engine}", "format=onnx", "output=x.tflite"], "must end in .onnx"),
        ("export", ["engine={engine}", "format=onnx", "output=no/x.onnx"], "no folder no"),
        ("export", ["engine=no", "format=onnx", "output=/proc/x.onnx"], "/proc cannot be read or"),
    ],
)
def test_a_mistake_is_one_sentence(name, arguments, sentence, engine_file, tmp_path, tool):
    (tmp_path / "text").write_text("no engine")
    found = tool(name, *(each.format(engine=engine_file, empty=tmp_path) for each in arguments))
    assert found.returncode == 2
    assert sentence in found.stderr
    assert found.stderr.count("\n") == 1
    assert found.stdout == ""


@pytest.mark.parametrize("name", ["predict", "export"])
def test_help_names_all_options(name, tool):
    found = tool(name, "--help")
    for option in fields(import_module(f"experiments.{name}").Options):
        assert f"  {option.name}=" in found.stdout


def test_a_mistake_is_exit_code_2_of_the_process():
    found = process("predict", "engine=nowhere", "images=x")
    assert found.returncode == 2
    assert found.stderr == (
        "nowhere cannot be read (No such file or directory): give a file of a knn-slicing engine.\n"
    )
