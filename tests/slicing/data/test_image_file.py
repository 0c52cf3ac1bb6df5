"""Files of every kind, made here: what is read, and what is refused with a reason."""

import io
import os
import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from slicing.data.image_file import (
    UnreadableImageError,
    has_color,
    is_left_by_system,
    is_text,
    opened,
    read_image,
)
from tests.limits import run_limited

RED = np.full((5, 7, 3), (250, 20, 30), np.uint8)


def read(path, size=(5, 7), channels=3, **options):
    return read_image(path, size, channels, **options)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width, height, *chunks, color_type=0, depth=8):
    """A PNG file with a header of these numbers, and these chunks."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.JPG", "a.png", "a", "a.txt", "a.heic"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_the_content_says_the_format_and_not_the_name(tmp_path, kind, name):
    path = tmp_path / name
    path.write_bytes(encoded(Image.fromarray(RED), kind))
    np.testing.assert_allclose(read(path).astype(int), RED, atol=6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_photos_stand_upright(tmp_path, kind, orientation):
    upright = np.zeros((16, 24), np.uint8)
    upright[:8, :8] = 255
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "photo"
    image = Image.fromarray(np.ascontiguousarray(stored)).convert("RGB")
    path.write_bytes(encoded(image, kind, exif=exif))
    np.testing.assert_allclose(read(path, (16, 24), 1)[..., 0].astype(int), upright, atol=20)


@pytest.mark.parametrize(
    ("largest", "divisor"), [(255, 1), (256, 2), (1023, 4), (4095, 16), (40000, 256), (65535, 256)]
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_bits_in_use_of_sixteen_are_kept(tmp_path, kind, largest, divisor):
    values = np.linspace(0, largest, 35).astype(np.uint16).reshape(5, 7)
    path = tmp_path / "deep"
    path.write_bytes(encoded(Image.fromarray(values), kind))
    np.testing.assert_array_equal(read(path, channels=1)[..., 0], values // divisor)


@pytest.mark.parametrize(("color_type", "n_colors", "n_bands"), [(2, 3, 3), (6, 3, 4), (4, 1, 2)])
def test_the_bits_in_use_of_sixteen_are_kept_in_color(tmp_path, color_type, n_colors, n_bands):
    values = np.zeros((5, 7, n_bands), ">u2")
    values[..., 0] = np.linspace(0, 4095, 35).reshape(5, 7)
    values[..., n_colors:] = 65535
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    path = tmp_path / "deep.png"
    path.write_bytes(png(7, 5, (b"IDAT", zlib.compress(rows)), color_type=color_type, depth=16))
    np.testing.assert_array_equal(read(path)[..., 0], values[..., 0] >> 8 << 4)
    values[..., 0] <<= 4
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    path.write_bytes(png(7, 5, (b"IDAT", zlib.compress(rows)), color_type=color_type, depth=16))
    np.testing.assert_array_equal(read(path)[..., 0], values[..., 0] >> 8)


def to_lab(image):
    spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    return ImageCms.applyTransform(image, ImageCms.buildTransform(*spaces, "RGB", "LAB"))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *((kind, mode) for kind in ("PNG", "TIFF") for mode in ("1", "L", "LA", "RGB", "RGBA")),
        *(("TIFF", mode) for mode in ("CMYK", "YCbCr", "LAB", "PA", "I;16", "I;16B", "I")),
        *(("JPEG", mode) for mode in ("L", "RGB", "CMYK", "YCbCr")),
        *((kind, "P") for kind in ("PNG", "GIF", "BMP", "TIFF")),
        *(("WEBP", mode) for mode in ("RGB", "RGBA")),
        ("MPO", "RGB"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_bright_and_dark_are_so_in_every_mode(tmp_path, kind, mode, channels):
    image = Image.new("L", (16, 16), 0)
    image.paste(255, (0, 0, 8, 16))
    if not mode.startswith("I"):
        image = image.convert("RGB")
    image = to_lab(image) if mode == "LAB" else image.convert(mode)
    path = tmp_path / "image"
    path.write_bytes(encoded(image, kind))
    pixels = read(path, (16, 16), channels)
    assert pixels[:, :6].min() > 220
    assert pixels[:, 10:].max() < 30


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_pictures_the_first_is_read(tmp_path, kind):
    first, second = Image.new("RGB", (8, 8), (0, 0, 255)), Image.new("RGB", (8, 8), (255, 0, 0))
    path = tmp_path / "moving"
    path.write_bytes(encoded(first, kind, save_all=True, append_images=[second]))
    np.testing.assert_allclose(read(path).reshape(-1, 3), [[0, 0, 255]] * 35, atol=3)


def test_lab_keeps_its_colors(tmp_path):
    (tmp_path / "red").write_bytes(encoded(to_lab(Image.fromarray(RED)), "TIFF"))
    np.testing.assert_allclose(read(tmp_path / "red").astype(int), RED, atol=12)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_where_zero_is_white_dark_stays_dark(tmp_path, dtype):
    stored = np.zeros((5, 7), dtype)
    stored[0] = np.iinfo(dtype).max
    content = encoded(Image.fromarray(stored), "TIFF")
    tag, white_is_zero = (struct.pack("<HHIH", 262, 3, 1, value) for value in (1, 0))
    assert content.count(tag) == 1
    (tmp_path / "a").write_bytes(content.replace(tag, white_is_zero))
    np.testing.assert_array_equal(read(tmp_path / "a", channels=1)[1:], 255)
    np.testing.assert_array_equal(read(tmp_path / "a", channels=1)[0], 0)


@pytest.mark.parametrize(
    ("stored", "asked", "decoded"),
    [
        ((640, 480), (30, 20), (80, 60)),
        ((640, 480), (31, 20), (160, 120)),
        ((480, 640), (20, 30), (60, 80)),
        ((648, 480), (30, 20), (81, 60)),
        ((644, 480), (30, 20), (161, 120)),
        ((641, 480), (30, 20), (641, 480)),
        ((640, 480), (100, 200), (640, 480)),
    ],
)
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_of_a_large_jpeg_a_fraction_is_decoded(
    tmp_path, monkeypatch, stored, asked, decoded, options
):
    x, y = np.meshgrid(np.linspace(0, 6, stored[0]), np.linspace(0, 5, stored[1]))
    photo = np.stack([np.sin(x), np.cos(y), np.sin(x * y)], -1) * 100 + 128
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(photo.astype(np.uint8))
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(image, "JPEG", quality=95, exif=exif, **options))
    sizes = []
    load = Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, *args: (sizes.append(self.size), load(self, *args))[1]
    )
    pixels = read(path, asked).astype(int)
    assert sizes == [decoded[::-1]]
    with Image.open(path) as whole:
        upright = whole.transpose(Image.Transpose.ROTATE_270)
    expected = np.asarray(load(upright, asked[::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(pixels - expected).mean() < 1.5


def test_gray_stored_as_color_has_no_color(tmp_path):
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for name, image in (("gray", Image.fromarray(ramp)), ("red", Image.fromarray(RED))):
        (tmp_path / name).write_bytes(encoded(image.convert("RGB"), "JPEG"))
    assert not has_color(tmp_path / "gray")
    assert has_color(tmp_path / "red")


def with_long_text():
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x" * 2**21, zip=True)
    return encoded(Image.fromarray(RED), "PNG", pnginfo=info)


INDICES = (b"IDAT", zlib.compress(bytes([0, 1, 9, 200]) * 3))
NO_COLOR = "its palette lacks colors that it uses"
REFUSED = (
    (NO_COLOR, png(3, 3, INDICES, color_type=3)),
    (NO_COLOR, png(3, 3, (b"PLTE", bytes(6)), INDICES, color_type=3)),
    (NO_COLOR, png(3, 3, (b"PLTE", bytes(6)), (b"tRNS", bytes(300)), INDICES, color_type=3)),
    ("none of PNG, JPEG, GIF, BMP, WEBP, TIFF", b"no image"),
    ("truncated", encoded(Image.fromarray(np.tile(RED, (40, 40, 1))), "PNG")[:400]),
    ("more than max_megapixels=100 million pixels", png(20_000, 20_000, (b"IDAT", b""))),
    ("Decompressed data too large", with_long_text()),
    ("floating-point", encoded(Image.fromarray(np.ones((5, 7), np.float32)), "TIFF")),
)


@pytest.mark.parametrize(("reason", "content"), REFUSED)
def test_the_decoder_gives_the_reason(tmp_path, reason, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError) as error:
        read(path)
    assert reason in error.value.reason
    assert str(error.value) == (
        f"{path} cannot be read as an image ({error.value.reason}): "
        "give an intact copy, or leave it out."
    )


def test_what_to_do_about_photos_in_other_formats(tmp_path):
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(UnreadableImageError, match=r"none of PNG, .*, save it as JPEG"):
        read(path)


def test_the_limit_of_pixels_is_an_option_and_pillows_is_left_alone(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    path = tmp_path / "a.png"
    path.write_bytes(encoded(Image.new("L", (1000, 100)), "PNG"))
    assert read(path, max_megapixels=0.1).shape == (5, 7, 3)
    with pytest.raises(UnreadableImageError, match=r"max_megapixels=0\.0999 million"):
        read(path, max_megapixels=0.0999)
    assert before == Image.MAX_IMAGE_PIXELS


def test_images_that_are_open_at_once_leave_the_filters_of_warnings_alone(tmp_path):
    """As in many threads: the first that is opened is the first that is closed."""
    path = tmp_path / "a.png"
    Image.new("L", (30, 30)).save(path)
    before = warnings.filters[:]
    first, second = opened(path), opened(path)
    for each in (first, second):
        each.__enter__()
    for each in (first, second):
        each.__exit__(None, None, None)
    assert warnings.filters == before


def test_what_is_no_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (("pipe", "it is a named pipe"), ("nul\0", "its name holds a NUL")):
        with pytest.raises(UnreadableImageError) as error:
            read(tmp_path / path)
        assert reason in error.value.reason


FILES = [
    encoded(image, kind)
    for kind in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
    for image in (Image.fromarray(RED), Image.fromarray(RED).convert("P"))
    if not (kind in ("JPEG",) and image.mode == "P")
]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.sampled_from(FILES),
    cut=st.floats(0, 1),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=5),
)
def test_a_damaged_file_is_an_image_or_one_sentence(tmp_path, content, cut, damage):
    damaged = bytearray(content)
    for place, value in damage:
        damaged[int(place * len(damaged))] = value
    path = tmp_path / "a"
    path.write_bytes(damaged[: round(cut * len(damaged)) if not damage else None])
    # Whatever else is raised fails.
    with suppress(UnreadableImageError):
        assert read(path, channels=1).shape == (5, 7, 1)


def test_strays_are_told_by_name_and_text_by_content(tmp_path):
    names = [".DS_Store", "._a.png", "Thumbs.db", "desktop.ini", "Desktop.ini", "__MACOSX"]
    assert all(is_left_by_system(tmp_path / name) for name in names)
    assert not is_left_by_system(tmp_path / "thumbs.png")
    for name, content, expected in (
        ("notes.txt", "Größe".encode(), True),
        ("labels", "a,b\n" * 5000, True),
        ("long", "ö".encode() * 5000, True),
        ("photo.jpg", b"<html>Not found</html>", False),
        ("photo.png", b"", False),
        ("IMG_1.heic", b"\0\0\0\x18ftypheic", False),
        ("archive.zip", b"PK\x03\x04\x14\0", False),
    ):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        assert is_text(path) is expected, name


READ = """
import sys
from pathlib import Path
from slicing.data.image_file import read_image
print(read_image(Path(sys.argv[1]), (28, 28), 3).max())
"""


def zeros(n):
    """Zeros, deflated a megabyte at a time."""
    deflate = zlib.compressobj(1)
    parts = [deflate.compress(bytes(2**20)) for _ in range(n >> 20)]
    return b"".join(parts) + deflate.compress(bytes(n % 2**20)) + deflate.flush()


def test_a_bomb_is_refused_before_it_takes_memory(tmp_path):
    """What Pillow itself would decode: a picture of 178 megapixels."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png(13_300, 13_400, (b"IDAT", zeros(13_301 * 13_400))))
    assert path.stat().st_size < 2**20
    found = run_limited(READ, path, megabytes=400)
    assert "it has more than max_megapixels=100 million pixels" in found.stderr
    path.write_bytes(png(1_000, 1_000, (b"IDAT", zeros(1_001 * 1_000))))
    assert run_limited(READ, path, megabytes=400).stdout == "0\n"


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_deflate", "packbits", "jpeg"])
def test_a_damaged_tiff_is_one_error_and_nothing_is_printed(compression, tmp_path, capfd):
    rng = np.random.default_rng(0)
    path, failed = tmp_path / "photo.tif", 0
    picture = Image.fromarray(rng.integers(0, 255, (60, 60, 3), dtype=np.uint8))
    picture.save(path, compression=compression)
    content = path.read_bytes()
    for _ in range(30):
        damaged = bytearray(content)
        for place in rng.integers(8, len(content), 6):
            damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            read_image(path, (8, 8), 3)
        except UnreadableImageError:
            failed += 1
    assert failed
    assert capfd.readouterr().err == ""
