"""The notebooks as they are stored; `make notebooks` executes them."""

import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# Of a home, a working or a temporary folder, or of Windows.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|tmp|Users)/|\b[A-Z]:\\")

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=nbformat.NO_CONVERT)


def title(path):
    return read(path).cells[0].source.splitlines()[0]


def test_they_are_numbered():
    numbers = [path.name[:3] for path in NOTEBOOKS]
    assert numbers == [f"{number:02}_" for number in range(1, len(NOTEBOOKS) + 1)]
    assert NOTEBOOKS


@each_notebook
def test_they_are_valid_notebooks_for_python(path):
    notebook = read(path)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"


@each_notebook
def test_they_are_stored_without_what_they_print(path):
    for cell in read(path).cells:
        assert cell.cell_type in ("markdown", "code")
        if cell.cell_type == "code":
            assert cell.execution_count is None
            assert not cell.outputs
        assert not cell.metadata
        assert cell.source.strip()


@each_notebook
def test_their_cells_have_names_of_their_own(path):
    names = [cell.id for cell in read(path).cells]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", name) for name in names)


@each_notebook
def test_they_begin_with_a_title_and_what_is_learned(path):
    first, *others = read(path).cells
    assert first.cell_type == "markdown"
    heading, blank, paragraph, *_ = first.source.splitlines()
    assert heading.startswith("# ")
    assert not blank
    assert paragraph
    # A page has one title.
    for cell in others:
        if cell.cell_type == "markdown":
            assert not re.search(r"^# ", cell.source, re.MULTILINE)


def test_their_titles_differ():
    assert len({title(path) for path in NOTEBOOKS}) == len(NOTEBOOKS)


@each_notebook
def test_their_links_to_each_other_lead_somewhere(path):
    text = "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)]+\.ipynb)\)", text):
        assert (path.parent / target).is_file()


@each_notebook
def test_they_name_no_machine(path):
    for cell in read(path).cells:
        assert not MACHINE_PATH.search(cell.source)


@each_notebook
def test_no_table_of_contents_lists_them_twice(path):
    listed = []
    for page in sorted((ROOT / "docs").rglob("*.md")):
        for contents in re.findall(r"^```+\{toctree\}(.*?)^```", page.read_text(), re.S | re.M):
            listed += [line for line in contents.splitlines() if path.stem in line]
    assert len(listed) <= 1
