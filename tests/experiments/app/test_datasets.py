"""Photos that somebody sends or names."""

import io
import stat
import tarfile
import zipfile

import pytest
from PIL import Image

from experiments.app.datasets import THUMBNAIL, Datasets
from experiments.app.store import NotFoundError
from slicing.data.find_photos import find_photos
from slicing.errors import InputError
from tests.experiments.app.conftest import archive, picture, sent


def linked(target):
    member = zipfile.ZipInfo("pets/cat/link.png")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    content = io.BytesIO(archive())
    with zipfile.ZipFile(content, "a") as file:
        file.writestr(member, target)
    return content.getvalue()


def in_tar(name):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as file:
        member = tarfile.TarInfo(name)
        member.size = 3
        file.addfile(member, io.BytesIO(b"abc"))
    return content.getvalue()


def bomb():
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("pets/cat/0.png", bytes(80_000_000))
    return content.getvalue()


def encrypted():
    content = bytearray(archive())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        where = content.find(mark)
        while where >= 0:
            content[where + at] |= 1
            where = content.find(mark, where + 4)
    return bytes(content)


def test_an_archive_becomes_a_data_set(datasets):
    dataset = sent(datasets, archive({"pets/cat/broken.png": b"\x89PNG no", "__MACOSX/x": b"y"}))
    assert dataset.name == "my pets"
    assert dataset.person == "ann"
    assert dataset.classes == {"cat": 4, "dög & <b>": 4}
    assert list(dataset.unreadable) == ["pets/cat/broken.png"]
    assert [each.id for each in datasets.all()] == [dataset.id]
    assert not list(dataset.folder.glob("archive"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"nothing", "damaged, or no zip or tar"),
        (b"", "damaged, or no zip or tar"),
        (archive()[:900], "damaged"),
        (archive({"../../out.png": picture(1)}), "path out of its folder"),
        (archive({"/tmp/out.png": picture(1)}), "path out of its folder"),
        (archive({"..\\out.png": picture(1)}), "path out of its folder"),
        (archive({"pets/cat/more.zip": b"PK"}), "another archive"),
        (in_tar("../out"), "path out of its folder"),
        (in_tar("pets/cat/note.txt"), "holds no images|holds 1 file|no image"),
        (linked("/etc/passwd"), "a link"),
        (bomb(), "more than 100 times its size"),
        (encrypted(), "encrypted"),
    ],
)
def test_a_bad_archive_is_one_sentence_and_leaves_nothing(datasets, tmp_path, content, sentence):
    before = sorted(path for path in tmp_path.rglob("*") if path != datasets.folder)
    with pytest.raises(InputError, match=sentence) as caught:
        sent(datasets, content)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.option == "file"
    after = sorted(path for path in tmp_path.rglob("*") if path != datasets.folder)
    assert after == before


@pytest.mark.parametrize("path", ["../../../../outside.png", "{outside}", "cat/../../../../o.png"])
def test_a_table_names_no_file_of_the_server(datasets, tmp_path, path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(picture(60))
    table = f"path,label\n1.png,cat\n{path.format(outside=outside)},dog\n"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr("images.csv", table)
        file.writestr("1.png", picture(180))
    with pytest.raises(InputError, match="a path that leaves the archive"):
        sent(datasets, content.getvalue())
    assert datasets.all() == []
    root = tmp_path / "allowed" / "mine"
    root.mkdir(parents=True)
    (root / "images.csv").write_text(table)
    (root / "1.png").write_bytes(picture(180))
    with pytest.raises(InputError, match="a path that leaves the archive"):
        datasets.link(str(root))


def test_a_name_that_is_not_utf_8_stops_nobody_else(datasets, pets):
    content = io.BytesIO()
    with tarfile.open(
        fileobj=content, mode="w", format=tarfile.GNU_FORMAT, encoding="latin1"
    ) as file:
        for number, label in enumerate(("cat", "\xe4")):
            entry = tarfile.TarInfo(f"{label}/{number}.png")
            data = picture(60, number)
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
    with pytest.raises(InputError, match="is no name in UTF-8"):
        sent(datasets, content.getvalue())
    assert [each.id for each in datasets.all()] == [pets.id]


def test_a_damaged_record_does_not_stop_the_others(datasets, pets):
    other = sent(datasets, archive())
    (other.folder / "images.json").write_bytes(b"\xff")
    assert [each.id for each in datasets.all()] == [pets.id]


def test_too_many_bytes_are_refused_before_they_are_written(tmp_path):
    datasets = Datasets(tmp_path, upload_gigabytes=1e-6)
    with pytest.raises(InputError, match="more than 1e-06 GB"):
        sent(datasets, bytes(1001))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_server_left_is_cleared(datasets, tmp_path):
    half = datasets.receive("half.zip")
    half.write(b"PK")
    assert list(datasets.folder.iterdir())
    assert Datasets(datasets.folder).all() == []
    assert list(datasets.folder.iterdir()) == []


def test_images_that_are_excluded_are_not_in_the_table_of_a_job(datasets, tmp_path):
    content = archive({"pets/cat/broken.png": b"\x89PNG no", 'pets/cat/a, "b".png': picture(70)})
    dataset = sent(datasets, content)
    first = dataset.photos()[0]
    dataset = datasets.exclude(dataset.id, [first.number])
    table = dataset.write_table(tmp_path)
    listed = find_photos("directory", table, 10, 1).train
    assert first.path not in listed.files
    assert listed.unreadable == []
    assert len(listed.files) == dataset.n_images == 8
    assert dataset.photos()[0].is_excluded
    dataset = datasets.exclude(dataset.id, [first.number], False)
    assert dataset.n_images == 9


def test_a_table_keeps_the_parts(datasets, tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for part in ("train", "test"):
            for label in ("cat", "dog"):
                for number in range(2):
                    file.writestr(f"{part}/{label}/{number}.png", picture(99, number))
    dataset = datasets.exclude(sent(datasets, content.getvalue()).id, [0])
    found = find_photos("directory", dataset.write_table(tmp_path), 10, 1)
    assert (len(found.train.files), len(found.test.files)) == (3, 4)


def test_without_exclusions_a_job_reads_the_folder(pets, tmp_path):
    assert pets.write_table(tmp_path) is None


def test_a_number_that_no_image_has_is_refused(datasets, pets):
    with pytest.raises(InputError, match="has no image 8"):
        datasets.exclude(pets.id, [0, 8])
    with pytest.raises(NotFoundError):
        pets.thumbnail(-1)


def test_a_thumbnail_is_small_and_kept(datasets):
    large = io.BytesIO()
    Image.new("RGB", (1200, 600)).save(large, "JPEG")
    dataset = sent(datasets, archive({"pets/cat/0large.jpg": large.getvalue()}))
    [number] = [each.number for each in dataset.photos() if each.name.endswith("large.jpg")]
    content = dataset.thumbnail(number)
    image = Image.open(io.BytesIO(content))
    assert (image.format, image.size) == ("WEBP", (THUMBNAIL, THUMBNAIL // 2))
    dataset.photos()[number].path.unlink()
    assert dataset.thumbnail(number) == content


@pytest.mark.parametrize("identifier", ["", "..", "../jobs", "0" * 16, "a/b", "%2e%2e"])
def test_an_id_is_never_a_path(datasets, identifier):
    with pytest.raises(NotFoundError):
        datasets.get(identifier)


def test_a_folder_below_an_allowed_root_is_linked_and_survives(datasets, tmp_path):
    for label in ("cat", "dog"):
        place = tmp_path / "allowed" / "pets" / label
        place.mkdir(parents=True)
        (place / "0.png").write_bytes(picture(50))
    dataset = datasets.link(str(tmp_path / "allowed" / "pets"))
    assert dataset.classes == {"cat": 1, "dog": 1}
    datasets.delete(dataset.id)
    assert (place / "0.png").exists()
    assert datasets.all() == []


def test_no_other_folder_is_read(datasets, tmp_path):
    (tmp_path / "allowed").mkdir()
    (tmp_path / "allowed" / "out").symlink_to(tmp_path / "datasets")
    for path in (tmp_path, tmp_path / "allowed/../secret", tmp_path / "allowed/out", "/etc"):
        with pytest.raises(InputError, match="in no folder that this server may read"):
            datasets.link(str(path))
