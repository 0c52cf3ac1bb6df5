"""Inference in several runtimes: they agree, and what is measured is what is said."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import inference, runtimes
from benchmarks.inference import main, write_networks
from benchmarks.runtimes import RUNTIMES, measure
from slicing.data import mnist5k
from slicing.errors import installing


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


@pytest.fixture
def images(data, tmp_path):
    test = data.read_test()
    np.savez(tmp_path / "images.npz", images=test.images, labels=test.labels)
    return str(tmp_path / "images.npz")


def test_what_is_measured(images, files):
    path = files["sliced, small"].with_suffix(".onnx")
    found = measure("small", "ONNX Runtime", 1, str(path), images, repeats=5)
    assert found.bytes == path.stat().st_size
    assert 0.3 < found.accuracy <= 1
    assert found.peak_bytes > 10_000_000


def test_which_seconds_are_measured(images, monkeypatch):
    """By a clock of its own: what a runtime does lets it move on."""
    now, answered = 0.0, 0

    def load(path, threads):
        nonlocal now
        now += 100.0
        return classify

    def classify(images):
        nonlocal now, answered
        answered += 1
        # The first answer takes longest, and the next are not yet the usual ones.
        now += {1: 50.0}.get(answered, 7.0 if answered <= 9 else 1.0 + len(images))
        return np.zeros(len(images), np.int64)

    monkeypatch.setattr(runtimes, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setitem(RUNTIMES, "slow", (".slow", load))
    found = measure("any", "slow", 1, __file__, images, repeats=5)
    assert found.load_seconds == 100.0 + 50.0
    assert found.latency_seconds == 2.0
    assert found.images_per_second == 40 / 41


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
    assert f"OpenVINO is not installed and left out: {installing('openvino')}" in printed.err
