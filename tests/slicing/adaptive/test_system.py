from dataclasses import replace

import numpy as np
import pytest

from slicing import tensor_file
from slicing.adaptive import stored_system
from slicing.adaptive.combination import Combination
from slicing.adaptive.dial import Dial, MaxLoss, MeanTime
from slicing.adaptive.drift import Watched
from slicing.adaptive.measuring import (
    dispatch_cost,
    member_costs,
    selector_costs,
    single_milliseconds,
)
from slicing.adaptive.members import Members, shift_members
from slicing.adaptive.neighborhood import Neighborhood
from slicing.adaptive.outcome import Decisions
from slicing.adaptive.selectors import SELECTORS
from slicing.adaptive.system import System
from slicing.adaptive.table import Costs
from slicing.data.preparation import Preparation
from slicing.engine.engine import Engine
from slicing.errors import InputError
from slicing.stack import ConvStack
from tests.slicing.adaptive.planted import CLASSES, blobs, engines
from tests.slicing.backbones.colors import mean_colors

COSTS = Costs(np.array([1.0, 4.0]), np.array([1.0, 4.0]))


@pytest.fixture(scope="module")
def members():
    return Members(engines(blobs(200, 0)))


@pytest.fixture(scope="module")
def parts(members):
    found = []
    for seed in (1, 2):
        images = blobs(300, seed)
        found.append((members.table(images.images, images.labels, COSTS), images.images))
    return found


def made(name, members, parts, combination=None):
    (select, images), (certify, others) = parts
    selector = SELECTORS[name].fit(select, images, members.engines)
    both = [
        Decisions.of(selector, selector.look(seen, members.engines), table)
        for table, seen in ((select, images), (certify, others))
    ]
    dial = Dial.certified(*both, combination)
    roles = {"train": 200, "select": 300, "certify": 300}
    system = System(members.engines, selector, dial, COSTS, 0, combination, roles)
    middle = len(dial.thresholds) // 2
    return replace(system, point=middle)


@pytest.fixture(scope="module", params=[*SELECTORS])
def system(request, members, parts):
    return made(request.param, members, parts, Combination.fit(parts[0][0]))


@pytest.fixture(scope="module")
def test():
    return blobs(120, 3)


def test_the_ends_of_the_dial_are_single_members(system, test):
    last = len(system.dial.thresholds) - 1
    for point, engine in ((0, system.engines[-1]), (last, system.engines[0])):
        end = replace(system, point=point)
        np.testing.assert_array_equal(
            end.predict_proba(test.images), engine.predict_proba(test.images)
        )
        np.testing.assert_array_equal(end.predict(test.images), engine.predict(test.images))


def test_an_answer_does_not_depend_on_the_other_images(system, test):
    whole = system.answers(test.images)
    order = np.random.default_rng(0).permutation(len(test))
    for permuted, expected in zip(system.answers(test.images[order]), whole, strict=True):
        np.testing.assert_array_equal(permuted, expected[order])
    singles = [system.answers(test.images[i : i + 1]) for i in range(12)]
    for field, expected in zip(zip(*singles, strict=True), whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(field), expected[:12])


def test_the_file_is_the_system(system, test, tmp_path):
    system.save(tmp_path / "system.safetensors")
    loaded = System.load(tmp_path / "system.safetensors")
    for found, expected in zip(
        loaded.answers(test.images), system.answers(test.images), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert (loaded.point, dict(loaded.roles)) == (system.point, dict(system.roles))
    for name, array in system.dial.arrays().items():
        np.testing.assert_array_equal(loaded.dial.arrays()[name], array)
    assert loaded.total_bytes == (tmp_path / "system.safetensors").stat().st_size
    assert loaded.costs.decide == system.costs.decide


def test_labels_are_the_argmax_of_shares_that_sum_to_one(system, test):
    shares = system.predict_proba(test.images)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(system.predict_labels(test.images), shares.argmax(axis=1))
    assert system.classes == CLASSES
    assert system.predict_labels(test.images[:0]).shape == (0,)
    as_bytes = np.uint8(255 * test.images)
    np.testing.assert_array_equal(
        system.predict_labels(as_bytes), system.predict_labels(as_bytes / np.float32(255))
    )


@pytest.fixture(scope="module")
def cascade(members, parts):
    return made("cascade", members, parts)


def test_some_images_are_asked_about_twice_and_the_others_once(cascade, test):
    found = cascade.answers(test.images)
    assert 0 < found.asked[:, 1].sum() < len(test)
    small, large = (each.predict_labels(test.images) for each in cascade.engines)
    goes_on = found.asked[:, 1]
    np.testing.assert_array_equal(found.shares.argmax(axis=1), np.where(goes_on, large, small))
    margins = cascade.evidence(test.images).margins
    doubt = cascade.selector.after(0, small, cascade.engines[0].scores(test.images)).urgency
    assert doubt[goes_on].min() > doubt[~goes_on].max()
    assert margins.shape == (len(test),)


def test_budgets_choose_points_at_run_time(cascade, test):
    everything = cascade.predict_proba(test.images, MaxLoss(1.0))
    expected = cascade.at(MaxLoss(1.0)).predict_proba(test.images)
    np.testing.assert_array_equal(everything, expected)
    strict = cascade.answers(test.images, MaxLoss(0.0))
    assert strict.asked[:, 1].all()
    assert not strict.asked[:, 0].any()
    fast = cascade.answers(test.images, MeanTime(1.0))
    assert not fast.asked[:, 1].any()


def test_a_deadline_keeps_the_largest_away(cascade, test):
    assert cascade.answers(test.images).asked[:, 1].any()
    assert not cascade.answers(test.images, deadline=3.0).asked[:, 1].any()


def test_several_answers_are_combined_by_calibrated_means(members, parts, test):
    combination = Combination.fit(parts[0][0])
    system = made("cascade", members, parts, combination)
    found = system.answers(test.images)
    several = found.asked.sum(axis=1) == 2
    scores = [each.scores(test.images[several]) for each in members.engines]
    means = sum(combination.probabilities(number, each) for number, each in enumerate(scores))
    np.testing.assert_allclose(found.shares[several], means / 2, rtol=1e-6)


def test_shifts_begin_with_one_copy_and_end_with_the_mean_of_all(test):
    one, nine = shift_members(engines(blobs(200, 0), average=1)[1])
    members = Members([one, nine])
    assert members.builds_on == (None, 0)
    asking = members.asking(test.images)
    rows = np.arange(0, len(test), 3)
    asking(0, np.arange(len(test)))
    _, scores = asking(1, rows)
    np.testing.assert_array_equal(scores, nine.scores(test.images[rows]))
    with pytest.raises(InputError, match="averages no shifted copies"):
        shift_members(one)


def test_an_array_of_two_members_is_in_the_file_once(tmp_path):
    pair = shift_members(engines(blobs(200, 0), average=1)[1])
    images = blobs(100, 1)
    members = Members(pair)
    table = members.table(images.images, images.labels, COSTS)
    system = made("cascade", members, [(table, images.images)] * 2)
    path = tmp_path / "system.safetensors"
    system.save(path)
    settings, _ = tensor_file.read(path, stored_system.KIND)
    one, two = (each["arrays"] for each in settings["members"])
    assert one == two
    restored = System.load(path)
    assert [each.average for each in restored.engines] == [0, 1]


def test_what_members_and_selectors_take_is_measured(members, cascade, test):
    costs = member_costs(members, test.images[:4])
    assert (costs.alone > 0).all()
    assert (costs.after > 0).all()
    whole = selector_costs(costs, cascade.selector, members, test.images[:4])
    assert whole.decide > 0
    assert single_milliseconds([cascade], test.images[:4]).shape == (1, 4)
    assert dispatch_cost(cascade, test.images[:4]) >= 0


def test_members_of_other_classes_or_images_are_refused(members):
    one, two = members.engines
    with pytest.raises(InputError, match="Member 2 knows the classes x, y, z"):
        Members([one, replace(two, classes=("x", "y", "z"))])
    with pytest.raises(InputError, match="two members at least"):
        Members([one])


def test_damaged_and_foreign_files_are_one_sentence(cascade, members, tmp_path):
    path = tmp_path / "system.safetensors"
    members.engines[0].save(path)
    with pytest.raises(InputError, match="is not a file of a knn-slicing system"):
        System.load(path)
    cascade.save(path)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="damaged, its checksum does not match"):
        System.load(path)
    path.write_bytes(content[:-40])
    with pytest.raises(InputError, match="cut short"):
        System.load(path)
    with pytest.raises(InputError, match="cannot be read"):
        System.load(tmp_path / "none")


def test_parts_that_do_not_fit_are_one_sentence(system, tmp_path):
    path = tmp_path / "system.safetensors"
    system.save(path)
    settings, arrays = tensor_file.read(path, stored_system.KIND)
    mistakes = [
        (settings | {"selector": "oracle"}, arrays),
        (settings | {"members": settings["members"][:1]}, arrays),
        (settings | {"point": 10_000}, arrays),
        (settings | {"roles": {"train": "many"}}, arrays),
        (settings, arrays | {"dial.thresholds": arrays["dial.thresholds"][::-1]}),
        (settings, arrays | {"costs.alone": np.ones(5)}),
        (settings, {name: each for name, each in arrays.items() if not name.startswith("dial")}),
    ]
    for mistaken, content in mistakes:
        tensor_file.write(path, tensor_file.pack(stored_system.KIND, mistaken, content))
        with pytest.raises(InputError, match="holds no system that fits together"):
            System.load(path)


def test_members_may_have_networks_below_their_cuts():
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(0)
    pixels = rng.random((200, 6, 6, 3)).astype(np.float32)
    labels = rng.integers(0, 3, 200)
    pixels[np.arange(200), ..., labels] *= np.float32(0.85)
    pair = []
    for cuts in (("mixed",), ("color", "mixed")):
        backbone = mean_colors(cuts=cuts)
        stack = ConvStack((), backbone.map_shape)
        features = backbone.maps(pixels[:100]).reshape(100, -1)
        built = Engine.of(stack, features, labels[:100], CLASSES, k=3)
        pair.append(replace(built, backbone=backbone, preparation=Preparation((6, 6), 3)))
    members = Members(pair)
    rest = pixels[100:]
    table = members.table(rest, labels[100:], COSTS)
    np.testing.assert_array_equal(table.answers[1], pair[1].predict_labels(rest))
    system = made("premodel_activations", members, [(table, rest)] * 2)
    as_bytes = np.uint8(255 * rest)
    assert system.for_files() == pair[0].preparation
    np.testing.assert_array_equal(
        system.at(MaxLoss(0.0)).predict_labels(as_bytes), pair[1].predict_labels(as_bytes)
    )
    found = system.predict_labels(as_bytes)
    small, large = (each.predict_labels(as_bytes) for each in pair)
    assert ((found == small) | (found == large)).all()


def test_no_drift_is_seen_where_there_is_none_and_drift_is(cascade):
    calm = Watched(cascade, window=100, level=0.001)
    for seed in range(5, 9):
        calm.predict_labels(blobs(100, seed).images)
    assert not calm.has_drifted
    noise = np.random.default_rng(0).random((250, 10, 10, 1), np.float32)
    noisy = Watched(cascade, window=100, level=0.001)
    noisy.predict_labels(noise[:150])
    assert noisy.has_drifted
    np.testing.assert_array_equal(
        noisy.predict_proba(noise), cascade.engines[-1].predict_proba(noise)
    )
    assert noisy.classes == CLASSES


def test_drift_is_seen_by_any_member(cascade):
    """Also where the largest is asked as often as before."""
    watched = Watched(cascade, window=100, level=0.01)
    usual = np.rint(100 * cascade.dial.asked[cascade.point]).astype(int)
    asked = np.zeros((100, len(usual)), bool)
    for member, count in enumerate(usual):
        asked[:count, member] = True
    watched._count(asked)
    assert not watched.has_drifted
    # The smallest is always asked, as a rule.
    assert usual[0] == 100
    asked[:20, 0] = False
    watched._count(asked)
    assert watched.has_drifted


@pytest.mark.parametrize(
    ("name", "array", "change"),
    [
        ("deferral", "points0", lambda each: each[:, :-1]),
        ("deferral", "weights", lambda each: each[:, :, :-1]),
        ("deferral", "right", lambda each: each[:, :5]),
        ("premodel_activations", "points", lambda each: each[:, :-1]),
        ("premodel", "chosen", lambda each: each + 100),
        ("premodel", "level1.features", lambda each: each[:0]),
        ("cascade", "weights", lambda each: each[:1]),
    ],
)
def test_a_selector_of_other_members_is_one_sentence(name, array, change, members, parts, tmp_path):
    path = tmp_path / "system.safetensors"
    made(name, members, parts).save(path)
    settings, arrays = tensor_file.read(path, stored_system.KIND)
    arrays[f"selector.{array}"] = change(arrays[f"selector.{array}"])
    tensor_file.write(path, tensor_file.pack(stored_system.KIND, settings, arrays))
    with pytest.raises(InputError, match="holds no system that fits together"):
        System.load(path)


def test_of_many_images_some_are_known_and_none_is_its_own_neighbor(monkeypatch):
    monkeypatch.setattr("slicing.adaptive.neighborhood._MOST", 10)
    points = np.arange(40, dtype=np.float32)[:, None]
    near, own = Neighborhood.of(points, (points[:, 0] == 0)[None])
    assert (len(near.points), (own >= 0).sum()) == (10, 10)
    np.testing.assert_array_equal(near.points[own[own >= 0]], points[own >= 0])
    # Only the first image is one about which anybody was right.
    assert near.local_accuracy(points, own)[0] == 0
    assert near.local_accuracy(points)[0] == 0.1
