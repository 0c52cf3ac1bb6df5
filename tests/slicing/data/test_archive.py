"""Archives, sound and hostile, made here: what is unpacked, and what is refused with a reason."""

import bz2
import gzip
import io
import lzma
import os
import random
import stat
import struct
import tarfile
import zipfile
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slicing.data import archive
from slicing.data.archive import is_archive, unpack
from slicing.errors import InputError
from tests.limits import run_limited

CONTENTS = {
    "cat/1.jpg": b"a" * 70_000,
    "cat/grün 猫.jpg": b"b",
    "dog/deeper/2.JPG": bytes(range(256)) * 30,
    "__MACOSX/cat/._1.jpg": b"left by macOS",
    ".hidden/pack.zip": b"PK",
}

NOISE = {"a": random.Random(0).randbytes(1000)}


def zipped(path, contents, method=zipfile.ZIP_DEFLATED, **options):
    """Write a zip archive; names are those of `zipfile.ZipInfo`, or one of these."""
    with zipfile.ZipFile(path, "w", method, **options) as file:
        for name, content in contents.items():
            file.writestr(name, content)
    return path


def tarred(path, contents, mode="w"):
    """Write a tar archive; what is not bytes is a `tarfile.TarInfo` without content."""
    with tarfile.open(path, mode) as file:
        for name, content in contents.items():
            header = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(content, bytes):
                header.size = len(content)
                file.addfile(header, io.BytesIO(content))
            else:
                file.addfile(header)
    return path


def entry(name, kind=tarfile.REGTYPE, target=""):
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


def unpacked(path, folder, gigabytes=1.0):
    unpack(path, folder, gigabytes)
    for each in folder.rglob("*"):
        assert stat.S_IFMT(each.lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR)
    return {
        each.relative_to(folder).as_posix(): each.read_bytes()
        for each in folder.rglob("*")
        if each.is_file()
    }


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in" / "unpacked"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ["a.zip", "a.ZIP", "a"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_zip(tmp_path, folder, name, method):
    path = zipped(tmp_path / name, CONTENTS, method)
    assert is_archive(path)
    assert unpacked(path, folder) == CONTENTS


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("name", ["a.tar.gz", "a.tar", "a"])
def test_tar(tmp_path, folder, mode, name):
    folders = {"./": entry("./", tarfile.DIRTYPE), "empty": entry("empty", tarfile.DIRTYPE)}
    path = tarred(tmp_path / name, folders | {f"./{n}": c for n, c in CONTENTS.items()}, mode)
    assert is_archive(path)
    assert unpacked(path, folder) == CONTENTS
    assert (folder / "empty").is_dir()


def test_what_is_no_archive(tmp_path):
    for name, content in (("a.csv", b"a,b"), ("a.png", b"\x89PNG"), ("a.rar", b"Rar!"), ("b", b"")):
        (tmp_path / name).write_bytes(content)
        assert not is_archive(tmp_path / name)
    os.mkfifo(tmp_path / "pipe")
    assert not is_archive(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("grün".encode("cp437"), "grün"),
        ("grün".encode(), "grün"),
        ("猫".encode(), "猫"),
        (b"cat\\1", "cat/1"),
    ],
)
def test_names_that_are_not_said_to_be_utf_8(tmp_path, folder, stored, name):
    path = zipped(tmp_path / "a.zip", {"x" * len(stored): b"content"})
    path.write_bytes(path.read_bytes().replace(b"x" * len(stored), stored))
    assert unpacked(path, folder) == {name: b"content"}


def test_names_of_a_tar_in_another_encoding(tmp_path, folder):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT, encoding="cp437") as file:
        file.addfile(tarfile.TarInfo("grün"))
    assert list(unpacked(tmp_path / "a.tar", folder)) == [os.fsdecode("grün".encode("cp437"))]


def zip_link():
    link = zipfile.ZipInfo("cat/1.jpg")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return link


def encrypted(path):
    """Set the flag in both places where a zip archive has it."""
    content = bytearray(zipped(path, {"cat/1.jpg": b"secret"}).read_bytes())
    content[content.find(b"PK\3\4") + 6] |= 1
    content[content.find(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)


REFUSED = {
    "{path} holds a path out of its folder, ../1.jpg: give one that you trust.": [
        lambda path: zipped(path, {"../1.jpg": b""}),
        lambda path: tarred(path, {"../1.jpg": b""}),
    ],
    "{path} holds a path out of its folder, cat/../../1.jpg: ": [
        lambda path: zipped(path, {"cat\\..\\..\\1.jpg": b""}),
        lambda path: tarred(path, {"cat/../../1.jpg": b""}),
    ],
    "{path} holds a path out of its folder, /tmp/1.jpg: ": [
        lambda path: zipped(path, {"/tmp/1.jpg": b""}),
        lambda path: tarred(path, {"/tmp/1.jpg": b""}),
    ],
    "{path} holds a link, cat/1.jpg: pack the images themselves, or unpack it and give the": [
        lambda path: zipped(path, {zip_link(): b"/etc/passwd"}),
        lambda path: tarred(path, {"": entry("cat/1.jpg", tarfile.SYMTYPE, "/etc")}),
        lambda path: tarred(path, {"a": b"", "": entry("cat/1.jpg", tarfile.LNKTYPE, "a")}),
    ],
    "{path} holds a device or the like, cat/1.jpg: ": [
        lambda path: tarred(path, {"": entry("cat/1.jpg", tarfile.CHRTYPE)}, "w:gz"),
        lambda path: tarred(path, {"": entry("cat/1.jpg", tarfile.FIFOTYPE)}, "w:xz"),
    ],
    "{path} holds more than 50 folders in each other: ": [
        lambda path: zipped(path, {"a/" * 50 + "1.jpg": b""}),
        lambda path: tarred(path, {"": entry("a/" * 51, tarfile.DIRTYPE)}),
    ],
    "{path} holds another archive, train.zip: pack the images themselves, or unpack": [
        lambda path: zipped(path, {"train.zip": b"PK"}),
        lambda path: tarred(path, {"train.zip": b"PK"}),
    ],
    "{path} holds another archive, a/b.TAR.gz: ": [lambda path: zipped(path, {"a/b.TAR.gz": b""})],
    "{path} holds cat/1.jpg, which is encrypted: ": [encrypted],
    "{path} holds ./a twice: keep one, or unpack it": [
        lambda path: tarred(path, {"a": b"1", "./a": b"2"}),
        lambda path: zipped(path, {"a": b"1", "./a": b"2"}),
    ],
    "{path} holds a/b twice: ": [lambda path: tarred(path, {"a": b"1", "a/b": b"2"})],
    "{path} is damaged, or no zip or tar archive (": [
        lambda path: path.write_bytes(b"<html>Not found</html>"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(zipped(path, CONTENTS).read_bytes()[:-40]),
        *(
            lambda path, mode=mode: path.write_bytes(tarred(path, NOISE, mode).read_bytes()[:-40])
            for mode in ("w:gz", "w:bz2", "w:xz")
        ),
        lambda path: path.write_bytes(tarred(path, CONTENTS).read_bytes()[:2048]),
        # Cut where a file ends, and where its name is: tarfile itself takes it for the end.
        lambda path: path.write_bytes(tarred(path, {"a": b"1", "b": b"2"}).read_bytes()[:1024]),
        lambda path: path.write_bytes(
            tarred(path, {"a": b"1", "b": b"2"}).read_bytes().replace(b"b\0", b"c\0", 1)
        ),
        # The checksum comes after all files.
        lambda path: path.write_bytes(
            gzip.compress(tarred(path, {"a": b"1"}).read_bytes())[:-8] + bytes(8)
        ),
        lambda path: path.write_bytes(gzip.compress(b"a,b\n" * 300)),
        lambda path: path.write_bytes(
            zipped(path, {"a": b"1234567"}, zipfile.ZIP_STORED).read_bytes().replace(b"567", b"568")
        ),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "make"), [(sentence, make) for sentence, all_ in REFUSED.items() for make in all_]
)
def test_what_is_refused_is_one_sentence(tmp_path, folder, sentence, make):
    path = tmp_path / "photos.zip"
    make(path)
    with pytest.raises(InputError) as error:
        unpack(path, folder, 1.0)
    assert str(error.value).startswith(sentence.format(path=path))
    assert ". " not in str(error.value)
    assert not [each for each in tmp_path.rglob("*.jpg") if folder not in each.parents]


def bomb(path, kind):
    """Write some 10 KB that unpack to 15 MB of zeros."""
    zeros = {f"{number}.bmp": bytes(10**6) for number in range(15)}
    zipped(path, zeros) if kind == "zip" else tarred(path, zeros, f"w:{kind}")
    return path


@pytest.mark.parametrize("kind", ["zip", "gz", "bz2", "xz"])
def test_a_bomb_is_refused_while_it_is_unpacked(tmp_path, folder, monkeypatch, kind):
    monkeypatch.setattr(archive, "_ANY", 2**20)
    path = bomb(tmp_path / "a.zip", kind)
    with pytest.raises(InputError, match="unpacks to more than 100 times its size, which photos"):
        unpack(path, folder, 1.0)
    with pytest.raises(InputError, match=r"max_gigabytes=0\.0003 is fewer than .*a\.zip unp"):
        unpack(path, folder / "again", 0.0003)
    assert sum(each.stat().st_size for each in folder.rglob("*.bmp")) < 5e6


def test_a_size_that_is_not_so_changes_nothing(tmp_path, folder):
    """The header of a zip archive may say that a file is small."""
    path = bomb(tmp_path / "a.zip", "zip")
    size = struct.pack("<I", 10**6)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 10)))
    with pytest.raises(InputError, match="is damaged"):
        unpack(path, folder, 1.0)


def test_a_name_of_any_length_takes_no_memory(tmp_path, folder):
    header = entry("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    header.size = 10**9
    zeros = bz2.compress(bytes(2 * 10**7))
    path = tmp_path / "a.tar.bz2"
    path.write_bytes(bz2.compress(header.tobuf(tarfile.GNU_FORMAT)) + 50 * zeros)
    with pytest.raises(InputError, match=r"a header says that its size is 1,000,000,000"):
        unpack(path, folder, 2.0)


def test_the_number_of_files_is_bounded(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(archive, "MAX_FILES", 4)
    path = zipped(tmp_path / "a.zip", {str(number): b"" for number in range(4)})
    assert len(unpacked(path, folder)) == 4
    path = tarred(tmp_path / "b.tar", {f"b{number}": b"" for number in range(5)})
    with pytest.raises(InputError, match="holds more than 4 files: divide it"):
        unpack(path, folder, 1.0)


UNPACK = """
import sys
from pathlib import Path
from slicing.data.archive import unpack
unpack(Path(sys.argv[1]), Path(sys.argv[2]), 1.0)
"""


def test_a_large_archive_takes_little_memory(tmp_path, folder):
    noise = random.Random(0).randbytes(2**20)
    path = zipped(tmp_path / "a.zip", {"a": noise * 100}, zipfile.ZIP_STORED)
    done = run_limited(UNPACK, path, folder, megabytes=250)
    assert done.stderr == ""
    assert (folder / "a").stat().st_size == 100 * 2**20


def test_zstandard_is_read_or_refused(tmp_path, folder):
    path = tmp_path / "a.tar.zst"
    try:
        from compression import zstd
    except ImportError:
        path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
        with pytest.raises(InputError, match=r"Zstandard, which Python reads from 3\.14"):
            unpack(path, folder, 1.0)
    else:
        path.write_bytes(zstd.compress(tarred(tmp_path / "a.tar", CONTENTS).read_bytes()))
        assert unpacked(path, folder) == CONTENTS


def sound():
    file = io.BytesIO()
    zipped(file, {"cat/1.jpg": b"some content", "dog/2.jpg": b"other content"})
    yield file.getvalue()
    for compress in (bytes, gzip.compress, bz2.compress, lzma.compress):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name in ("cat/1.jpg", "dog/" + "2" * 120):
                header = entry(name)
                header.size = 5
                tar.addfile(header, io.BytesIO(b"12345"))
        yield compress(file.getvalue()[:-8192])


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.sampled_from(list(sound())),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    cut=st.floats(0, 1),
)
def test_damage_is_one_sentence_and_leaves_the_folder_alone(tmp_path_factory, content, damage, cut):
    root = tmp_path_factory.mktemp("damaged")
    damaged = bytearray(content)
    for place, value in damage:
        damaged[int(place * len(damaged))] = value
    (root / "a.zip").write_bytes(damaged[: round(cut * len(damaged)) if not damage else None])
    (root / "in").mkdir()
    # Whatever else is raised fails, but that a name is too long for a disk.
    with suppress(InputError, OSError):
        unpack(root / "a.zip", root / "in", 1.0)
    assert sorted(path.name for path in root.iterdir()) == ["a.zip", "in"]


def test_a_place_before_the_beginning_is_damage(tmp_path, folder):
    path = zipped(tmp_path / "a.zip", {"cat/1.jpg": b"content"})
    content = bytearray(path.read_bytes())
    # Where the list of all files begins, in the last record.
    at = content.rindex(b"PK\5\6") + 16
    content[at : at + 4] = (int.from_bytes(content[at : at + 4], "little") + 50).to_bytes(
        4, "little"
    )
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged, or no zip"):
        unpack(path, folder, 1.0)


@pytest.mark.parametrize("name", ["a" * 300 + "/1.jpg", "cat/" + "b" * 300 + ".jpg"])
def test_names_too_long_for_the_disk_are_one_sentence(tmp_path, folder, name):
    path = zipped(tmp_path / "a.zip", {name: b"content"})
    with pytest.raises(InputError, match=r"holds a name that is too long, .{,50}: shorten it"):
        unpack(path, folder, 1.0)
