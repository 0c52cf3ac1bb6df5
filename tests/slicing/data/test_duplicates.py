import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from slicing.data.duplicates import Duplicates, copies, equal
from slicing.data.fingerprints import fingerprint
from slicing.errors import InputError
from tests.slicing.data.pictures import photo, save

SETS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 2), st.booleans()), min_size=1, max_size=24
)


@given(SETS)
def test_all_copies_are_counted(images):
    """Images of a group, a label and a part, against their definitions."""
    groups, labels, parts = map(np.array, zip(*images, strict=True))
    found = Duplicates.of(groups, labels, parts)
    sizes = [sum(each[0] == group for each in images) for group in set(groups.tolist())]
    assert found.images == sum(size for size in sizes if size > 1)
    assert found.sets == sum(size > 1 for size in sizes)
    trained = {group for group, _, is_test in images if not is_test}
    assert found.test_in_training == sum(group in trained for group, _, test in images if test)
    assert found.contradictions == sum(
        any(other == group and wrong != label for other, wrong, _ in images)
        for group, label, _ in images
    )


def test_the_warnings_are_clauses():
    assert Duplicates().warnings == []
    assert Duplicates(2400, 1200, 1200, 2).warnings == [
        "1,200 test images are copies of training images, which flatters all accuracies",
        "2 images are copies of one of another class, and cannot all be right",
    ]


@given(st.lists(st.binary(max_size=1), max_size=20))
def test_equal_digests_have_the_number_of_the_first(digests):
    assert equal(digests).tolist() == [digests.index(each) for each in digests]


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    return [save(photo(seed), folder / f"{seed}.png") for seed in range(20)]


def groups_of(*paths, radius=8, features=None):
    return copies([fingerprint(path) for path in paths], radius, features).tolist()


def cut(picture, part):
    width, height = picture.size
    left, top = round(part * width), round(part * height)
    return picture.crop((left, top, width - left, height - top))


TURNED = Image.Exif()
TURNED[0x0112] = 6
COPIES = {
    "another format": (lambda each: each, {"format": "BMP"}),
    "saved again": (lambda each: each, {"format": "JPEG", "quality": 60}),
    "saved again badly": (lambda each: each, {"format": "JPEG", "quality": 15}),
    "half the size": (lambda each: each.resize((48, 36)), {"format": "PNG"}),
    "stretched": (lambda each: each.resize((200, 100)), {"format": "JPEG"}),
    "cut by little": (lambda each: cut(each, 0.01), {"format": "PNG"}),
    "turned by a phone": (
        lambda each: each.transpose(Image.Transpose.ROTATE_90),
        {"format": "JPEG", "exif": TURNED},
    ),
}  # fmt: skip
OTHERS = {
    "mirrored": lambda each: each.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "cut by a quarter": lambda each: cut(each, 0.25),
    "other colors": lambda each: Image.merge("RGB", each.split()[::-1]),
}


@pytest.mark.parametrize("name", COPIES)
def test_what_is_changed_by_little_is_a_copy(name, twenty, tmp_path):
    change, options = COPIES[name]
    changed = [
        save(change(Image.open(path)), tmp_path / path.with_suffix(".any").name, **options)
        for path in twenty
    ]
    found = groups_of(*twenty, *changed)
    assert found == [*range(20)] * 2


@pytest.mark.parametrize("name", OTHERS)
def test_what_shows_something_else_is_no_copy(name, twenty, tmp_path):
    changed = [save(OTHERS[name](Image.open(path)), tmp_path / path.name) for path in twenty]
    assert groups_of(*twenty, *changed) == [*range(40)]


def test_one_level_of_one_pixel_is_a_copy_and_not_the_same(twenty, tmp_path):
    pixels = np.asarray(Image.open(twenty[0])).copy()
    pixels[0, 0, 0] ^= 1
    other = save(Image.fromarray(pixels), tmp_path / "other.png")
    assert groups_of(twenty[0], other) == [0, 0]
    assert fingerprint(twenty[0]).pixels != fingerprint(other).pixels


def test_pictures_of_one_color_are_no_copies_but_equal_ones(tmp_path):
    """A hash of them says nothing."""
    shades = [(200, 10, 10), (200, 10, 10), (202, 10, 10), (200, 10, 10)]
    paths = [
        save(Image.new("RGB", (30 + (number == 3), 20), shade), tmp_path / f"{number}.png")
        for number, shade in enumerate(shades)
    ]
    assert groups_of(*paths) == [0, 0, 2, 3]


def test_strokes_on_black_need_to_agree_more_than_photos(tmp_path):
    """Digits: most of their hashes are the same, and two of a kind are no copies."""
    paths = []
    for number, shift in enumerate((0, 0, 1, 2)):
        pixels = np.zeros((28, 28), np.uint8)
        pixels[4:24, 12 + shift : 15 + shift] = 250 - number
        paths.append(save(Image.fromarray(pixels), tmp_path / f"{number}.png"))
    assert groups_of(*paths) == [0, 0, 2, 3]


def test_features_confirm_where_there_are_some(twenty, tmp_path):
    again = save(Image.open(twenty[0]), tmp_path / "again.jpg", quality=30)
    alike, other = np.array([[1, 0], [3, 0]], np.float32), np.array([[1, 0], [0, 1]], np.float32)
    assert groups_of(twenty[0], again, features=alike) == [0, 0]
    assert groups_of(twenty[0], again, features=other) == [0, 1]
    assert groups_of(twenty[0], again, features=np.zeros((2, 2), np.float32)) == [0, 1]
    # What no hash proposes, they do not join.
    assert groups_of(*twenty[:2], features=alike) == [0, 1]


def test_copies_of_copies_are_copies_across_blocks(twenty):
    """More than are compared at a time, and the largest set first."""
    prints = [fingerprint(path) for path in twenty]
    rng = np.random.default_rng(0)
    order = rng.integers(0, 20, 300)
    prints = [prints[each]._replace(pixels=bytes([row // 256, row % 256]))
              for row, each in enumerate(order)]  # fmt: skip
    first = [int(np.argmax(order == each)) for each in order]
    assert copies(prints).tolist() == first


def test_a_radius_out_of_range(twenty):
    with pytest.raises(InputError, match=r"radius=65 is out of range: choose 0 to 64\."):
        groups_of(*twenty[:2], radius=65)


def test_no_images_have_no_copies():
    assert copies([]).tolist() == []
