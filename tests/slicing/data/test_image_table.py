"""Tables of paths and labels as people and their programs write them."""

import shutil
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slicing.data import folder
from slicing.data.find_photos import find_photos
from slicing.data.image_table import read_table
from slicing.errors import InputError
from tests.slicing.data.photos import COLORS, count, paint

LABELS = {"a.png": "red", "b.png": "blue", "sub/c 1.png": "red", "sub/d,e.png": "blue"}


@pytest.fixture
def photos(tmp_path):
    """Four images in a folder, two of them one deeper."""
    for path, label in LABELS.items():
        paint(tmp_path / "photos" / path, label)
    return tmp_path / "photos"


def written(folder_, text, name="labels.csv", encoding="utf-8"):
    path = folder_ / name
    path.write_bytes(text.encode(encoding))
    return path


def labels_of(listing, root):
    paths = [path.relative_to(root).as_posix() for path in listing.files]
    return dict(zip(paths, listing.classes, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        'a.png,red\nb.png,blue\nsub/c 1.png,red\n"sub/d,e.png",blue\n',
        'path,label\r\na.png,red\r\nb.png,blue\r\nsub/c 1.png,red\r\n"sub/d,e.png",blue',
        '\ufeffFile Name;Class\na.png;red\n\nb.png;blue\nsub/c 1.png;red\n"sub/d,e.png";blue\n',
        "label\timage_path\nred\ta.png\nblue\tb.png\nred\tsub/c 1.png\nblue\tsub/d,e.png\n",
        "id|category\n./a.png|red\nb.png|blue\nsub\\c 1.png|red\n.\\sub\\d,e.png|blue\n",
        'n,FILE,LABEL\n1,a.png,red\n2,b.png,blue\n3,sub/c 1.png,red\n4,"sub/d,e.png",blue\n',
        'a.png,red\na.png,red\n b.png , blue \nsub/c 1.png,red\n"sub/d,e.png",blue\n',
    ],
    ids=["plain", "header", "Excel", "tabs", "Windows", "more columns", "twice and spaces"],
)
def test_tables_of_all_kinds(photos, text):
    table = written(photos, text)
    found = read_table(table, 1)
    assert list(found) == ["train"]
    assert labels_of(found["train"], photos) == LABELS
    assert found["train"].places == {"red": table, "blue": table}
    assert find_photos("directory", table, 1, 1).name == photos.parent.name + "-photos"


def test_parts_are_those_of_a_column(photos):
    rows = zip(LABELS.items(), ("Train", "training", "VALID", "testing"), strict=True)
    text = "\n".join(f'"{path}",{label},{split}' for (path, label), split in rows)
    found = read_table(written(photos, f"file,class,subset\n{text}"), 1)
    assert {part: len(listing.files) for part, listing in found.items()} == {
        "train": 2, "val": 1, "test": 1,
    }  # fmt: skip
    assert found["val"].sources == [f"{photos / 'labels.csv'} (val)"]


@pytest.mark.parametrize("name", ["labels.csv", "Labels.TSV"])
def test_a_table_beside_a_folder_of_files_is_found(tmp_path, name):
    text = ""
    for number in range(8):
        label = list(COLORS)[number % 2]
        paint(tmp_path / "photos" / "images" / f"{number}.png", label)
        text += f"{number}.png\t{label}\n"
    table = written(tmp_path / "photos", text, name)
    for directory in (tmp_path / "photos", table):
        photos = find_photos("directory", directory, 1, 1)
        assert photos.root == table
        assert count(photos.train) == {"blue": 4, "green": 4}
        assert photos.train.files[0] == tmp_path / "photos" / "images" / "0.png"
    data = folder(
        directory=tmp_path / "photos", test_fraction=0.25, channels=3, duplicate_radius=None
    )
    assert len(data.train) == 6
    assert f"Images are those of {table}." in data.notes
    for image, label in zip(data.train.images, data.train.labels, strict=True):
        assert (image[0, 0] * 255).round().tolist() == list(COLORS[data.classes[label]])


def test_class_folders_go_before_a_table_beside_them(tmp_path):
    for name in ("red", "blue"):
        for number in range(2):
            paint(tmp_path / name / f"{number}.png", name)
    written(tmp_path, "what,ever\n1,2\n")
    photos = find_photos("directory", tmp_path, 1, 1)
    assert count(photos.train) == {"blue": 2, "red": 2}
    assert photos.train.passed_over == [tmp_path / "labels.csv"]


def test_names_of_all_languages_however_their_letters_are_made_up(tmp_path):
    names = ["größe", "葉", "лист", "ورقة", "🌻"]
    text = ""
    for number, name in enumerate(names):
        form = ("NFC", "NFD")[number % 2]
        paint(tmp_path / f"{unicodedata.normalize(form, name)}.png", "red")
        other = ("NFD", "NFC")[number % 2]
        text += unicodedata.normalize(other, f"{name}.png,{name}\n")
    listing = read_table(written(tmp_path, text), 1)["train"]
    assert listing.classes == [unicodedata.normalize("NFC", name) for name in names]


def test_what_is_no_image_is_named_as_everywhere(photos):
    (photos / "notes.png").write_text("no image")
    (photos / "notes.txt").write_text("no image")
    listing = read_table(written(photos, "a.png,red\nnotes.png,red\nnotes.txt,blue\n"), 1)["train"]
    assert [error.path.name for error in listing.unreadable] == ["notes.png", "notes.txt"]
    assert listing.counts == {"red": 2, "blue": 1}


def test_files_may_be_anywhere_where_the_user_says_so(tmp_path, photos):
    (tmp_path / "tables").mkdir()
    table = written(tmp_path / "tables", f"../photos/a.png,red\n{photos}/b.png,blue\n")
    assert len(read_table(table, 1)["train"].files) == 2


FAULTS = {
    "{table} is empty: ": "",
    "{table} names no images: ": "path,label\n",
    "{table} has the columns a.png, red, 7: call one path and one label": "a.png,red,7\n",
    "{table} has the columns a.png: call one path": "a.png\nb.png\n",
    "{table} has the columns x, y, label: call one path": "x,y,label\na.png,1,red\n",
    "{table} has several columns for the path, file, image: ": (
        "file,image,label\na.png,b.png,red\n"
    ),
    "{table} has 2 columns in its first line and another number in lines 3, 4: ": (
        "path,label\na.png,red\nb.png\nsub/c 1.png,blue,x\n"
    ),
    "{table} has no path in line 2: add it": "a.png,red\n,blue\n",
    "{table} has no label in lines 2, 3 (b.png, sub/c 1.png): add it": (
        "a.png,red\nb.png,\nsub/c 1.png, \n"
    ),
    "{table} has a part of no known name in line 3 (b.png): write train, val or test": (
        "path,label,split\na.png,red,train\nb.png,blue,holdout\n"
    ),
    "{table} has a path where no file is in lines 2, 4 (x.png, sub): correct it": (
        "path,label\nx.png,red\nb.png,blue\nsub,blue\n"
    ),
    "{table} gives a file two labels or parts, a.png in lines 1 and 3, ./b.png in ": (
        "a.png,red\nb.png,blue\na.png,blue\n./b.png,red\n"
    ),
    "{table} gives a file two labels or parts, a.png in lines 2 and 3: ": (
        "path,label,split\na.png,red,train\na.png,red,test\n"
    ),
    "{table} cannot be read as a table ('": 'a.png,red\nb.png,"bl"ue\n',
    "{table} holds 1 class: ": "a.png,red\nsub/c 1.png,red\n",
    "{table} has a path where no file is in line 1 (" + "x" * 300: "x" * 300 + ",red\nb.png,blue\n",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence_that_names_lines(photos, fault):
    table = written(photos, FAULTS[fault])
    with pytest.raises(InputError) as error:
        folder(directory=table)
    assert str(error.value).startswith(fault.format(table=table))
    assert ". " not in str(error.value)


def test_a_table_that_is_not_utf_8(photos):
    table = written(photos, "a.png,größe\nb.png,blue\n", encoding="latin-1")
    with pytest.raises(InputError, match=r"is not UTF-8: save it as CSV in UTF-8"):
        read_table(table, 1)


def test_which_folder_is_meant_is_not_guessed(tmp_path):
    for name in ("train", "test"):
        paint(tmp_path / name / "1.png", "red")
    table = written(tmp_path, "1.png,red\n")
    with pytest.raises(InputError, match=r"names 1\.png, which is in test, train: write"):
        read_table(table, 1)
    shutil.copy(table, tmp_path / "other.csv")
    with pytest.raises(InputError, match=r"several tables, labels\.csv, other\.csv: name the one"):
        find_photos("directory", tmp_path, 1, 1)


@pytest.mark.parametrize("path", ["../a.png", "/etc/hostname", "sub\\..\\..\\a.png", "C:\\a.png"])
def test_a_table_from_an_archive_does_not_leave_it(photos, path):
    table = written(photos, f"a.png,red\n{path},blue\n")
    with pytest.raises(InputError, match="has a path that leaves the archive in line 2"):
        read_table(table, 1, within=photos)


CELLS = st.sampled_from(["a.png", "b.png", ".\\a.png", "red", "blue", "path", "label", "split",
                         "train", "test", "", " ", '"', "\0", "..", "/", "größe"])  # fmt: skip


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, max_size=3), max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_table_is_a_listing_or_one_sentence(tmp_path_factory, rows, delimiter, end):
    root = tmp_path_factory.mktemp("tables")
    for name in ("a.png", "b.png"):
        (root / name).write_bytes(b"\x89PNG")
    table = written(root, end.join(delimiter.join(row) for row in rows))
    # Whatever else is raised fails.
    with suppress(InputError):
        found = read_table(table, 1, within=root)
        assert set(found) <= {"train", "test"}
        for listing in found.values():
            assert {error.path for error in listing.unreadable} <= {root / "a.png", root / "b.png"}
            assert sum(listing.counts.values()) == len(listing.unreadable) > 0
