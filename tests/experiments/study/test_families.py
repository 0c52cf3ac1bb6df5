"""The families of a study: each of their values is an option of a run."""

import numpy as np
import pytest

from evolve.trials.space import Space
from experiments.overrides import check
from experiments.study import families
from experiments.study.trial import words_of
from slicing.baselines import TrainedCNN
from slicing.errors import InputError

FOLDER = ["data=folder", "data.directory=photos"]
EVERY = families.families([families.ALL])


@pytest.mark.parametrize("family", EVERY, ids=lambda family: family.name)
@pytest.mark.parametrize("of_files", [True, False], ids=["photos", "digits"])
def test_a_run_takes_what_is_proposed(family, of_files):
    rng = np.random.default_rng(0)
    context = {"files": of_files}
    words = FOLDER if of_files else ["data=mnist5k"]
    drawn = [
        family.values(lambda name, parameter: parameter.at(rng.random()), context) for _ in range(5)
    ]
    for values in [*family.starts(context), *drawn]:
        options = family.options(values, family.n_rungs - 1)
        [config] = check([*words, *words_of(options)])
        for name, value in options.items():
            group, _, option = name.partition(".")
            found = config[group][option] if option else value
            assert getattr(found, "name", found) == value


def test_cnns_have_one_to_four_layers():
    [family] = families.families(["cnn"])
    networks = family.parameters["network"].choices
    assert {len(each["baseline.filters"]) for each in networks} == {1, 2, 3, 4}
    for shape in ((28, 28, 1), (32, 32, 3)):
        for each in networks:
            options = {name.partition(".")[2]: value for name, value in each.items()}
            assert TrainedCNN(**options).shape(shape, 10).feature_shape


def test_all_families_say_where_they_start_from():
    assert [each.name for each in EVERY] == [*families._NAMES]
    for family in EVERY:
        assert family.source
        assert family.start


def test_a_family_of_ones_own_is_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("baseline: random\nslicing.k: {low: 1, high: 9, step: 2}\n")
    [family] = families.families([str(path)])
    assert family.name == "mine"
    assert [family.parameters["slicing.k"].at(share) for share in (0, 0.5, 1)] == [1, 5, 9]


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["slised"], r"^space=slised is unknown: did you mean sliced\?"),
        ([], r"^space is empty: name one of all, "),
        (["{folder}/mine.yaml"], "No such file"),
    ],
)
def test_a_mistake_in_the_space_is_one_sentence(tmp_path, names, sentence):
    with pytest.raises((InputError, OSError), match=sentence):
        families.families([name.format(folder=tmp_path) for name in names])


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "3", "a: ${b}"])
def test_a_file_that_is_no_family_is_one_sentence(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.yaml"):
        families.families([str(path)])


def test_shallow_classifiers_see_maps_where_there_are_networks(monkeypatch):
    monkeypatch.setattr(families, "find_spec", lambda name: name)
    space, left_out = families.can_be_tried(EVERY, {"files": False})
    assert not left_out
    shallow = space.families["shallow"]
    assert shallow.parameters["baseline.features"].choices == ("hog", "pixels", "maps")
    assert [each["baseline.name"] for each in shallow.starts({}) if "baseline.name" in each] == [
        "efficientnet_lite0"
    ]


def test_what_cannot_run_here_is_left_out_and_said(monkeypatch):
    monkeypatch.setattr(families, "find_spec", lambda name: None)
    space, left_out = families.can_be_tried(EVERY, {"files": False})
    assert isinstance(space, Space)
    assert not {"sliced", "finetuned"} & set(space.families)
    assert [line.split(":")[0] for line in left_out] == [
        "sliced is left out",
        "shallow does without some choices",
        "finetuned is left out",
    ]
    assert all("[pretrained]" in line for line in left_out)
    # Their maps are features of a shallow classifier, which has others.
    shallow = space.families["shallow"]
    assert shallow.parameters["baseline.features"].choices == ("hog", "pixels")
    assert len(shallow.start) == 3
    with pytest.raises(InputError, match="sliced is left out"):
        families.can_be_tried(families.families(["sliced"]), {})


@pytest.mark.parametrize(
    "text",
    [
        "baseline: efficientnet_lite0\nslicing.k: {choices: [1, 3]}\n",
        "judged: baseline\nbaseline: svm\nbaseline.features: {choices: [maps]}\n",
        "judged: baseline\nbaseline: svm\nbaseline.features: maps\n",
    ],
)
def test_a_family_of_ones_own_is_left_out_where_all_of_it_needs_a_network(
    text, tmp_path, monkeypatch
):
    (tmp_path / "mine.yaml").write_text(text)
    every = families.families([str(tmp_path / "mine.yaml"), "cnn"])
    monkeypatch.setattr(families, "find_spec", lambda name: None)
    space, left_out = families.can_be_tried(every, {"files": False})
    assert [*space.families] == ["cnn"]
    assert [line.split(":")[0] for line in left_out] == ["mine is left out"]
