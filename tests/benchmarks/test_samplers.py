"""Samplers on tables of trials: a table has what a run finds, and a search looks it up."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import trial_tables
from benchmarks.samplers import Results, Run, main, search
from benchmarks.trial_tables import SPACES, Parts, Table, key, points, read
from evolve.trials import PROPOSERS
from evolve.trials.space import Parameter
from slicing.baselines.untrained import UntrainedCNN
from slicing.data import mnist5k
from slicing.engine.recipe import Recipe


@pytest.fixture(scope="module")
def parts():
    whole = Parts.of(mnist5k())
    return replace(whole, train=whole.train[:200], choice=whole.choice[:100], test=whole.test[:50])


def only(name, **parameters):
    """Give a space with fewer values."""
    family = SPACES[name]
    chosen = {option: Parameter(values) for option, values in parameters.items()}
    return replace(family, parameters={**family.parameters, **chosen})


def test_the_images_are_those_of_a_study():
    parts = Parts.of(mnist5k())
    assert [len(each) for each in (parts.train, parts.choice, parts.test)] == [3200, 800, 1000]


def test_all_values_that_may_stand_together_are_there_once():
    for name, n in (("svm", 3 * 21 * 19), ("sliced", 3 * 2 * 2 * (7 + 7 + 1 + 1) * 2 * 8)):
        found = [*points(SPACES[name])]
        assert len({key(name, each) for each in found}) == len(found) == n
    assert key("sliced", found[-1]) == "[32,64] 5 1 none - cosine 15"
    assert ("cells" in found[0], "slicing.components" in found[0]) == (False, True)


def test_support_vector_machines_are_those_of_scikit_learn(parts):
    from sklearn.svm import SVC

    from slicing.baselines.shallow import Extractor

    family = only("svm", features=("hog",), cells=(4, 7), log2_C=(1,), log2_gamma=(-7, -5))
    found = [*trial_tables.svm(parts, family)]
    assert [each[0]["cells"] for each in found] == [4, 4, 7, 7]
    extract, train = Extractor.fit(parts.train.images, 4)
    model = SVC(C=2.0, gamma=2.0**-5).fit(train, parts.train.labels)
    right = (
        (model.predict(extract(each.images)) == each.labels).sum()
        for each in (parts.choice, parts.test)
    )
    assert found[1][1] == tuple(right)


def test_sliced_networks_are_those_of_an_engine(parts):
    family = only("sliced", **{
        "baseline.filters": ([4, 8],), "baseline.kernel_size": (3,), "slicing.average": (1,),
        "slicing.projection": ("lda",), "slicing.components": (5,), "slicing.metric": ("cosine",),
    })  # fmt: skip
    found = {each["slicing.k"]: right for each, right in trial_tables.sliced(parts, family)}
    assert sorted(found) == [1, 3, 5, 7, 9, 11, 13, 15]
    stack = UntrainedCNN(filters=(4, 8)).shape((28, 28, 1), 10)
    recipe = Recipe(k=5, metric="cosine", components=5, shift=0, average=1)
    engine = recipe.build(stack, parts.train, parts.classes)
    right = [
        int((engine.predict_labels(each.images) == each.labels).sum())
        for each in (parts.choice, parts.test)
    ]
    assert found[5] == tuple(right)


@pytest.fixture(scope="module")
def table():
    """A table as smooth as a real one, without trying anything."""
    choice = {}
    for values in points(SPACES["svm"]):
        away = abs(values["log2_C"] - 5) + abs(values["log2_gamma"] + 9)
        choice[key("svm", values)] = 700 - 10 * away + 5 * (values["features"] == "hog")
    return Table(
        [*SPACES["svm"].parameters],
        800,
        1000,
        choice,
        {name: right + 100 for name, right in choice.items()},
    )


@pytest.mark.parametrize("sampler", PROPOSERS)
def test_a_search_looks_its_trials_up(sampler, table):
    run = search("svm", sampler, 1, 12, table)
    assert (run.trials, run.found[0][0]) == (12, 1)
    rights = [each[1] for each in run.found]
    assert rights == sorted({*rights})
    assert all(test == choice + 100 for _, choice, test in run.found)
    assert run.overhead > 0
    again = search("svm", sampler, 1, 12, table)
    assert again.found == run.found


def runs_of(sampler, rights):
    return [
        Run("svm", sampler, seed, 20, 0.2, [(1, 400, 500), (15, right, right)])
        for seed, right in enumerate(rights)
    ]


def test_only_what_is_more_than_chance_beats_it():
    rng = np.random.default_rng(0)
    by_chance = 600 + rng.integers(0, 20, (2, 20))
    runs = [
        *runs_of("random", by_chance[0]),
        *runs_of("tpe", by_chance[0] + 30),
        *runs_of("cmaes", by_chance[1]),
        *runs_of("pso", by_chance[0] - 30),
        *runs_of("grid", [700]),
    ]
    results = Results("svm", Table([], 800, 1000, {"a": 720, "b": 720, "c": 1}, {}), [10, 20], runs)
    text = results.text()
    assert "- 3 trials; the best 2 of them have 90.00 % of the 800 choice images." in text
    assert "- After 10 trials better than chance: none; worse: none." in text
    assert "- After 20 trials better than chance: tpe; worse: pso." in text
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    assert [row[0] for row in rows[2:4]] == ["grid", "tpe"]
    assert rows[6][0] == "pso"
    assert rows[2][1:6] == ["1", "50.00", "87.50", "-", "70.00"]
    assert (rows[2][6], rows[3][4]) == ("10.0", "< 0.0001")
    p = results.p_values(20)
    assert {*p} == {"tpe", "cmaes", "pso"}
    assert p["cmaes"] > 0.05


def test_runs_that_are_there_are_not_repeated(tmp_path, table, capsys):
    tables, results = tmp_path / "tables.json", tmp_path / "samplers.json"
    tables.write_text(json.dumps({"tables": {"svm": table.__dict__}}))
    assert read(tables) == {"svm": table}
    words = ["--tables", str(tables), "--spaces", "svm", "--samplers", "random", "grid"]
    words += ["--trials", "5", "3", "--json", str(results)]
    main([*words, "--seeds", "1"])
    first = json.loads(results.read_text())["runs"]
    main([*words, "--seeds", "2"])
    runs = json.loads(results.read_text())["runs"]
    assert runs[:2] == first
    assert [(each["sampler"], each["seed"]) for each in runs[2:]] == [("random", 1)]
    assert "after 5 trials" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*words, "--trials", "7"])
    assert "has --trials 3 5: give the same" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--tables", str(tmp_path / "none.json")])
    assert "none.json is no file: make it" in capsys.readouterr().err
