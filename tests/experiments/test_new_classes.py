"""New classes without training: the experiment of slide 8a."""

import numpy as np
import pytest

from slicing.data import mnist
from slicing.engine.engine import Engine
from slicing.errors import InputError
from tests.experiments.runs import run_here


@pytest.fixture(scope="module")
def result(small, tmp_path_factory):
    options = [
        "+experiment=new_class", "new.images=[1,5,500]", "strategy.generations=1",
        "block.layers=[1]", "tracking.model=false",
    ]  # fmt: skip
    return run_here([*small, *options], tmp_path_factory.mktemp("new classes"))


def test_few_images_teach_the_engine_and_it_forgets_nothing(result, small):
    one, five, most = result.summary.additions
    # There are not 500 among 200 images.
    assert (one.images, five.images) == (1, 5)
    assert 5 < most.images < 40
    for addition in (one, five, most):
        assert addition.engine.old.total + addition.engine.new.total == 60
        assert addition.engine.old.value > 0.5
    assert most.engine.new.value > one.engine.new.value
    assert most.engine.new.value > 0.5
    text = (result.folder / "summary.md").read_text()
    assert "images of each new class | engine: ms to add" in text
    for key in ("engine_new_accuracy", "engine_seconds", "cnn_old_accuracy"):
        steps = [each.step for each in result.history(f"new_class/{key}")]
        assert steps == [1, 5, most.images]


def test_neither_network_nor_engine_has_seen_the_new_classes(result, digits):
    engine = Engine.load(result.folder / "engine.safetensors")
    assert engine.classes == tuple("01234567")
    train = mnist(directory=digits, train_size=200, test_size=60).train
    assert len(engine.labels) == np.sum(train.labels < 8)


def test_a_class_that_is_not_there_is_refused_at_once(tiny, tmp_path):
    for options, sentence in (
        (["new.classes=['11']"], "names 11, and the classes are 0, 1"),
        (["new.classes=['1']", "new.images=[0]"], r"new.images=\[0\]"),
        (["new.classes=['8','8']"], "names a class twice"),
        (["new.classes=['0','1','2','3','4','5','6','7','8']"], "fewer than two classes"),
    ):
        with pytest.raises(InputError, match=sentence):
            run_here([*tiny, *options], tmp_path)


def test_interrupted_and_resumed_it_ends_as_if_nothing_had_happened(tiny, tmp_path, monkeypatch):
    options = [*tiny, "+experiment=new_class", "strategy.passes=1"]
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = run_here(options, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("experiments.new_classes.add", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_here(options, tmp_path / "broken")
    again = run_here([*options, f"resume={tmp_path / 'broken' / 'results'}"], tmp_path / "broken")
    assert [each.engine.new for each in again.summary.additions] == [
        each.engine.new for each in whole.summary.additions
    ]
    assert whole.summary.additions[0].cnn is None


def test_without_test_images_of_a_class_there_is_no_accuracy(tiny, tmp_path):
    options = [*tiny, "data.test_size=10", "new.classes=['8']", "strategy.passes=0"]
    [*_, last] = run_here(options, tmp_path).summary.additions
    assert (last.engine.old is None) != (last.engine.new is None)


def test_classes_are_kept_in_the_order_of_their_names(digits):
    data = mnist(directory=digits, train_size=100, test_size=50)
    some = data.of_classes(["7", "2"])
    assert some.classes == ("7", "2")
    for images, whole in ((some.train, data.train), (some.read_test(), data.read_test())):
        for label, digit in enumerate((7, 2)):
            np.testing.assert_array_equal(
                images.images[images.labels == label], whole.images[whole.labels == digit]
            )
        assert len(images) == np.isin(whole.labels, (2, 7)).sum()
    assert len(some.read_test_all()) > len(some.read_test())
