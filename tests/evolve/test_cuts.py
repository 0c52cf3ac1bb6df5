"""Where to cut: scores of maps whose answer is known."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from evolve import cuts
from evolve.cuts import CutScore, best, scores, useful_sets
from slicing.backbones.maps import Maps
from slicing.data.dataset import Images

CUTS, CHANNELS = ("noise", "half", "other half"), (5, 2, 3)


@pytest.fixture(scope="module")
def maps():
    """Of four classes: one cut tells the first bit of a label, one the second, and one nothing."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(120) % 4)
    values = rng.normal(size=(120, 1, 1, 10)).astype(np.float32)
    values[:, 0, 0, 5] += 8 * (labels % 2)
    values[:, 0, 0, 8] += 8 * (labels // 2)
    source = Images(rng.random((120, 6, 6, 3), np.float32), labels)
    return Maps(
        images=values,
        labels=labels,
        source=source,
        backbone="of the test",
        pixel_contrasts=source.contrasts,
    )


def test_the_set_that_tells_most_is_the_best(maps):
    found = {score.cuts: score for score in scores(maps, CUTS, CHANNELS)}
    assert [*found] == useful_sets(CUTS)
    assert best([*found.values()]).cuts == ("half", "other half")
    assert found["half", "other half"].discriminants > 0.97
    assert found["half", "other half"].n_features == 5
    for cut in ("half", "other half"):
        assert found[cut,].discriminants < 0.6
    assert found["noise",].discriminants < 0.35
    assert found["noise",].neighbors < 0.35
    for figure in ("h_score", "log_evidence"):
        ranked = sorted(found.values(), key=lambda score: getattr(score, figure))
        assert ranked[0].cuts == ("noise",)
        assert "half" in ranked[-1].cuts
        assert "other half" in ranked[-1].cuts


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbors_are_scikit_learns_without_the_image_itself(maps, metric):
    features = maps.images.reshape(len(maps), -1).astype(float)
    right = 0
    for row in range(len(maps)):
        others = np.arange(len(maps)) != row
        theirs = KNeighborsClassifier(5, algorithm="brute", metric=metric)
        theirs.fit(features[others], maps.labels[others])
        right += theirs.predict(features[row : row + 1])[0] == maps.labels[row]
    last = [*scores(maps, CUTS, CHANNELS, k=5, metric=metric)][-1]
    assert last.cuts == CUTS
    assert last.neighbors == right / len(maps)


def test_many_images_are_scored_by_a_sample_of_every_class(maps, monkeypatch):
    monkeypatch.setattr(cuts, "IMAGES", 60)
    sampled = [*scores(maps, CUTS, CHANNELS)]
    monkeypatch.setattr(cuts, "IMAGES", 120)
    assert sampled != [*scores(maps, CUTS, CHANNELS)]
    # 15 images of each class, each left out in turn.
    assert all(score.neighbors * 60 == pytest.approx(round(score.neighbors * 60))
               for score in sampled)  # fmt: skip
    assert best(sampled).cuts == ("half", "other half")


def test_useful_sets_are_each_cut_and_the_last_ones():
    assert useful_sets(["a"]) == [("a",)]
    assert useful_sets("abc") == [("a",), ("b",), ("c",), ("b", "c"), ("a", "b", "c")]
    many = [str(number) for number in range(40)]
    found = useful_sets(many)
    assert found[:40] == [(cut,) for cut in many]
    assert len({*found}) == len(found)
    assert all(chosen == tuple(many[-len(chosen) :]) for chosen in found[40:])
    assert found[-1] == tuple(many)


def test_of_equal_cuts_the_one_with_less_loss_is_the_best_and_of_those_the_first():
    def score(name, discriminants, loss):
        return CutScore((name,), 1, discriminants, 0.0, loss, 0.0, 0.0)

    found = [score("a", 0.5, 0.1), score("b", 0.9, 0.3), score("c", 0.9, 0.2), score("d", 0.9, 0.2)]
    assert best(found).cuts == ("c",)


def test_what_is_done_is_shown(maps):
    shown = []
    list(scores(maps, CUTS, CHANNELS, show=lambda done, text: shown.append((done, text))))
    assert shown[0] == (0, "scoring cut 1 of 5")
    assert [done for done, _ in shown] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
