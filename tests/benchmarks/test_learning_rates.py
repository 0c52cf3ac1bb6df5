"""Policies of the learning rate: what is compared, and a training of each on a few photos."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from benchmarks import learning_rates
from benchmarks.learning_rates import POLICIES, Cell, Training, main, policy_of, report
from experiments.statistics import Accuracy
from slicing.data import Dataset, Images

TRAINING = Training("cosine", 0.001, 4, 60, 10, 0)
CELL = Cell(TRAINING, Accuracy(4, 6), Accuracy(12, 20), 0.5, 2.0)


@pytest.fixture
def _photos(monkeypatch):
    """Photos of two kinds, dark and bright, instead of CIFAR-10."""

    def photos(n, seed):
        labels = np.arange(n) % 2
        pixels = np.random.default_rng(seed).random((n, 32, 32, 3), dtype=np.float32) / 2
        return Images(pixels + labels[:, None, None, None].astype(np.float32) / 2, labels)

    monkeypatch.setattr(
        learning_rates,
        "cifar10",
        lambda train_size, sample: Dataset(
            "photos", ("dark", "bright"), photos(train_size, 0), lambda: photos(20, 1)
        ),
    )


@pytest.mark.parametrize("name", POLICIES)
def test_policies_end_where_their_words_say(name):
    policy, last = policy_of(name, 30), 30 - 1e-9
    falling = [1.0 - 0.01 * epoch for epoch in range(30)]
    assert max(policy.factor(epoch, falling) for epoch in np.linspace(0, last, 301)) > 0.99
    ends = {"fixed": 1.0, "step": 0.01, "exponential": 0.01, "triangular": 0.1, "plateau": 1.0}
    assert policy.factor(last, falling) == pytest.approx(ends.get(name, 0.0), abs=1e-4)
    assert policy_of("plateau", 30).factor(29, [1.0] * 7) == pytest.approx(0.1)


@pytest.mark.usefixtures("_photos")
def test_a_training_is_kept_and_not_repeated(tmp_path, capsys):
    file = tmp_path / "rates.json"
    words = ["--images", "60", "--epochs", "3", "--batch-size", "10", "--seeds", "1"]
    words += ["--json", str(file), "--policies", "cosine"]
    main(words)
    (first,) = json.loads(file.read_text())["cells"]
    assert first["training"] == asdict(replace(TRAINING, epochs=3))
    assert (first["choice"]["total"], first["test"]["total"]) == (6, 20)
    assert first["test"]["correct"] > 15
    main([*words, "plateau"])
    cells = json.loads(file.read_text())["cells"]
    assert [each["training"]["policy"] for each in cells] == ["cosine", "plateau"]
    assert cells[0] == first
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2


def test_a_table_has_the_rate_that_the_choice_images_chose():
    better_test = replace(
        CELL, training=replace(TRAINING, rate=0.01), choice=Accuracy(3, 6), test=Accuracy(20, 20)
    )
    other_seed = replace(CELL, training=replace(TRAINING, seed=1), test=Accuracy(14, 20))
    both = replace(better_test, training=replace(TRAINING, rate=0.01, seed=1))
    text = report([CELL, other_seed, better_test, both])
    assert text.startswith("4 epochs, 60 training images, 10 a step:")
    row = [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]
    assert row[2:4] == ["0.001", "2"]
    assert row[4].startswith("65.00 (")


def test_policies_are_compared_by_the_seeds_that_all_have():
    other = replace(CELL, training=replace(TRAINING, seed=1), test=Accuracy(20, 20))
    step = replace(CELL, training=replace(TRAINING, policy="step"), test=Accuracy(8, 20))
    lines = report([CELL, other, step]).splitlines()[-2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [(row[0], row[3], row[4]) for row in rows] == [
        ("cosine", "1", "60.00"),
        ("step", "1", "40.00"),
    ]
    # A rate that lacks a seed is no better for it.
    rate = replace(CELL, training=replace(TRAINING, rate=0.01), test=Accuracy(20, 20))
    [row] = report([CELL, other, rate]).splitlines()[-1:]
    assert row.split("|")[4].strip() == "1"


def test_a_mistake_is_one_sentence(capsys):
    with pytest.raises(SystemExit):
        main(["--seeds", "0"])
    assert capsys.readouterr().err == "--seeds and --epochs are 1 or more.\n"
