import numpy as np
import pytest
from PIL import Image

from evolve.protocols import validation
from slicing.baselines import FineTuned
from slicing.data import folder
from slicing.data.image_file import UnreadableImageError
from slicing.data.image_folder import image_files
from slicing.data.preparation import Preparation
from slicing.data.sampling import stratified_order
from slicing.data.splitting import Prints, split
from tests.slicing.data.pictures import photo, save


@pytest.fixture
def photos(tmp_path):
    """Two classes of ten photos."""
    return [
        save(photo(10 * label + number), tmp_path / "photos" / "ab"[label] / f"{number}.png")
        for label in range(2)
        for number in range(10)
    ]


LABELS = np.repeat([0, 1], 10)


def test_without_copies_it_is_the_stratified_order(photos):
    for radius in (8, None):
        train, test, groups = split(LABELS, 6, 3, Prints(photos, 100), radius)
        order = stratified_order(LABELS, 3)
        np.testing.assert_array_equal(np.concatenate([test, train]), order)
        assert len(test) == 6
        assert len(np.unique(groups)) == 20


def test_copies_are_on_one_side(photos, tmp_path):
    """Half of the photos are also there saved again, some under another label."""
    again = [
        save(Image.open(path), tmp_path / f"{number}.jpg", quality=40)
        for number, path in enumerate(photos[::2])
    ]
    labels = np.concatenate([LABELS, LABELS[::2]])
    labels[-1] = 0
    cut = 0
    for seed in range(5):
        prints = Prints([*photos, *again], 100)
        train, test, groups = split(labels, 8, seed, prints, 8)
        assert sorted([*train, *test]) == [*range(30)]
        assert set(groups[train]).isdisjoint(groups[test])
        assert groups[20:].tolist() == [*range(0, 20, 2)]
        assert 7 <= len(test) <= 9
        assert np.unique(labels[test]).tolist() == np.unique(labels[train]).tolist() == [0, 1]
        _, test, _ = split(labels, 8, seed, prints, None)
        cut += len(set(groups[test]) & set(groups[np.setdiff1d(np.arange(30), test)]))
    assert cut > 0


def test_files_that_were_not_asked_for_are_not_decoded(photos, tmp_path):
    again = [save(Image.open(path), tmp_path / f"{path.name}.jpg") for path in photos[:5]]
    prints = Prints([*photos, *again], 100)
    labels = np.concatenate([LABELS, LABELS[:5]])
    train, test, groups = split(labels, 10, 0, prints, 8, 6, 4)
    assert len(train) == 6
    assert len(test) == 4
    assert set(groups[train]).isdisjoint(groups[test])
    assert {*train, *test} <= prints.taken.keys()
    assert len(prints.taken) < 20


def test_what_cannot_be_read_is_kept_apart(photos):
    photos[3].write_bytes(b"\x89PNG")
    prints = Prints(photos, 100)
    assert prints.take(np.arange(20))
    assert not prints.take(np.arange(20))
    [(index, error)] = prints.unreadable.items()
    assert index == 3
    assert isinstance(error, UnreadableImageError)
    assert len(prints.taken) == 19
    assert len(np.unique(prints.groups(8))) == 20


def sides(dataset):
    """The names of the training and of the test images, without their suffixes."""
    parts = dataset.train, dataset.read_test()
    return [{name.rpartition(".")[0] for name in part.names.tolist()} for part in parts]


def test_a_folder_keeps_copies_on_one_side(photos):
    for path in photos[:8]:
        save(Image.open(path), path.with_suffix(".jpg"), quality=50)
    root = photos[0].parents[1]
    for seed in range(3):
        dataset = folder(directory=root, channels=3, seed=seed)
        train, test = sides(dataset)
        assert not train & test
        note = "Copies of others: 8 files. Copies are on one side of the split."
        assert note in dataset.notes
        assert dataset.survey.quality().duplicates.test_in_training == 0
    both = [sides(folder(directory=root, duplicate_radius=None, seed=seed)) for seed in range(3)]
    assert any(train & test for train, test in both)


def test_test_images_of_their_own_stay_where_they_are(photos, tmp_path):
    for part in ("train", "test"):
        for path in photos:
            save(Image.open(path), tmp_path / "given" / part / path.parent.name / path.name)
    dataset = folder(directory=tmp_path / "given", channels=3)
    assert len(dataset.train) == len(dataset.read_test()) == 20
    assert dataset.survey.quality().duplicates.test_in_training == 20


def test_a_class_of_copies_cannot_be_on_both_sides(photos):
    for path in photos[11:]:
        path.unlink()
    for number in range(8):
        save(Image.open(photos[10]), photos[10].with_name(f"again{number}.png"))
    found = set()
    for seed in range(4):
        try:
            folder(directory=photos[0].parents[1], channels=3, seed=seed)
        except ValueError as error:
            found.add(str(error).partition(": ")[2])
    assert found <= {
        "choose a smaller test_fraction or a larger train_size, or duplicate_radius=null, which "
        "lets copies be on both sides."
    }
    assert found


@pytest.mark.parametrize("parts", [("",), ("train", "test")])
def test_copies_are_on_one_side_of_every_split_of_a_run(parts, tmp_path):
    """Whether the run splits the images, or they were given in two parts."""
    for number in range(40):
        picture, label = photo(number), "ab"[number // 2 % 2]
        place = tmp_path / "photos" / parts[number % len(parts)] / label
        save(picture, place / f"{number}.png")
        save(picture, place / f"again-{number}.jpg", quality=60)
        save(picture.resize((48, 36)), place / f"small-{number}.png")
    dataset = image_files(directory=tmp_path / "photos")

    def of(part):
        return {name.rpartition("-")[2].rpartition("/")[2].split(".")[0] for name in part.names}

    def check(one, other, n):
        assert of(one).isdisjoint(of(other))
        assert abs(len(other) - n) <= 2
        assert {*one.labels} == {*other.labels} == {0, 1}

    n = len(dataset.train)
    held = dataset.hold_out(13, 0)
    check(held.train, held.calibration, 13)
    for made in (dataset, dataset.map(lambda part: part.read(Preparation((8, 8), 3)))):
        roles = validation(made, fraction=0.21)
        check(roles.references, roles.queries, round(0.21 * n))
    training, choice = FineTuned(name="any", choice_fraction=0.17)._roles(dataset.train, 2)
    check(dataset.train[training], dataset.train[choice], round(0.17 * n))
    # As if they were none.
    apart = image_files(directory=tmp_path / "photos", duplicate_radius=None).hold_out(13, 0)
    assert len(apart.calibration) == 13
    assert of(apart.train) & of(apart.calibration)
