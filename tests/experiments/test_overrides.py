import shlex
from dataclasses import fields

import pytest
from omegaconf import OmegaConf

from experiments.habits import OPTIONS
from experiments.hydra_internals import flags
from experiments.overrides import check, check_flags
from experiments.schema.run import GROUPS, Config
from experiments.words import as_one
from slicing.errors import InputError

MISTAKES = {
    "sed=1": "sed is unknown: did you mean seed?",
    "optimiser=cmaes": "optimiser is unknown: did you mean optimizer?",
    "optimizer=cmase": "optimizer=cmase is unknown: did you mean optimizer=cmaes?",
    "data=mnist5": "data=mnist5 is unknown: did you mean data=mnist5k?",
    "executor=dask": "executor=dask is unknown: choose one of processes, ray, serial.",
    "optimizer=base_pso": "optimizer=base_pso is unknown",
    "data.train_sze=5": "data.train_sze is unknown: did you mean data.train_size?",
    "+data.train_sze=5": "data.train_sze is unknown: did you mean data.train_size?",
    "++data.train_sze=5": "data.train_sze is unknown: did you mean data.train_size?",
    "train_size=5": "train_size is unknown: did you mean data.train_size?",
    "optimizer.inertia=1": "it belongs to optimizer=pso or optimizer=pso_local: add one.",
    "executor.workers=2": "it belongs to executor=processes or executor=ray: add one.",
    "+qqq=5": "qqq is unknown: see --help",
    "data.train_size=many": "data.train_size=many is not possible: it must be a whole number.",
    "slicing.k=null": "slicing.k=null is not possible: it must be a whole number.",
    "slicing.k=2.5": "slicing.k=2.5 is not possible: it must be a whole number.",
    "strategy.step=big": "strategy.step=big is not possible: it must be a number.",
    "strategy.max_seconds=1h": "it must be a number or null.",
    "block.layers=2": "it must be a list of whole numbers such as [1,2] or null.",
    "block.layers=[x]": "it must be a list of whole numbers such as [1,2] or null.",
    "baseline.pooling=[often,true]": "it must be a list such as [true,false].",
    "baseline.batch_norm=maybe": "it must be true or false.",
    "slicing.metric=cosin": "did you mean slicing.metric=cosine?",
    "protocol=none": "choose one of leave_one_out, test, validation.",
    "protocol.fraction=0.3": "it belongs to protocol=validation: add it.",
    "block=kernels": "did you mean block=kernel?",
    "strategy.block=layer": "strategy.block is unknown: did you mean block=kernel|group|layer|",
    "fitness.protocol=test": "fitness.protocol is unknown: did you mean protocol=leave_one_out|",
    "block.size=4": "it belongs to block=group: add it.",
    "+debug=quik": "debug=quik is unknown: did you mean debug=quick?",
    "debug=quick": "debug=quick comes on top of the defaults: write +debug=quick",
    "~data": "~data would remove an option",
    "+optimizer=pso": "The configuration cannot be composed: Multiple values for optimizer",
    "seed": "seed cannot be read: write name=value",
    "block.layers=[1": "block.layers=[1 cannot be read",
    "seed=-1": "seed=-1 is out of range",
    "seed=0,1": "seed=0,1 asks for several runs: add --multirun.",
    "data=folder": "data.directory is missing: give it as data.directory=...",
    "baseline=file": "baseline.path is missing: give it as baseline.path=...",
    "baseline=ResNet50": "baseline=ResNet50 is unknown: pretrained networks are baseline=eff",
    "baseline=mobilenet_v2": "baseline=application baseline.name=MobileNetV2, or another",
    "data=../my/photos": "write data=folder data.directory=../my/photos.",
    "data=photos.zip": "write data=folder data.directory=photos.zip.",
    "lr=0.1": "lr is unknown: did you mean baseline.learning_rate?",
    "optimizer.lr=0.1": "optimizer.lr is unknown: did you mean baseline.learning_rate?",
    "learning_rate=0.1": "did you mean baseline.learning_rate?",
    "epochs=5": "epochs is unknown: did you mean baseline.epochs?",
    "batch=5": "did you mean baseline.batch_size?",
    "k=5": "k is unknown: did you mean slicing.k?",
    "model=lenet": "model is unknown: did you mean baseline?",
    "dataset=mnist": "dataset is unknown: did you mean data?",
    "device=cuda": "on threads=... of its cores.",
    "optimizer=adam": "these optimizers evolve kernels without gradients, choose one of cmaes, ",
    "optimizer=SGD": "The CNN is trained by Adam at baseline.learning_rate.",
    "data.directory=/my photos/(1)": "write \"data.directory='/my photos/(1)'\".",
    "data.directory=/my,photos": "If it is one value, write \"data.directory='/my,photos'\".",
    "name=${USER}": "name cannot be resolved: Interpolation key 'USER' not found. ${...} stands",
    "seed=${foo}": "seed cannot be resolved: Interpolation key 'foo' not found.",
    "threads=${oc.env:NO_SUCH}": "threads cannot be resolved: Environment variable",
    "name=${oc.env:NO_SUCH}": "'NO_SUCH' not found. ${...} stands for another option",
}  # fmt: skip


@pytest.mark.parametrize("override", MISTAKES)
def test_a_mistake_is_one_sentence(override):
    with pytest.raises(InputError) as error:
        check([override])
    assert MISTAKES[override] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_preset_that_does_not_fit_what_is_chosen():
    with pytest.raises(InputError) as error:
        check(["+experiment=photos", "data=mnist"])
    assert str(error.value) == (
        "+experiment=photos sets image_size, which the chosen MNIST does not have: leave "
        "+experiment=photos out, and give its other values on the command line."
    )


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        (["optimizer=cmaes,cmase"], "did you mean optimizer=cmaes?"),
        (["seed=0,1,x"], "seed=x is not possible"),
        (["data=mnist5k,folder"], "data.directory is missing"),
        (["optimizer=pso,cmaes", "optimizer.inertia=0.5,0.7"], "optimizer.inertia is unknown"),
        (["slicing.metric=choice(cosine,cosin)"], "did you mean slicing.metric=cosine?"),
    ],
)
def test_every_swept_value_is_checked(sweep, sentence):
    with pytest.raises(InputError, match=sentence.replace("?", r"\?")):
        check(sweep, multirun=True)


def test_a_sweep_gives_one_configuration_a_run():
    configs = check(["optimizer=cmaes,random", "seed=range(0,3)"], multirun=True)
    assert [(c.optimizer._target_.rpartition(".")[2], c.seed) for c in configs] == [
        (name, seed) for name in ("CMAES", "RandomSearch") for seed in range(3)
    ]
    [config] = check(["strategy.step=interval(0.5,2)"], multirun=True)
    assert config.strategy.step == 0.5


def test_values_with_special_characters():
    [config] = check(["name='a, b=c'", "data=folder", "data.directory='/my images/#1'"])
    assert config.name == "a, b=c"
    assert config.data.directory == "/my images/#1"


def test_mandatory_values_are_not_asked_for_where_nothing_runs():
    [config] = check(["data=folder"], complete=False)
    assert OmegaConf.is_missing(config.data, "directory")


def test_options_of_a_folder_of_ones_own(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("defaults: [base_mnist, _self_]\ntest_size: 77\n")
    [config] = check(["data=mine"], config_dir=str(tmp_path))
    assert config.data.test_size == 77
    with pytest.raises(InputError, match="did you mean data=mine"):
        check(["data=mime"], config_dir=str(tmp_path))
    with pytest.raises(InputError, match="is not a folder"):
        check(["data=mine"], config_dir=str(tmp_path / "nowhere"))
    (tmp_path / "data" / "mine.yaml").write_text("defaults: [base_mnist5k]\ncolor: red\n")
    with pytest.raises(InputError, match=r"Key 'color' not in 'MNIST5k'\.$"):
        check(["data=mine"], config_dir=str(tmp_path))


@pytest.mark.parametrize(
    "value", ["/my photos/(1)", "/a, b/c", "it's", "C:\\x\\", "[1", "$x{y}", "#!"]
)
def test_a_value_as_it_is_advised_is_taken(value):
    for line in (f"name={value}", f"data.directory={value}"):
        [word] = shlex.split(as_one(line))
        [config] = check(["data=mnist", word])
        assert value in (config.name, config.data.directory)


def test_the_rest_of_a_path_with_spaces():
    with pytest.raises(InputError, match=r"^photos cannot be read: .* to data\.directory=my"):
        check(["data=mnist", "data.directory=my", "photos"])


CODE = [
    "executor._target_", "+executor._target_", "hydra.launcher._target_", "hydra.sweeper._target_",
    "++hydra.callbacks.mine._target_", "hydra.job_logging.handlers.file.class",
]  # fmt: skip


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that tells when it is imported."""
    (tmp_path / "trap.py").write_text("from pathlib import Path\nPath('sprung').touch()\nX = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "override",
    [
        *(f"{name}=trap.X" for name in CODE),
        *(f"{group}._target_=trap.X" for group in GROUPS),
        "executor={_target_:trap.X}",
        "++hydra.callbacks={mine:{_target_:trap.X}}",
        "hydra.job_logging.handlers={file:{class:trap.X}}",
        "hydra.job_logging.handlers.file.stream=ext://trap.X",
        "executor._target_=trap.X,trap.Y",
    ],
)
def test_code_on_the_command_line_is_refused_and_not_imported(override, trap):
    with pytest.raises(InputError, match="names code, which is not taken from the command line"):
        check([override], multirun=True)


def test_habits_name_options_that_are_there():
    for option, habits in OPTIONS.items():
        group, _, field = option.rpartition(".")
        known = group == "hydra.run" or any(
            field in {each.name for each in fields(schema)}
            for schema in ([Config] if not group else GROUPS[group].values())
        )
        assert known, option
        for habit in habits:
            with pytest.raises(InputError, match=f"did you mean {option}"):
                check([f"{habit}=1"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--epochs", "5"], "--epochs is no flag: options are written NAME=VALUE, and epochs is "
         "unknown: did you mean baseline.epochs?"),
        (["--epochs=5"], "--epochs is no flag: options are written NAME=VALUE, and epochs is "),
        (["seed=1", "--seed", "7"], "--seed is no flag: options are written NAME=VALUE, seed=7."),
        (["--lr=1", "seed=1"], "did you mean baseline.learning_rate?"),
        (["-k", "5"], "did you mean slicing.k?"),
        (["--gpu", "seed=1"], "on threads=... of its cores."),
        (["--batch-size", "5"], "did you mean baseline.batch_size?"),
        (["--optimizer", "pso"], "--optimizer is no flag: options are written NAME=VALUE, optim"),
    ],
)  # fmt: skip
def test_options_with_dashes(words, sentence):
    with pytest.raises(InputError) as caught:
        check_flags(words, flags())
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words", [["--multirun", "seed=1,2"], ["-m"], ["--cfg", "job"], ["--hel"]])
def test_flags_that_are_there(words):
    assert check_flags(words, flags()) is None
