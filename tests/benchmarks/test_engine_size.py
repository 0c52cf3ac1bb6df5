"""The front of accuracy against bytes."""

import json
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from benchmarks import engine_size
from benchmarks.engine_size import front, main
from slicing.data import Dataset, Images


def test_the_front_is_what_nothing_smaller_beats():
    sizes = [30, 10, 20, 20, 5, 40]
    accuracies = [0.9, 0.8, 0.7, 0.85, 0.1, 0.9]
    assert front(sizes, accuracies) == [4, 1, 3, 0]


@pytest.fixture
def digits(monkeypatch):
    """Put scikit-learn's digits in the place of MNIST, and count how often the test is read."""
    pixels, labels = load_digits(return_X_y=True)
    images = np.kron(pixels.reshape(-1, 8, 8, 1) / 16, np.ones((3, 3, 1))).astype(np.float32)
    whole, reads = Images(images, labels.astype(np.int64)), []

    def data(train_size):
        def read_test():
            reads.append(1)
            return whole[1000:]

        return Dataset("digits", tuple("0123456789"), whole[:train_size], read_test)

    monkeypatch.setattr(engine_size, "mnist", data)
    return reads


def run(monkeypatch, *arguments):
    options = [
        "--train", "500", "--validation", "200", "--networks", "2", "--epochs", "2",
        "--moved", "1", "2", "--placed", "2",
    ]  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["engine_size", *options, *arguments])
    main()


def test_the_front_is_measured_and_can_be_built_again(digits, monkeypatch, tmp_path, capsys):
    path, figure = tmp_path / "front.json", tmp_path / "front.png"
    run(monkeypatch, "--json", str(path), "--figure", str(figure))
    engines = json.loads(path.read_text())
    assert len(engines) == 6
    assert [each["bytes"] for each in engines] == sorted(each["bytes"] for each in engines)
    measured = [each for each in engines if each["test_accuracy"] is not None]
    assert len(digits) == 1
    chosen = front(
        [each["bytes"] for each in engines], [each["validation_accuracy"] for each in engines]
    )
    assert [engines[index] for index in chosen] == measured
    for each in measured:
        assert each["protocol"] == "validation"
        assert each["test_low"] < each["test_accuracy"] < each["test_high"]
        assert each["seed"] == 0
    assert figure.read_bytes().startswith(b"\x89PNG")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(measured)
    # The command of an engine builds an engine of that size.
    words = shlex.split(measured[0]["engine"])
    train = engine_size.mnist(500).train
    again = engine_size.builder(train, tuple("0123456789"))(words[3:])
    assert again.total_bytes == measured[0]["bytes"]


def test_a_file_that_cannot_be_written_is_one_sentence(digits, monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, "--json", "/nowhere/front.json")
    assert caught.value.code == 2
    assert "cannot be written" in capsys.readouterr().err
    assert digits == []


def test_what_is_committed_meets_what_it_says():
    path = Path(engine_size.__file__).parent / "results" / "engine_size.json"
    engines = json.loads(path.read_text())
    for each in engines:
        assert each["engine"].startswith("python -m experiments.run ")
        assert each["protocol"] == "validation"
    sizes = [each["bytes"] for each in engines]
    chosen = front(sizes, [each["validation_accuracy"] for each in engines])
    assert [i for i, each in enumerate(engines) if each["test_accuracy"] is not None] == chosen
