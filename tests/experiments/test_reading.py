from dataclasses import dataclass, replace

import numpy as np
import pytest

from evolve import cuts
from experiments.components import Components
from experiments.measuring import measured
from experiments.monitor import Silent
from experiments.reading import into_memory, load_network, through_network
from slicing.backbones.network import Network
from slicing.baselines import FineTuned, UntrainedCNN
from slicing.baselines.base import Baseline
from slicing.baselines.pretrained import Pretrained
from slicing.data.dataset import Dataset, Images
from slicing.data.image_files import ImageFiles
from slicing.data.image_folder import image_files
from slicing.data.preparation import Preparation
from slicing.errors import InputError
from slicing.pixels import unit_pixels
from slicing.stack import ConvStack
from tests.slicing.backbones.networks import residual
from tests.slicing.baselines.blobs import CLASSES, blobs
from tests.slicing.data.pictures import photo, save

pytest.importorskip("tf2onnx")

SHAPE = (12, 12, 3)
TRAIN, TEST = blobs(90, side=12, channels=3), blobs(40, side=12, channels=3)
PIXELS = unit_pixels(TEST.prepared(Preparation((12, 12), 3)))
DATASET = Dataset("blobs", CLASSES, TRAIN, lambda: TEST)


@dataclass(frozen=True, kw_only=True)
class Tiny(FineTuned):
    """A small network instead of one with ImageNet weights."""

    def network(self, image_size=None):
        network = Network.of_model(residual(), SHAPE)
        return replace(network, digest="residual")


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    options = {"name": "residual", "epochs": 15, "learning_rate": 0.01, "batch_size": 8}
    return Tiny(**options, threads=2, cache_dir=tmp_path_factory.mktemp("baselines"))


def read(builder, references=None, **slicing):
    options = {"data": {}, "slicing": {"cut": "auto", "pool": 1, **slicing}}
    given = DATASET, DATASET, references or TRAIN, options["slicing"]
    return through_network(*given, load_network(builder, options, Silent()), Silent())


@pytest.mark.parametrize("slicing", [{}, {"cut": "joined"}, {"cut": "joined", "pool": 2}])
def test_the_head_of_a_network_that_is_trained_classifies_beside_the_k_nn(builder, slicing):
    found = read(builder, **slicing)
    test = found.dataset.read_test()
    model = found.adapted.network.model
    wanted = model.predict_on_batch(PIXELS)[:, 0, 0]
    np.testing.assert_allclose(test.scores, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(test[[3, 1]].scores, test.scores[[3, 1]])
    # The k-NN sees the maps, and not the scores.
    assert found.classifier.cuts == (found.adapted.network.head,)
    assert found.adapted.network.head not in found.backbone.cuts
    assert test.images.shape[1:] == found.backbone.map_shape
    if slicing:
        assert found.backbone.cuts == ("joined",)


def test_scores_of_a_head_stand_as_the_baselines_answers(builder):
    found = read(builder)
    test = found.dataset.read_test()
    baseline = Baseline(ConvStack((), test.images.shape[1:]), CLASSES, backbone=found.classifier)
    result, [labels] = measured("fine-tuned", baseline, [test])
    np.testing.assert_array_equal(labels, test.scores.argmax(axis=1))
    assert result.test.correct == (labels == TEST.labels).sum()
    assert result.parameters > found.backbone.n_parameters
    assert result.total_bytes == len(found.classifier.graph)
    no_head = replace(test, scores=None)
    assert measured("frozen", baseline, [no_head])[1] == []


@pytest.mark.parametrize(("fraction", "judges"), [(0.5, 45), (0.1, 90), (0, 90)])
def test_a_cut_is_chosen_by_images_that_the_network_was_not_trained_with(
    builder, monkeypatch, fraction, judges
):
    seen, scores = [], cuts.scores

    def watched(maps, *given, **options):
        seen.append(len(maps))
        return scores(maps, *given, **options)

    monkeypatch.setattr(cuts, "scores", watched)
    found = read(replace(builder, epochs=1, choice_fraction=fraction))
    assert seen == [judges]
    assert len(found.adapted.unseen) == round(90 * fraction)


@pytest.mark.parametrize("trained", [True, False])
def test_images_that_validate_have_no_part_in_the_network_nor_in_its_cut(
    builder, monkeypatch, trained
):
    seen, scores = [], cuts.scores

    def watched(maps, *given, **options):
        seen.append(maps.source.contents)
        return scores(maps, *given, **options)

    def answering(self):
        return replace(Network.of_model(residual(), SHAPE), digest="residual")

    monkeypatch.setattr(cuts, "scores", watched)
    monkeypatch.setattr(Pretrained, "network", answering)
    network = replace(builder, epochs=1) if trained else Pretrained(name="residual")

    def result(train):
        dataset = replace(DATASET, train=train)
        options = {
            "data": {"image_size": None, "channels": None, "fit": "stretch"},
            "slicing": {"cut": "auto", "pool": 1},
            "baseline": {},
            "protocol": {"_target_": "evolve.protocols.validation", "fraction": 1 / 3},
            "seed": 0,
        }
        components = Components(options, {"baseline": "finetuned"})
        monkeypatch.setattr(components, "baseline", lambda: network)
        return components, components.read(dataset, dataset, Silent())

    components, found = result(TRAIN)
    roles = components.split(found.dataset)
    [judges] = seen
    assert {*judges.tolist()} <= {*roles.references.source.contents.tolist()}
    assert {*judges.tolist()}.isdisjoint(roles.queries.source.contents.tolist())
    assert len(roles.queries) == 30
    # Other images in their place change nothing of it.
    queries = np.isin(TRAIN.contents, roles.queries.source.contents)
    others = Images(TRAIN.images.copy(), TRAIN.labels)
    others.images[queries] = others.images[queries][:, ::-1, ::-1]
    again = result(others)[1]
    assert again.backbone.digest == found.backbone.digest


def test_a_cut_that_is_not_there_is_refused_before_anything_is_trained(builder, tmp_path):
    fresh = replace(builder, cache_dir=tmp_path)
    with pytest.raises(InputError, match=r"^cuts=joind is no layer of residual .*joined"):
        read(fresh, cut="joind")
    with pytest.raises(InputError, match=r"^pool=99 is out of range"):
        read(fresh, cut="joined", pool=99)
    assert not [*tmp_path.iterdir()]


def test_components_say_how_the_network_was_trained(builder, monkeypatch):
    options = {
        "data": {"image_size": None, "channels": None, "fit": "stretch"},
        "slicing": {"cut": "last", "pool": 1},
        "baseline": {"layers": 2},
        "protocol": {"_target_": "evolve.protocols.leave_one_out"},
        "seed": 0,
    }
    components = Components(options, {"baseline": "finetuned"})
    monkeypatch.setattr(components, "baseline", lambda: builder)
    found = components.read(DATASET, DATASET, Silent())
    baseline = components.make_baseline(found.dataset.train, CLASSES)
    assert baseline.backbone is found.classifier
    assert baseline.training == found.adapted.training != ()
    assert baseline.train_seconds == found.adapted.train_seconds > 0
    components = Components(options, {"baseline": "finetuned"})
    monkeypatch.setattr(components, "baseline", lambda: replace(builder, layers=9))
    with pytest.raises(InputError, match=r"^baseline\.layers=9 is out of range"):
        components.read(DATASET, DATASET, Silent())


def test_a_cut_of_what_is_not_frozen_is_refused(monkeypatch):
    options = {"data": {}, "slicing": {"cut": "joined"}, "baseline": {}}
    components = Components(options, {"baseline": "random"})
    monkeypatch.setattr(components, "baseline", lambda: UntrainedCNN())
    with pytest.raises(
        InputError, match=r"^slicing\.cut=joined .* this baseline has none"
    ) as caught:
        components.read(DATASET, DATASET, Silent())
    assert caught.value.option == "slicing.cut"


def test_a_network_that_is_not_trained_has_no_scores(builder):
    class Frozen(Pretrained):
        network = Tiny.network

    found = read(Frozen(name="residual", threads=2), cut="last")
    assert found.classifier is None
    assert found.dataset.train.scores is None
    assert found.adapted.training == ()


def test_images_are_read_once_though_some_classes_come_later(tmp_path, monkeypatch):
    for number in range(10):
        for name, tint in (("a", 0), ("b", 60), ("new", 120)):
            save(photo(number, (12, 12), (tint,) * 3), tmp_path / name / f"{number}.png")
    source = image_files(directory=tmp_path)
    whole, old = source.of_classes(["a", "b", "new"]), source.of_classes(["a", "b"])
    options = {"image_size": [6, 6], "channels": 3, "fit": "stretch"}
    alone = into_memory(old, old, options, Silent())
    counts, prepared = [], ImageFiles.prepared
    monkeypatch.setattr(
        ImageFiles,
        "prepared",
        lambda self, *more: counts.append(len(self)) or prepared(self, *more),
    )
    found = into_memory(old, whole, options, Silent())
    assert counts == [len(whole.train)]
    assert (found.dataset.name, found.dataset.classes) == (old.name, old.classes)
    for read in ("train", "read_test"):
        ours, theirs = (getattr(each.dataset, read) for each in (found, alone))
        ours, theirs = (ours, theirs) if read == "train" else (ours(), theirs())
        assert ours.digest == theirs.digest
        assert ours.names.tolist() == theirs.names.tolist()
