"""Inference in several runtimes: they agree, and what is measured is what is said."""

import json
import sys

import numpy as np
import pytest

from benchmarks import inference
from benchmarks.inference import main, write_networks
from benchmarks.runtimes import RUNTIMES, measure
from slicing.data import mnist5k


@pytest.fixture(scope="module")
def data():
    return mnist5k(train_size=150, test_size=40)


@pytest.fixture(scope="module")
def files(data, tmp_path_factory):
    return write_networks(tmp_path_factory.mktemp("networks"), data.train, data.classes)


def test_a_network_says_the_same_in_every_runtime(data, files):
    images = data.read_test().images
    for network, stem in files.items():
        answers = {
            runtime: load(str(stem.with_suffix(suffix)), 1)(images)
            for runtime, (suffix, load) in RUNTIMES.items()
            if runtime != "OpenVINO" and stem.with_suffix(suffix).exists()
        }
        assert len(answers) == 3, network
        first, *others = answers.values()
        for other in others:
            np.testing.assert_array_equal(other, first)


def test_what_is_measured(data, files, tmp_path):
    test = data.read_test()
    np.savez(tmp_path / "images.npz", images=test.images, labels=test.labels)
    path = files["sliced, small"].with_suffix(".onnx")
    found = measure("small", "ONNX Runtime", 1, str(path), str(tmp_path / "images.npz"), repeats=5)
    assert found.bytes == path.stat().st_size
    assert 0.3 < found.accuracy <= 1
    assert found.load_seconds > found.latency_seconds > 0
    assert found.images_per_second > 1 / found.latency_seconds / 10
    assert found.peak_bytes > 10_000_000


def test_the_command_line(files, monkeypatch, tmp_path, capsys):
    path = tmp_path / "inference.json"
    arguments = [
        "--data", "mnist5k", "--train", "100", "--test", "20", "--repeats", "2", "--threads", "1",
        "--runtimes", "ours", "OpenVINO", "--json", str(path),
    ]  # fmt: skip
    monkeypatch.setattr(inference, "write_networks", lambda *_: files)
    monkeypatch.setattr(inference, "find_spec", lambda name: None if name == "openvino" else name)
    monkeypatch.setattr(sys, "argv", ["inference", *arguments])
    main()
    results = json.loads(path.read_text())["results"]
    assert {(each["network"], each["runtime"]) for each in results} == {
        ("sliced, 150 references", "ours"),
        ("sliced, small", "ours"),
    }
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 2 + 2
    assert "OpenVINO is not installed and left out: pip install -e '.[openvino]'" in printed.err
