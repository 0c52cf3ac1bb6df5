"""The form of a job is made of the schema."""

import pytest

from experiments.app.commands import KINDS
from experiments.app.pages.form import SIMPLE, fields_of, options_of
from experiments.schema.docs import field_docs
from experiments.schema.study import Limits, Study
from slicing.errors import InputError


def field_of(name, kind="study"):
    return next(each for each in fields_of(kind) if each.name == name)


@pytest.mark.parametrize("kind", KINDS)
def test_each_option_has_a_field_with_its_documentation(kind):
    fields = fields_of(kind)
    assert [each.name for each in fields] == [*KINDS[kind].options]
    assert all(each.label and each.doc for each in fields)
    assert set(SIMPLE.get(kind, ())) <= {each.name for each in fields}


def test_fields_say_what_help_says():
    assert field_of("sampler").doc == field_docs(Study)["sampler"]
    assert field_of("limits.bytes").doc == field_docs(Limits)["bytes"].replace("null:", "empty:")
    assert "tpe" in field_of("sampler").choices
    assert "sliced" in field_of("space").choices


def test_what_is_entered_becomes_values():
    assert field_of("budget.trials").read("3") == 3
    assert field_of("limits.milliseconds").read(" 2.5 ") == 2.5
    assert field_of("data.image_size").read("32, 48") == [32, 48]
    assert field_of("space").read(["cnn"]) == ["cnn"]
    with pytest.raises(InputError, match=r"1\.5 is no whole number") as raised:
        field_of("budget.trials").read("1.5")
    assert raised.value.option == "budget.trials"


def test_what_is_empty_is_left_out():
    fields = [field_of("budget.trials"), field_of("space"), field_of("sampler")]
    entered = {"budget.trials": "", "space": [], "sampler": None}
    assert options_of(entered, fields) == {}
