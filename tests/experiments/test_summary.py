import json
import math
from dataclasses import replace

import pytest

from experiments.new_classes import ClassAddition, TaughtClassifier
from experiments.reliability import Bin, Reliability
from experiments.statistics import Accuracy, Comparison
from experiments.summary import NetworkResult, Summary
from slicing.baselines import Epoch


def accuracies(first, all_images):
    return Accuracy(first, 1000), Accuracy(all_images, 10000)


SUMMARY = Summary(
    title="cmaes-serial-lenet64-mnist-s0",
    dataset="mnist",
    protocol="leave_one_out",
    objective="neighbors",
    networks={
        "baseline": NetworkResult("CNN", 121930, None, None, 487720, *accuracies(957, 9570)),
        "sliced": NetworkResult("sliced", 18816, 75264, 25604000, 25679964, *accuracies(941, 9409)),
        "evolved": NetworkResult(
            "evolved", 18816, 75264, 25604000, 25679964, *accuracies(965, 9650)
        ),
        "engine": NetworkResult("small", 20000, 21000, 3000, 25000, *accuracies(955, 9550)),
    },
    comparisons={
        "evolution": Comparison(300, 10000, 150, 109, 0.013),
        "reduction": Comparison(0, 10000, 0, 0, 1.0),
        "slicing": Comparison(12, 1000, 7, 5, 0.7744140625),
    },
    loss_before=0.2,
    loss_after=0.15,
    blocks_done=11,
    blocks_accepted=9,
    n_blocks=64,
    evaluations=1800,
    ended="passes",
    train_seconds=12.0,
    evolve_seconds=60.0,
    from_cache=False,
    training=(),
    interrupted=False,
    seed=3,
    threads=2,
    versions={"python": "3.11.9", "numpy": "2.1.0"},
    commit="0123456789abcdef",
)


def test_metrics_by_their_names():
    assert SUMMARY.metrics() == {
        "baseline/test_accuracy": 0.957,
        "baseline/test_accuracy_all": 0.957,
        "sliced/test_accuracy": 0.941,
        "sliced/test_accuracy_all": 0.9409,
        "evolved/test_accuracy": 0.965,
        "evolved/test_accuracy_all": 0.965,
        "baseline/parameters": 121930,
        "engine/test_accuracy": 0.955,
        "engine/test_accuracy_all": 0.955,
        "model/parameters": 20000,
        "baseline/engine_bytes": 487720,
        "engine/conv_bytes": 21000,
        "engine/reference_bytes": 3000,
        "engine/total_bytes": 25000,
        "sliced/loss": 0.2,
        "evolved/loss": 0.15,
        "test/images": 1000,
        "test/images_all": 10000,
        "time/train_seconds": 12.0,
        "time/evolve_seconds": 60.0,
    }


def test_text():
    text = SUMMARY.text()
    lines = text.splitlines()
    assert lines[0] == "**cmaes-serial-lenet64-mnist-s0**"
    header, rule, *rows = lines[2:8]
    assert "% of 1,000 test images (95 % interval)" in header
    assert "% of 10,000 test images (95 % interval)" in header
    assert len({len(line) for line in (header, rule, *rows)}) == 1
    assert "96.50 (95.17-97.47)" in rows[2]
    assert "25,679,964" in rows[2]
    assert "25,000" in rows[3]
    assert "0.2000 before evolution, 0.1500 after (25.0% lower)" in text
    assert "11 of 64 blocks, 9 plugged in, 1,800 evaluations in 60.0 s (30 a second)" in text
    assert "trained in 12.0 s" in text
    assert "LEAKS" not in text
    assert "interrupted" not in text


def test_it_says_whether_the_networks_can_be_told_apart():
    lines = SUMMARY.text().splitlines()
    assert "- making the engine smaller changed none of 10,000 answers" in lines
    assert (
        "- evolution changed 300 of 10,000 answers: 150 to the better, 109 to the worse, 41 are "
        "wrong both times; more than chance explains (p = 0.013)"
    ) in lines
    assert (
        "- the saved engine instead of the baseline changed 12 of 1,000 answers: 7 to the better, "
        "5 to the worse; chance explains that (p = 0.77)"
    ) in lines


TRAINING = (Epoch(2.0, 0.5), Epoch(0.25, 0.9375))


def test_the_training_is_a_fact():
    summary = replace(SUMMARY, training=TRAINING, from_cache=True)
    assert (
        "- baseline: trained in 12.0 s, read from the cache; in the last of 2 epochs, loss 0.2500 "
        "and 93.8% of the training images right"
    ) in summary.text().splitlines()


def test_all_test_images_only_where_fewer_were_asked_for():
    networks = {name: replace(each, test_all=None) for name, each in SUMMARY.networks.items()}
    summary = replace(SUMMARY, networks=networks)
    assert not any("_all" in name for name in summary.metrics())
    assert summary.text().count("test images (") == 1


def test_an_untrained_baseline_has_no_accuracy():
    untrained = replace(SUMMARY.networks["baseline"], test=None, test_all=None)
    summary = replace(SUMMARY, networks={**SUMMARY.networks, "baseline": untrained})
    assert "baseline/test_accuracy" not in summary.metrics()
    assert " - |" in summary.text().splitlines()[4]


def test_protocol_test_says_that_it_leaks():
    text = replace(SUMMARY, protocol="test", leaks=True).text()
    assert "| evolved LEAKS" in text
    assert "protocol test LEAKS: the test images chose the kernels" in text


def test_a_warning_of_the_baseline_is_one_of_the_summary():
    warned = replace(SUMMARY, baseline_warning="The model knows nothing")
    assert SUMMARY.warning == ""
    assert warned.warning == "The model knows nothing"
    assert warned.text().endswith("\n- The model knows nothing")
    assert replace(warned, leaks=True).warning.endswith("flatter it; The model knows nothing")


def test_an_interrupted_run_says_so():
    assert "(interrupted)" in replace(SUMMARY, interrupted=True).text().splitlines()[0]
    assert "read from the cache" in replace(SUMMARY, from_cache=True).text()


@pytest.mark.parametrize("evaluations", [0, 10])
def test_an_evolution_that_ended_at_once(evaluations):
    assert replace(
        SUMMARY, evaluations=evaluations, evolve_seconds=0.0, loss_before=0.0, loss_after=0.0
    ).text()


def test_the_saved_engine_may_be_the_evolved_one():
    networks = {name: each for name, each in SUMMARY.networks.items() if name != "engine"}
    summary = replace(SUMMARY, networks=networks)
    assert summary.saved is networks["evolved"]
    metrics = summary.metrics()
    assert metrics["engine/test_accuracy"] == metrics["evolved/test_accuracy"] == 0.965
    assert metrics["model/parameters"] == 18816
    assert [each.name for each in summary.rows] == ["CNN", "sliced", "evolved"]


RELIABILITY = {
    "confidence": Reliability(
        (Bin(0.4, 0.5, 0.45, Accuracy(4, 10)), Bin(0.8, 0.9, 0.85, Accuracy(27, 30))),
        0.08,
        0.15,
        0.75,
    ),
    "votes": Reliability((Bin(0.9, 1.0, 1.0, Accuracy(31, 40)),), 0.0, 0.225, None),
}


def test_a_confidence_is_a_fact_and_metrics():
    saved = replace(SUMMARY.saved, test=Accuracy(32, 42))
    networks = SUMMARY.networks | {"engine": saved}
    summary = replace(SUMMARY, calibration_images=80, reliability=RELIABILITY, networks=networks)
    fact = (
        "- confidence, learned from 80 held-out images: 75.0 % on average where 77.50 "
        "(62.50-87.68) % of 40 test images are right; calibration error 5.0 % (by chance up to "
        "8.0 %, votes 22.5 %), "
        "AUROC 0.750 (votes -); none for 2 outliers"
    )
    assert fact in summary.text().splitlines()
    metrics = summary.metrics()
    assert metrics["engine/confidence_calibration_error"] == pytest.approx(0.05)
    assert metrics["engine/votes_calibration_error"] == pytest.approx(0.225)
    assert metrics["engine/confidence_brier"] == 0.15
    assert metrics["engine/confidence_auroc"] == 0.75
    assert "engine/votes_auroc" not in metrics


TAUGHT = TaughtClassifier(0.002, Accuracy(50, 60), None)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"additions": (ClassAddition(1, TAUGHT, None), ClassAddition(5, TAUGHT, TAUGHT))},
        {"leaks": True, "protocol": "test", "commit": None},
        {"training": TRAINING, "from_cache": True},
        {"overrides": ("seed=1", "data=mnist"), "mlflow_run": "1a", "mlflow_model": "m-2b"},
        {"calibration_images": 80, "reliability": RELIABILITY},
    ],
)
def test_what_is_written_is_read_again(changes, tmp_path):
    summary = replace(SUMMARY, **changes)
    summary.write(tmp_path / "summary.json")
    assert Summary.read(tmp_path / "summary.json") == summary


def test_the_file_has_finite_numbers_or_null(tmp_path):
    untrained = replace(SUMMARY.networks["baseline"], test=None, test_all=None)
    summary = replace(
        SUMMARY,
        networks={**SUMMARY.networks, "baseline": untrained},
        loss_before=float("inf"),
        loss_after=float("nan"),
    )
    summary.write(tmp_path / "summary.json")

    def refuse(word):
        raise AssertionError(word)

    values = json.loads((tmp_path / "summary.json").read_text(), parse_constant=refuse)
    assert values["loss_before"] is values["loss_after"] is None
    assert values["networks"]["baseline"]["test"] is None
    assert values["networks"]["evolved"]["test_all"] == {"correct": 9650, "total": 10000}
    assert (values["seed"], values["threads"], values["versions"]["numpy"]) == (3, 2, "2.1.0")
    assert math.isnan(Summary.read(tmp_path / "summary.json").loss_before)
