"""What a library says of itself, in the words of the command line."""

import sys

import numpy as np
import pytest

from evolve.protocols import Split
from experiments.components import Components
from experiments.overrides import check
from experiments.schema.run import plain
from slicing.data import Dataset, Images
from slicing.errors import InputError
from tests.experiments.runs import run_here


def refusal(overrides, shape=(28, 28, 1)):
    """What the components say of these options."""
    [config] = check(overrides)
    images = Images(np.random.default_rng(0).random((20, *shape), np.float32), np.arange(20) % 10)
    with pytest.raises(InputError) as caught:
        Components(plain(config), {}).check(Split(images, None), tuple("0123456789"))
    return caught.value


def test_an_optimizer_for_small_blocks_names_the_options_that_help():
    error = refusal(["optimizer=cmaes", "block=layer"])
    assert error.option == "optimizer"
    assert str(error).endswith(
        "choose optimizer=sep_cmaes or optimizer=vkd_cmaes, which take any number, or smaller "
        "blocks (block=kernel)."
    )


def test_workers_without_work_name_the_options_that_help():
    error = refusal(["executor=processes"])
    assert error.option == "executor"
    assert str(error).startswith("executor=processes has nothing to do")
    assert str(error).endswith("choose strategy=parallel, or executor=serial.")


@pytest.mark.parametrize("overrides", [["slicing.projection=none"], ["fitness=neighbors"], []])
def test_too_many_features_name_the_options_that_help(overrides):
    error = refusal(
        ["baseline=random", "baseline.filters=[64]", "baseline.pooling=[true]", *overrides],
        (100, 100, 1),
    )
    assert str(error).endswith("as they are (slicing.projection=none fitness=neighbors).")


def test_images_that_are_not_there_name_the_option_that_helps(tmp_path):
    [config] = check(["data=mnist", f"data.directory={tmp_path}"])
    with pytest.raises(InputError, match=r"set data.directory or MNIST_DIR .* data=mnist5k, which"):
        Components(plain(config), {}).dataset()


def test_a_missing_ray_is_named_by_its_option(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "none")
    monkeypatch.setitem(sys.modules, "ray", None)
    error = refusal(["strategy=parallel", "executor=ray"])
    assert str(error).startswith("executor=ray needs the package ray")


def test_what_shows_while_the_schedule_runs_is_named_by_its_option(tiny, tmp_path):
    with pytest.raises(InputError, match=r"^strategy\.max_evaluations=3 does not") as caught:
        run_here([*tiny, "strategy.max_evaluations=3"], tmp_path)
    assert caught.value.option == "strategy.max_evaluations"


def test_a_model_of_the_users_own_names_the_options_that_help(tmp_path):
    from tests.slicing.baselines.test_examination import NAMES, brightness, save

    path, images = tmp_path / "mine.keras", Split(brightness(), None)
    save(path, (0, 255), ("gray", "white", "black", "dark", "light"))
    options = ["baseline=file", f"baseline.path={path}", "slicing.projection=none"]

    def made(*more):
        [config] = check([*options, "fitness=neighbors", *more])
        components = Components(plain(config), {})
        components.check(images, NAMES)
        return components.make_baseline(images.references, NAMES)

    with pytest.raises(InputError) as caught:
        made()
    assert caught.value.option == "baseline.pixels"
    assert str(caught.value).startswith("baseline.pixels=[0,1] is not the range")
    sets = [
        "baseline.pixels=[0,255]",
        "baseline.classes=['gray','white','black','dark','light']",
    ]
    assert str(caught.value).endswith(f"; set {sets[0]}, and set {sets[1]}.")
    answers = made(*sets).predict_labels(images.references.images)
    assert (answers == images.references.labels).mean() > 0.9


@pytest.mark.parametrize("baseline", ["random", "lenet", "gradient"])
def test_a_dead_baseline_is_refused_whatever_made_it(baseline, tmp_path):
    options = [f"baseline={baseline}", "baseline.filters=[2]", "baseline.pooling=[true]"]
    if baseline != "random":
        options += [f"baseline.cache_dir={tmp_path}", "baseline.epochs=1", "baseline.units=2"]
    [config] = check([*options, *["baseline.tuning_epochs=1"] * (baseline == "gradient")])
    black = Images(np.zeros((20, 8, 8, 1), np.float32), np.arange(20) % 10)
    with pytest.raises(InputError, match=r"^The network is dead: its 18 features are the same"):
        Components(plain(config), {}).make_baseline(black, tuple("0123456789"))


def numbers(train_size, test_size, seed, scale=1):
    """A dataset of a user's own: images that are all different."""
    pixels = np.linspace(0, scale, train_size, dtype=np.float32).reshape(-1, 1, 1, 1)
    train = Images(pixels * np.ones((1, 8, 8, 1), np.float32), np.arange(train_size) % 2)
    return Dataset("numbers", ("even", "odd"), train, lambda: train[:test_size])


def wrong_numbers(**options):
    return numbers(**options, scale=255)


def dataset_of(name, *overrides):
    [config] = check(["data.test_size=10", *overrides])
    options = plain(config)
    options["data"]["_target_"] = f"tests.experiments.test_components.{name}"
    return Components(options, {}).dataset()


def test_images_for_calibration_are_held_out_before_anything_sees_them():
    whole = dataset_of("numbers", "data.train_size=400")
    assert whole.calibration is None
    parts = dataset_of("numbers", "data.train_size=400", "data.calibration_fraction=0.25")
    assert (len(parts.train), len(parts.calibration)) == (300, 100)
    digests = {
        dataset_of(
            "numbers", "data.train_size=400", "data.calibration_fraction=0.25", *seeds
        ).train.digest
        for seeds in ((), ("seed=1",), ("data.seed=1",))
    }
    # The run's seed leaves them: runs of several seeds compare.
    assert parts.train.digest in digests
    assert len(digests) == 2


def test_too_few_for_calibration_are_for_training_and_the_number_is_said(caplog):
    whole = dataset_of("numbers", "data.train_size=200", "data.calibration_fraction=0.2")
    assert (len(whole.train), whole.calibration) == (200, None)
    assert "data.calibration_fraction=0.2 of 200 training images is 40, and it takes 50" in (
        caplog.text
    )


@pytest.mark.parametrize("fraction", ["-0.1", "0.51", "nan"])
def test_no_share_for_calibration_is_refused(fraction):
    with pytest.raises(InputError, match=r"^data.calibration_fraction=.* choose 0 to 0.5"):
        dataset_of("numbers", f"data.calibration_fraction={fraction}")


def test_pixels_of_a_dataset_of_ones_own_are_checked():
    with pytest.raises(InputError, match="run from 0 to 255, and must be from 0 to 1: divide"):
        dataset_of("wrong_numbers")
