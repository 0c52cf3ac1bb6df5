import json

import numpy as np
import pytest
from PIL import Image

from experiments.json_values import plain_values
from slicing.data import Images, folder
from slicing.data.quality import Quality
from tests.slicing.data.pictures import photo, save


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Dark and bright photos, two labels swapped, copies of every kind, strays and damage."""
    root = tmp_path_factory.mktemp("quality") / "photos"
    for number in range(24):
        for name, tint in (("bright", (160,) * 3), ("dark", (-160,) * 3)):
            part = "test" if number % 4 == 0 else "train"
            save(photo(number, tint=tint), root / part / name / f"{number}.png")
    swapped = root / "train/bright/1.png", root / "train/dark/2.png"
    for path in swapped:
        other = {"bright": "dark", "dark": "bright"}[path.parent.name]
        path.rename(path.parents[1] / other / f"wrong{path.name}")
    # Saved again, larger and in gray; the same file in two classes; a copy within a class.
    again = Image.open(root / "train/dark/5.png").resize((192, 144))
    save(again, root / "test/dark/5again.jpg")
    twice = root / "train/bright/6.png"
    (root / "train/dark/6.png").write_bytes(twice.read_bytes())
    save(Image.open(root / "train/bright/7.png"), root / "train/bright/7.gif")
    save(photo(99, tint=(-160,) * 3).convert("L"), root / "train/dark/gray.png")
    (root / "train/dark/cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (root / "train/notes.txt").write_text("about")
    return root


@pytest.fixture(scope="module")
def survey(photos):
    return folder(directory=photos, max_unreadable=1).survey


@pytest.fixture(scope="module")
def quality(survey):
    return survey.quality()


def names(images):
    return sorted(each.path for each in images)


def test_what_the_images_are(quality, photos):
    assert quality.root == str(photos)
    assert quality.classes == {
        "bright": {"train": 19, "test": 6}, "dark": {"train": 19, "test": 7}
    }  # fmt: skip
    assert quality.formats == {"PNG": 49, "JPEG": 1, "GIF": 1}
    assert quality.modes == {"RGB": 49, "P": 1, "L": 1}
    assert quality.sizes == {"96 x 72": 50, "192 x 144": 1}
    [(path, reason)] = quality.unreadable.items()
    assert path == "train/dark/cut.jpg"
    assert reason
    [path] = quality.passed_over
    assert path == "train/notes.txt"


def test_copies_across_parts_and_classes_come_first(quality):
    across, mixed, within = quality.copies
    assert names(across.images) == ["test/dark/5again.jpg", "train/dark/5.png"]
    assert across.in_two_parts
    assert not across.in_two_classes
    assert not across.identical
    assert names(mixed.images) == ["train/bright/6.png", "train/dark/6.png"]
    assert mixed.in_two_classes
    assert mixed.identical
    assert names(within.images) == ["train/bright/7.gif", "train/bright/7.png"]
    counts = quality.duplicates
    assert (counts.sets, counts.images) == (3, 6)
    assert (counts.test_in_training, counts.contradictions) == (1, 2)


def test_the_second_of_a_set_is_of_the_other_side(photos, tmp_path):
    for part, names in (("train", "abc"), ("test", "d")):
        for name in names:
            save(photo(0), tmp_path / "more" / part / "x" / f"{name}.png")
            save(photo(1), tmp_path / "more" / part / "y" / f"{name}.png")
    found = folder(directory=tmp_path / "more").survey.quality().copies
    assert [[image.part for image in each.images] for each in found] == [
        ["train", "test", "train", "train"]
    ] * 2


def test_swapped_labels_are_found(quality):
    pytest.importorskip("cleanlab")
    found = {each.image.path.rpartition("/")[2]: each for each in quality.label_errors}
    assert {"wrong1.png", "wrong2.png"} <= found.keys()
    # The image in two classes is wrong in one of them.
    assert len(found) == quality.n_label_errors <= 3
    error = found["wrong1.png"]
    assert (error.image.label, error.probable, error.image.part) == ("dark", "bright", "train")
    assert error.of_label < error.probability <= 1
    assert "thumbnails of 9 x 8 pixels" in quality.probe


def test_the_findings_begin_with_the_worst(quality):
    found = [(what, n) for what, n, _ in quality.findings]
    assert found[:3] == [
        ("test images that are copies of training images", 1),
        ("images that are copies of one of another class", 2),
        ("files that cannot be read", 1),
    ]
    assert found[-3:] == [
        ("classes of fewer than 20 training images", 2),
        ("images that have copies", 6),
        ("files passed over: no images", 1),
    ]
    assert "5.png = " in quality.findings[0][2]
    assert quality.facts[0] == "51 images of 2 classes."
    assert "Sizes: 96 x 72 (50), 192 x 144 (1)." in quality.facts


def test_a_clean_folder_has_no_findings(tmp_path):
    for number in range(60):
        label, tint = ("bright", (160,) * 3) if number % 2 else ("dark", (-160,) * 3)
        save(photo(number, tint=tint), tmp_path / "photos" / label / f"{number}.png")
    quality = folder(directory=tmp_path / "photos").survey.quality()
    assert quality.findings == []
    assert quality.warnings == []


def test_imbalance_is_a_finding():
    found = Quality(classes={"a": {"train": 500, "test": 1}, "b": {"train": 41, "test": 0}})
    [(what, ratio, example)] = found.findings
    assert (what, ratio) == ("times as many training images in one class as in another", 12)
    assert example == "a and b"


def test_features_take_the_place_of_thumbnails(survey):
    pytest.importorskip("cleanlab")
    rng = np.random.default_rng(0)
    features = np.eye(2, 8, dtype=np.float32)[survey.labels] + rng.normal(0, 0.03, (51, 8))
    quality = survey.quality(features.astype(np.float32))
    assert quality.n_label_errors == 0
    assert "the network's features" in quality.probe
    assert quality.duplicates.test_in_training == 1
    # A network that has learned the labels, the wrong ones, too, flatters them.
    flattered = survey.quality(features.astype(np.float32), knows_labels=True)
    assert flattered.n_label_errors == 3
    assert "thumbnails of 9 x 8 pixels" in flattered.probe


def test_features_that_differ_are_of_no_copies(survey):
    features = np.random.default_rng(0).normal(size=(51, 8)).astype(np.float32)
    counts = survey.quality(features).duplicates
    # What is equal stays so.
    assert (counts.test_in_training, counts.contradictions) == (0, 2)


def test_json_keeps_all_of_it(quality):
    assert Quality.read(json.loads(json.dumps(plain_values(quality)))) == quality
    assert Quality.read(json.loads(json.dumps(plain_values(Quality())))) == Quality()


def test_images_that_are_no_files():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 4, 4, 1), dtype=np.uint8)
    pixels[3] = pixels[0]
    labels = np.array([0, 1, 0, 1, 0, 1])
    train, test = (
        Images(pixels, labels),
        Images(np.stack([pixels[1], pixels[1], pixels[2] // 2]), labels[:3]),
    )
    found = Quality.of_images(train, test, ("a", "b"))
    assert found.classes == {"a": {"train": 3, "test": 2}, "b": {"train": 3, "test": 1}}
    assert found.duplicates.test_in_training == 2
    assert found.duplicates.contradictions == 2 + 3
