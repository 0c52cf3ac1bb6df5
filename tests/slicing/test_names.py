import csv
import io
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from slicing.errors import InputError
from slicing.names import class_name, csv_cell, shown

# All of Unicode, with the halves of pairs that stand for bytes that are not UTF-8.
ANYTHING = st.text(st.characters() | st.characters(categories=("Cs", "Cc")), max_size=20)
HARMLESS = "José (1)#=2 日本語 שלום नमस्ते 👩‍🚀 a|b $x^$ \u00a0\u3000"


@given(ANYTHING)
def test_what_is_shown_steers_nothing_and_can_be_encoded(text):
    safe = shown(text)
    safe.encode()
    assert not {unicodedata.category(char) for char in safe} & {"Cc", "Cs", "Zl", "Zp"}
    assert shown(safe) == safe


def test_names_in_any_language_are_shown_as_they_are():
    assert shown(HARMLESS) == HARMLESS


def test_escape_sequences_are_spelled_out():
    assert shown("a\x1b[2J\n\udcff\u202e") == r"a\u001b[2J\u000a\udcff\u202e"
    assert shown("a\nb", keep="\n") == "a\nb"
    assert str(InputError("x\x1b[2J is unknown.")) == r"x\u001b[2J is unknown."


@given(ANYTHING)
def test_the_name_of_a_class_is_one_for_all_its_spellings(name):
    assert class_name(unicodedata.normalize("NFD", name)) == class_name(name)
    assert class_name(class_name(name)) == class_name(name)


@given(ANYTHING)
def test_no_cell_is_a_formula_and_all_cells_are_read_back(text):
    cell = csv_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    lines = io.StringIO()
    csv.writer(lines).writerow([cell, "end"])
    lines.seek(0)
    assert list(csv.reader(lines)) == [[cell, "end"]]
    assert cell.removeprefix("'") == shown(text).removeprefix("'")
