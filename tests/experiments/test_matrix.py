"""Every optimizer, on every strategy, over every kind of block."""

import numpy as np
import pytest

from evolve.checkpoint import Checkpoint
from evolve.events import BlockEnd
from evolve.fitness.knn import KNNFitness
from evolve.protocols import Split
from experiments.components import Components
from experiments.overrides import check
from experiments.schema.run import GROUPS, plain
from slicing.data import Images
from slicing.errors import InputError
from slicing.stack import Conv, ConvStack, Pool

# Two convolutions and 24 images: all sizes of blocks, and next to nothing to compute.
N_KERNELS = (2, 3)


def make_fitness():
    rng = np.random.default_rng(0)
    layers = []
    for n_in, n_out in zip((1, *N_KERNELS), N_KERNELS, strict=False):
        weights = rng.normal(size=(3, 3, n_in, n_out)).astype(np.float32)
        layers.append(Conv(weights, np.zeros(n_out, np.float32)))
    images = Images(rng.random((24, 10, 10, 1), np.float32), np.arange(24) % 3)
    return KNNFitness(ConvStack((*layers, Pool()), (10, 10, 1)), Split(images, None), neighbors=5)


@pytest.mark.parametrize("strategy", GROUPS["strategy"])
@pytest.mark.parametrize("optimizer", GROUPS["optimizer"])
def test_every_optimizer_strategy_and_block(optimizer, strategy, tmp_path):
    for block in GROUPS["block"]:
        [config] = check(
            [
                f"optimizer={optimizer}", f"strategy={strategy}", f"block={block}",
                "block.layers=null", "strategy.generations=2",
                "strategy.hand_over=best", *(["block.size=2"] if block == "group" else []),
            ]
        )  # fmt: skip
        fitness = make_fitness()
        before = fitness.loss
        schedule = Components(plain(config), {}).schedule(fitness, Checkpoint(tmp_path / block))
        ends = [event for event in schedule if isinstance(event, BlockEnd)]
        n_blocks = {"kernel": 5, "group": 3, "layer": 2, "network": 1}[block]
        assert len(ends) == n_blocks
        assert schedule.ended == "passes"
        assert [end.evaluations for end in ends] == sorted(end.evaluations for end in ends)
        assert fitness.loss < before
        assert any(end.accepted for end in ends)


UNFIT = [
    (["optimizer=deap_cmaes", "block=layer"], "takes at most 500: .*optimizer=sep_cmaes"),
    (["optimizer=cmaes", "block=layer"], "takes at most 3000: .*optimizer=sep_cmaes"),
    (["optimizer=cmaes", "optimizer.population=2"], r"optimizer\.population=2 is out of range"),
    (["optimizer=pso_local", "optimizer.neighbors=99"], r"optimizer\.neighbors=99 is out of range"),
    (["baseline=svm", "baseline.C=0"], r"^baseline\.C=0.* is out of range"),
    (
        ["baseline=nearest_neighbors", "baseline.features=hog", "baseline.cells=29"],
        r"^baseline\.cells=29 is out of range: choose 2 to 28 for images of 28 x 28 pixels",
    ),
    (["baseline=random_forest", "baseline.trees=0"], r"^baseline\.trees=0 is out of range"),
    (["baseline=lstm", "baseline.units=0"], r"^baseline\.units=0 is out of range"),
    (["baseline=naive_bayes", "slicing.k=21"], r"^slicing\.k=21 is out of range"),
    (["block.layers=[3]"], r"block\.layers names a convolution 3"),
    (
        ["executor=processes"],
        "executor=processes has nothing .* choose strategy=parallel, or executor=serial",
    ),
    (["strategy=parallel", "executor=processes", "executor.workers=0"], "workers=0"),
    (["fitness.max_references=3"], r"fitness\.max_references=3 is out of range"),
    (["fitness=neighbors", "fitness.neighbors=20"], r"fitness\.neighbors=20 .* choose 1 to 19\."),
    (["fitness=accuracy", "fitness.k=20"], r"fitness\.k=20 .* choose 1 to 19\."),
    (["fitness=neighbors", "fitness.temperature=0"], r"fitness\.temperature=0.* is out of range"),
]


@pytest.mark.parametrize(("overrides", "sentence"), UNFIT)
def test_what_does_not_fit_is_refused_before_anything_is_trained(overrides, sentence):
    [config] = check(overrides)
    images = Images(np.zeros((20, 28, 28, 1), np.float32), np.arange(20) % 10)
    with pytest.raises(InputError, match=sentence):
        Components(plain(config), {}).check(Split(images, None), tuple("0123456789"))


# Classes that a user's own YAML file names.
FOREIGN = {
    "optimizer": ("pathlib.Path", r"derived from evolve\.optimizers\.base\.Optimizer"),
    "fitness": ("math.pi", "_target_=math.pi cannot be used: the first argument"),
    "strategy": ("evolve.optimizers.PSO", r"derived from evolve\.schedule\.Schedule"),
    "executor": ("no.Such", r"_target_=no\.Such cannot be used: .*No module named 'no'"),
    "data": ("os.system", r"^data\._target_=os\.system does not take these options: "),
    "protocol": ("os.system", r"^protocol\._target_=os\.system does not take these options: "),
    "block": ("os.getpid", r"^block\._target_=os\.getpid does not take these options: "),
    "baseline": ("os.getcwd", r"^baseline\._target_=os\.getcwd does not take these options: "),
}


def with_target(group, target):
    [config] = check([])
    options = plain(config)
    options[group]["_target_"] = target
    return Components(options, {})


@pytest.mark.parametrize("group", FOREIGN)
def test_a_class_of_another_kind_is_one_sentence(group):
    target, sentence = FOREIGN[group]
    images = Images(np.zeros((20, 28, 28, 1), np.float32), np.arange(20) % 10)
    components = with_target(group, target)
    make = {"data": components.dataset, "protocol": lambda: components.split(images)}
    with pytest.raises(InputError, match=sentence) as caught:
        make.get(group, lambda: components.check(Split(images, None), tuple("0123456789")))()
    assert caught.value.option == f"{group}._target_"


def test_a_function_that_gives_no_images_is_one_sentence():
    components = with_target("data", "unittest.mock.Mock")
    with pytest.raises(InputError, match=r"^data\._target_=unittest\.mock\.Mock gives no images"):
        components.dataset()


def test_what_a_file_puts_into_an_option_is_named_by_its_class():
    choices = {"optimizer": "random", "fitness": "accuracy", "own": "one"}
    [config] = check(["optimizer=random", "fitness=accuracy"])
    options = plain(config) | {"own": {"_target_": "package.Own"}}
    options["optimizer"]["_target_"] = "package.OneFifth"
    assert Components(options, choices).choices == choices | {"optimizer": "OneFifth"}


@pytest.mark.parametrize("block", ["layer", "network"])
def test_the_alternatives_that_are_named_are_not_refused(block):
    images = Images(np.zeros((20, 28, 28, 1), np.float32), np.arange(20) % 10)
    refused = []
    for optimizer in GROUPS["optimizer"]:
        [config] = check([f"optimizer={optimizer}", f"block={block}"])
        try:
            Components(plain(config), {}).check(Split(images, None), tuple("0123456789"))
        except InputError:
            refused.append(optimizer)
    assert refused == ["cmaes", "deap_cmaes"]
