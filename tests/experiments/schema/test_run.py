import inspect
from dataclasses import asdict, fields
from typing import get_args

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

import evolve.fitness.knn
import evolve.schedule
import evolve.schedule_options
import evolve.search
import slicing.data.mnist_family
import slicing.engine.engine
import slicing.engine.recipe
import slicing.neighbors.exact
from evolve.optimizers import BY_NAME
from experiments.components import BY_DEFAULT
from experiments.overrides import check
from experiments.reading import OF_FILES
from experiments.recipes import recipe_of
from experiments.schema import data, engine, evolution
from experiments.schema.docs import CONF, field_docs, option_doc
from experiments.schema.docs import PRESETS as FOLDERS
from experiments.schema.run import GROUPS, Config, plain
from slicing.baselines import TrainedCNN
from slicing.engine.recipe import Recipe

OPTIONS = [(group, option) for group, options in GROUPS.items() for option in options]
PRESETS = [
    f"+{path.parent.name}={path.stem}"
    for path in sorted(CONF.glob("*/*.yaml"))
    if path.parent.name in FOLDERS
]
MANDATORY = {("data", "folder"): "data.directory=/x", ("baseline", "file"): "baseline.path=/x"}


def test_every_option_has_its_file_and_every_file_its_schema():
    files = {(p.parent.name, p.stem) for p in CONF.glob("*/*.yaml") if p.parent.name in GROUPS}
    assert files == set(OPTIONS)


def test_defaults_are_the_first_options():
    defaults = OmegaConf.load(CONF / "config.yaml").defaults
    chosen = {k: v for each in defaults if not isinstance(each, str) for k, v in each.items()}
    assert chosen == {group: next(iter(options)) for group, options in GROUPS.items()}


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes(group, option):
    extra = MANDATORY.get((group, option))
    [config] = check([f"{group}={option}", *([extra] if extra else [])])
    assert OmegaConf.get_type(config[group]) is GROUPS[group][option]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_composes_alone_and_shrunk(preset):
    words = [preset, *(["data.directory=images"] if "photos" in preset else [])]
    [config] = check(words)
    assert OmegaConf.get_type(config) is Config
    [small] = check([*words, *([] if "quick" in preset else ["+debug=quick"])])
    assert small.data.train_size == 200
    assert small.strategy.max_evaluations == 200


@pytest.mark.parametrize(
    ("group", "option"), [each for each in OPTIONS if hasattr(GROUPS[each[0]][each[1]], "_target_")]
)
def test_fields_and_defaults_are_those_of_the_target(group, option):
    extra = MANDATORY.get((group, option))
    [config] = check([f"{group}={option}", *([extra] if extra else [])])
    node = plain(config)[group]
    target = get_object(node.pop("_target_"))
    parameters = dict(inspect.signature(target).parameters)
    # The run itself holds images out, of every dataset alike.
    assert node.pop("calibration_fraction", 0.0) == (0.1 if option == "folder" else 0.0)
    if group == "strategy":
        parameters |= inspect.signature(evolve.schedule.ScheduleOptions).parameters
    if option == "gradient":
        # What tunes hands its other options on.
        parameters |= inspect.signature(TrainedCNN).parameters
    for name, value in node.items():
        if group == "data" and name in OF_FILES:
            assert name in inspect.signature(slicing.data.folder).parameters
            continue
        assert name in parameters
        default = parameters[name].default
        if default is not inspect.Parameter.empty and name not in ("seed", "objective"):
            differs = {("mnist_cnn", "pooling"), ("mnist_cnn", "units"), ("application", "name")}
            differs |= {(f"efficientnet_lite{number}", "name") for number in (1, 2)}
            # Null is what suits what is sliced: for images, the target's own default.
            depends = value is None and BY_DEFAULT.get((group, name), (...,))[0] == default
            assert depends or (option, name) in differs or list_of(default) == value


def test_the_options_of_slicing_are_those_of_a_recipe():
    [config] = check(["slicing=knn"])
    options = plain(config)["slicing"]
    assert (options.pop("tuning_generations"), options.pop("cut")) == (0, "auto")
    assert options.pop("pool") == 1
    assert options.keys() == asdict(Recipe()).keys()
    assert recipe_of(options | {"tuning_generations": 0}) == Recipe()


def list_of(value):
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("choices", "literal"),
    [
        (data.Sample, slicing.data.mnist_family.Sample),
        (engine.Metric, slicing.neighbors.exact.Metric),
        (engine.Storage, slicing.engine.engine.Storage),
        (engine.References, slicing.engine.recipe.References),
        (evolution.Order, evolve.schedule_options.Order),
        (evolution.HandOver, evolve.search.HandOver),
        (evolution.Objective, evolve.fitness.knn.ObjectiveName),
    ],
)
def test_choices_are_those_of_the_library(choices, literal):
    assert [choice.name for choice in choices] == [choice.value for choice in choices]
    assert {choice.name for choice in choices} == set(get_args(literal))


def test_the_optimizers_are_those_of_the_library():
    targets = {
        name: schema._target_.rpartition(".")[2] for name, schema in GROUPS["optimizer"].items()
    }
    assert targets == {name: each.__name__ for name, each in BY_NAME.items()}


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("slicing=condensed", {"k": 1, "references": "condensed"}),
        ("slicing=small", {"k": 1, "references": "prototypes", "tuning_generations": 20,
                           "storage": "int8"}),
        ("baseline=mnist_cnn", {"pooling": [False, True], "units": 128}),
        ("fitness=accuracy", {"objective": "accuracy"}),
        ("fitness=neighbors", {"objective": "neighbors"}),
    ],
)  # fmt: skip
def test_a_preset_is_what_its_file_says(option, values):
    group, name = option.split("=")
    [config] = check([option])
    default = plain(OmegaConf.create({group: GROUPS[group][name], "seed": 0, "threads": None,
                                      "slicing": GROUPS["slicing"]["knn"]}))[group]  # fmt: skip
    assert plain(config)[group] == default | values
    written = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))
    assert {k: v for k, v in written.items() if k != "defaults"} == values


def test_every_option_and_preset_says_what_it_is_in_one_sentence():
    for path in CONF.glob("*/*.yaml"):
        text = option_doc(path.parent.name, path.stem)
        assert text.endswith("."), path
        assert "package" not in text, path


def test_every_field_is_documented():
    for options in [*GROUPS.values(), {"config": Config}]:
        for option in options.values():
            assert option.__doc__
            docs = field_docs(option)
            assert list(docs) == [each.name for each in fields(option)]
            assert all(text.endswith(".") for text in docs.values())


def test_seed_and_threads_reach_the_baseline():
    [config] = check(["seed=7", "threads=1"])
    options = plain(config)
    assert options["baseline"]["seed"] == 7
    assert options["data"]["seed"] == 0  # runs with several seeds are about the same images
    assert options["baseline"]["threads"] == 1


def test_plain_values_are_what_the_library_takes():
    [config] = check(["slicing.metric=cosine"])
    slicing = plain(config)["slicing"]
    assert (slicing["k"], slicing["metric"], slicing["storage"]) == (9, "cosine", "float32")
