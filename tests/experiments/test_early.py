"""What can be known early is said before anything is trained."""

import re
from copy import deepcopy
from dataclasses import fields
from functools import cache
from math import inf, nan
from types import UnionType
from typing import get_args, get_type_hints
from zipfile import ZipFile

import pytest

from experiments.adaptive.program import adaptive
from experiments.components import Components
from experiments.cuts import cuts
from experiments.inspect import inspect
from experiments.overrides import check, chosen
from experiments.programs import ADAPTIVE, CUTS, INSPECT
from experiments.progress import Terminal
from experiments.schema.run import GROUPS, plain
from slicing.baselines import TrainedCNN
from slicing.errors import InputError
from slicing.memory import set_bound
from tests.experiments.runs import run_here

# Values that no run can have, of every number that a user may set.
OUT_OF_RANGE = {
    "protocol": {"fraction": 1.5},
    "block": {"size": 0, "layers": [7]},
    "strategy": {
        "generations": 0, "passes": -1, "step": 0.0, "patience_generations": 0,
        "patience_blocks": 0, "target_loss": nan, "max_evaluations": 3, "max_seconds": 0.0,
        "synchronize": 0,
    },
    "optimizer": {
        "population": 10**9, "bounds": 0.0, "restarts": -1, "population_growth": 1e30,
        "crossover": 2.0, "blend": -1.0, "mutation": nan, "mutation_step": -1.0, "elites": 1000,
        "tournament": 10**9, "inertia": nan, "c1": -1.0, "c2": inf, "max_velocity": 0.0,
        "neighbors": 1000,
    },
    "fitness": {
        "max_references": 3, "shift": 100, "seed": -1, "k": 1000, "neighbors": 0,
        "temperature": 0.0,
    },
    "slicing": {
        "k": 1000, "components": 10**5, "shift": 100, "average": 100, "per_class": 0,
        "pool": 0, "tuning_generations": -1,
    },
    "executor": {"workers": 0},
}  # fmt: skip


def numbers_of(schema):
    """The names of the fields that hold numbers."""
    found = []
    for field in fields(schema):
        kind = get_type_hints(schema)[field.name]
        kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
        if {int, float, list[int]} & set(kinds):
            found.append(field.name)
    return found


CASES = [
    (group, option, name)
    for group in OUT_OF_RANGE
    for option, schema in GROUPS[group].items()
    for name in numbers_of(schema)
    if not option.startswith("base_")
]


@cache
def components(*overrides):
    [config] = check(overrides)
    return Components(plain(config), chosen(overrides))


@pytest.fixture(scope="module")
def images(tiny):
    dataset = components(*tiny).dataset()
    return dataset, components(*tiny).split(dataset)


def test_every_number_is_tried():
    tried = {(group, name) for group, values in OUT_OF_RANGE.items() for name in values}
    assert tried == {(group, name) for group, _, name in CASES}


@pytest.mark.parametrize(("group", "option", "name"), CASES)
def test_values_out_of_range_are_refused_before_anything_is_made(group, option, name, tiny, images):
    if option == "ray":
        pytest.importorskip("ray")
    dataset, split = images
    own = [each for each in tiny if not each.startswith(group)]
    # Composing takes longer than all checks.
    made = deepcopy(components(*own, f"{group}={option}"))
    made.options[group][name] = OUT_OF_RANGE[group][name]
    with pytest.raises(InputError, match=rf"^{group}\.{name}\b"):
        made.check(made.split(dataset) if group == "protocol" else split, dataset.classes)


@pytest.mark.parametrize(
    "mistake",
    [
        "strategy.max_evaluations=5", "strategy.target_loss=nan", "optimizer.bounds=0",
        "slicing.average=50", "fitness.neighbors=500", "block.layers=[9]",
    ],
)  # fmt: skip
def test_a_run_is_refused_before_its_baseline_is_made(mistake, tiny, tmp_path, monkeypatch):
    def build(*args):
        raise AssertionError("It has begun.")

    monkeypatch.setattr(TrainedCNN, "build", build)
    options = ["baseline=lenet" if each == "baseline=random" else each for each in tiny]
    with pytest.raises(InputError, match=mistake.partition("=")[0].replace(".", r"\.")):
        run_here([*options, mistake], tmp_path)


@pytest.mark.parametrize(
    ("options", "least"),
    [
        (["block.layers=[1]"], 11),
        (["block.layers=[1]", "strategy.order=importance"], 13),
        (["block.layers=[2]"], 13),
        (["block.layers=[1]", "strategy=parallel"], 12),
        (["block.layers=[1]", "strategy=parallel", "strategy.synchronize=1"], 11),
        (["block=layer", "block.layers=[1]"], 13),
    ],
)
def test_the_least_budget_suffices(options, least, tiny, tmp_path):
    """What the sentence proposes is what the schedule takes, and one less is refused."""
    options = [*tiny, "strategy.passes=1", *options]
    with pytest.raises(InputError, match=f"choose {least} or more"):
        run_here([*options, f"strategy.max_evaluations={least - 1}"], tmp_path)
    if "strategy=parallel" in options:  # once is enough
        summary = run_here([*options, f"strategy.max_evaluations={least}"], tmp_path).summary
        assert summary.evaluations <= least


def test_a_run_that_cannot_fit_into_memory_is_refused(tiny, images, monkeypatch):
    made = components(*tiny)
    needs = made.check(images[1], tuple("0123456789"))
    assert re.match(r"It needs at least [\d.]+ [MG]B of memory, [\d.]+ [MG]B of", needs)
    assert "evaluations" in needs
    monkeypatch.setattr("slicing.memory.available", lambda: (10_000, 20_000))
    with pytest.raises(InputError, match=r"libraries take at least [\d.]+ [MG]B of memory"):
        made.check(images[1], tuple("0123456789"))


def test_images_that_cannot_fit_are_refused_before_they_are_read(tiny, monkeypatch):
    monkeypatch.setattr("slicing.memory.available", lambda: (10_000, 20_000))
    monkeypatch.setattr("slicing.data.mnist_family.idx.read", None)
    sentence = r"^data\.train_size=120 and 60 test images take at least 1 MB of memory"
    with pytest.raises(InputError, match=sentence):
        components(*tiny, "seed=77").dataset()


def test_a_run_has_a_bound_of_memory_that_is_an_option(tiny, tmp_path):
    try:
        with pytest.raises(InputError, match=r"^data\.train_size.* max_gigabytes is 1e-05: choose"):
            run_here([*tiny, "max_gigabytes=1e-5"], tmp_path)
        with pytest.raises(InputError, match=r"^max_gigabytes=0"):
            run_here([*tiny, "max_gigabytes=0"], tmp_path)
    finally:
        set_bound(None)


def _nothing(folder):
    return folder / "nothing.keras"


def _hdf5(folder):
    path = folder / "old.keras"
    path.write_bytes(b"\x89HDF\r\n\x1a\n and the rest")
    return path


def _other_name(folder):
    path = folder / "net.zip"
    with ZipFile(path, "w") as file:
        file.writestr("config.json", "{}")
    return path


@pytest.mark.parametrize("make", [_nothing, _hdf5, _other_name])
@pytest.mark.parametrize("option", ["path", "weights"])
def test_a_file_of_a_network_is_looked_at_before_any_image(option, make, tmp_path, monkeypatch):
    def read(*args, **more):
        raise AssertionError("The images were read.")

    if option == "weights" and make is not _nothing:
        path = tmp_path / "weights.h5"
        path.write_bytes(b"no weights")
    else:
        path = make(tmp_path)
    monkeypatch.setattr(Components, "dataset", read)
    words = {"path": ["baseline=file"], "weights": ["baseline=application", "baseline.name=VGG16"]}
    mistake = f"baseline.{option}={path}"
    with pytest.raises(InputError, match=re.escape(mistake)):
        run_here([*words[option], mistake, "data=folder", f"data.directory={tmp_path}"], tmp_path)
    for program, start in ((CUTS, cuts), (INSPECT, inspect)):
        given = [*words[option], mistake, f"data.directory={tmp_path}"]
        [config] = check(given, program=program)
        with pytest.raises(InputError, match=re.escape(mistake)):
            start([config] if start is cuts else config, tmp_path, Terminal())


def test_a_store_that_is_not_there_is_said_before_any_image(tiny, tmp_path, monkeypatch):
    def read(*args, **more):
        raise AssertionError("The images were read.")

    monkeypatch.setattr(Components, "dataset", read)
    store = "tracking.uri=sqlite:////dev/null/runs.db"
    with pytest.raises(InputError, match=re.escape(store)):
        run_here([*tiny, store], tmp_path)
    [config] = check([store, f"data.directory={tmp_path}"], program=CUTS)
    with pytest.raises(InputError, match=re.escape(store)):
        cuts([config], tmp_path, Terminal())
    [config] = check([store], program=ADAPTIVE)
    with pytest.raises(InputError, match=re.escape(store)):
        adaptive(config, [], Terminal())


def test_members_are_read_before_any_image(tmp_path, monkeypatch):
    def read(*args, **more):
        raise AssertionError("The images were read.")

    monkeypatch.setattr(Components, "dataset", read)
    [config] = check([f"members=[{tmp_path}/a.safetensors]"], program=ADAPTIVE)
    with pytest.raises(InputError, match=r"a\.safetensors"):
        adaptive(config, [], Terminal())
