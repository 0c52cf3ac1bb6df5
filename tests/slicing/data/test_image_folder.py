import numpy as np
import pytest
from PIL import Image

from slicing.data import folder
from slicing.errors import InputError

COLORS = {"blue": (0, 0, 255), "green": (0, 255, 0), "red": (255, 0, 0)}


@pytest.fixture
def colors(tmp_path):
    """Three classes of ten images each: every file of its own size, PNG and JPEG mixed."""
    root = tmp_path / "colors"
    for name, color in COLORS.items():
        (root / name).mkdir(parents=True)
        for i in range(10):
            image = Image.new("RGB", (20 + i, 40 - i), color)
            image.save(root / name / f"{i}.{'png' if i % 2 else 'jpg'}")
    (root / ".hidden").mkdir()
    (root / "blue" / ".DS_Store").write_bytes(b"not an image")
    return root


def test_rgb_images(colors):
    data = folder(directory=colors, image_size=(6, 8), channels=3)
    test = data.read_test()
    assert data.name == "colors"
    assert data.classes == ("blue", "green", "red")
    assert data.train.images.shape[1:] == (6, 8, 3)
    assert data.read_test_all is None
    for images, per_class in ((data.train, 8), (test, 2)):
        assert images.images.dtype == np.float32
        assert images.labels.dtype == np.int64
        assert np.bincount(images.labels).tolist() == [per_class] * 3
        expected = np.array(list(COLORS.values()))[images.labels][:, None, None, :] / 255
        np.testing.assert_allclose(images.images, np.broadcast_to(expected, images.images.shape),
                                   atol=0.02)  # fmt: skip


def test_gray_images_keep_rows_and_columns(tmp_path):
    """Every image is unique: the split must part them, and none may be turned or mixed up."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 5, 7), dtype=np.uint8)
    for i, image in enumerate(pixels):
        path = tmp_path / f"class{i % 2}" / f"{i:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    data = folder(directory=str(tmp_path), image_size=[5, 7], test_fraction=0.3)
    test = data.read_test()
    assert (len(data.train), len(test)) == (14, 6)
    label_of = {image.tobytes(): i % 2 for i, image in enumerate(pixels)}
    seen = []
    for images in (data.train, test):
        for image, label in zip(images.images, images.labels, strict=True):
            seen.append(np.rint(image[..., 0] * 255).astype(np.uint8).tobytes())
            assert label_of[seen[-1]] == label
    assert set(seen) == set(label_of)


def test_the_split_depends_on_the_seed_alone(tmp_path):
    for i in range(20):
        path = tmp_path / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("L", (4, 4), 10 * i).save(path)
    first = folder(directory=tmp_path, seed=3)
    assert folder(directory=tmp_path, seed=3).train.digest == first.train.digest
    assert folder(directory=tmp_path, seed=4).train.digest != first.train.digest


def test_sixteen_bits_transparency_and_palettes(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "a" / "deep.png")
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 90, 90, 90])
    palette.save(tmp_path / "a" / "palette.png")
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "b" / "clear.png")
    Image.new("LA", (4, 4), (50, 255)).save(tmp_path / "b" / "opaque.png")
    data = folder(directory=tmp_path, image_size=(4, 4), test_fraction=0.5)
    both = [data.train, data.read_test()]
    means = {round(float(i.mean()) * 255) for part in both for i in part.images}
    assert means == {40000 >> 8, 90, 255, 50}


def test_test_images_are_decoded_only_when_asked_for(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    path_of = {}
    for i, image in enumerate(noise):
        path = tmp_path / f"class{i % 2}" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
        path_of[(image / 255).astype(np.float32).tobytes()] = path

    def truncate(images):
        for image in images.images:
            path = path_of[image.tobytes()]
            path.write_bytes(path.read_bytes()[:400])  # the header is whole

    intact = folder(directory=tmp_path)
    truncate(intact.read_test())
    data = folder(directory=tmp_path)
    assert data.train.digest == intact.train.digest
    with pytest.raises(InputError, match=r"\d\.png cannot be read as a PNG or JPEG image"):
        data.read_test()
    truncate(data.train)
    with pytest.raises(InputError, match=r"\d\.png cannot be read as a PNG or JPEG image"):
        folder(directory=tmp_path)


def test_a_file_without_a_header_is_found_when_the_data_is_loaded(colors):
    for path in sorted(colors.glob("*/*.*")):
        if path.name.startswith("."):
            continue
        intact = path.read_bytes()
        path.write_bytes(b"")
        with pytest.raises(InputError) as error:
            folder(directory=colors)
        assert str(error.value) == (
            f"{path} cannot be read as a PNG or JPEG image: replace or remove it."
        )
        path.write_bytes(intact)


def remove_all_but(n, path):
    for file in sorted(path.glob("[0-9]*"))[n:]:
        file.unlink()


FAULTS = {
    "{root}/notes.txt lies outside the class folders": lambda root: (root / "notes.txt").write_text(
        "hello"
    ),
    "{root}/red/notes.txt cannot be read as a PNG or JPEG image": lambda root: (
        root / "red" / "notes.txt"
    ).write_text("hello"),
    "{root}/red/deeper cannot be read as a PNG or JPEG image": lambda root: (
        root / "red" / "deeper"
    ).mkdir(),
    "{root}/red/gone.png cannot be read as a PNG or JPEG image": lambda root: (
        root / "red" / "gone.png"
    ).symlink_to(root / "nowhere.png"),
    "{root}/red holds 1 image(s): a class needs at least two": lambda root: remove_all_but(
        1, root / "red"
    ),
    "{root}/empty holds 0 image(s): a class needs at least two": lambda root: (
        root / "empty"
    ).mkdir(),
    "{root} holds 1 class folder(s)": lambda root: [
        (root / name).rename(root / f".{name}") for name in ("red", "green")
    ],
    "{root} holds 0 class folder(s)": lambda root: [
        path.rename(path.with_name(f".{path.name}")) for path in list(root.iterdir())
    ],
    "directory={root} is not a folder": lambda root: root.rename(root.with_name("elsewhere")),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_input_is_one_sentence(colors, fault):
    FAULTS[fault](colors)
    with pytest.raises(InputError) as error:
        folder(directory=colors)
    assert str(error.value).startswith(fault.format(root=colors))
    assert ". " not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 2}, "channels=2 is unknown"),
        ({"image_size": (28,)}, r"image_size=\[28\] is not a size"),
        ({"image_size": (0, 28)}, r"image_size=\[0, 28\] is not a size"),
        ({"test_fraction": 0.0}, "test_fraction=0.0 makes 0 of the 30 images"),
        ({"test_fraction": 0.05}, "test_fraction=0.05 makes 2 of the 30 images"),
        ({"test_fraction": 1.5}, "test_fraction=1.5 makes 45 of the 30 images"),
        ({"seed": -1}, "seed=-1 is out of range"),
    ],
)
def test_options_out_of_range(colors, options, message):
    with pytest.raises(InputError, match=message):
        folder(directory=colors, **options)


def test_a_split_that_leaves_a_class_without_training_images(colors):
    remove_all_but(2, colors / "red")
    with pytest.raises(InputError, match=r"hold none of class red, which .* smaller test_fraction"):
        folder(directory=colors, test_fraction=0.8)
