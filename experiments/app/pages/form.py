"""The fields of a job's options, made of the schema and its documentation."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from evolve.trials.proposers import PROPOSERS
from evolve.trials.pruning import PRUNERS
from experiments.app.commands import KINDS
from experiments.schema.adaptive import SELECTORS, Adaptive
from experiments.schema.data import Folder
from experiments.schema.docs import CONF, field_docs
from experiments.schema.inspection import Inspection
from experiments.schema.study import Budget, Limits, Study
from slicing.errors import InputError

SIMPLE = {"study": ("budget.minutes", "budget.target_accuracy", "space"), "adaptive": ("loss",)}
"""Options that are shown at once, by kinds of jobs; the others are folded."""

_SCHEMAS: dict[str, type] = {"study": Study, "adaptive": Adaptive, "inspect": Inspection}
_GROUPS: dict[str, type] = {"budget": Budget, "limits": Limits, "data": Folder}
_PREFIXES = {"limits": "limit: ", "data": "photos: "}


def _choices() -> dict[str, tuple[str, ...]]:
    return {
        "sampler": tuple(PROPOSERS),
        "pruner": tuple(PRUNERS),
        "objectives": ("accuracy", "bytes", "parameters", "milliseconds"),
        "space": tuple(sorted(each.stem for each in (CONF / "families").glob("*.yaml"))),
        "selector": tuple(SELECTORS),
    }


@dataclass(frozen=True)
class Field:
    """An option as a field of a form.

    Attributes
    ----------
    name : str
        Of the option.
    label, doc : str
    kind : type
        ``int``, ``float`` or ``str``.
    is_list : bool
    choices : tuple of str
        Values that it may have; none: any.
    """

    name: str
    label: str
    doc: str
    kind: type
    is_list: bool
    choices: tuple[str, ...]

    def read(self, value: Any) -> Any:
        """Give the value for the command line of what somebody entered; None: nothing.

        Raises
        ------
        InputError
            Where it is of another kind.
        """
        if value in (None, "", []):
            return None
        if self.choices:
            return value
        given = str(value).replace(",", " ").split() if self.is_list else [str(value).strip()]
        try:
            values = [self.kind(each) for each in given]
        except ValueError as error:
            kind = "whole number" if self.kind is int else "number"
            raise InputError(f"{value} is no {kind}: correct it.", self.name) from error
        return values if self.is_list else values[0]


def fields_of(kind: str) -> list[Field]:
    """List the fields of a kind of job, in the order of its options."""
    return [_field(kind, name) for name in KINDS[kind].options]


def options_of(entered: Mapping[str, Any], all_fields: list[Field]) -> dict[str, Any]:
    """Read a form; what is empty is left to the schema.

    Raises
    ------
    InputError
    """
    values = {each.name: each.read(entered[each.name]) for each in all_fields}
    return {name: value for name, value in values.items() if value is not None}


def _field(kind: str, option: str) -> Field:
    group, _, name = option.rpartition(".")
    schema = _GROUPS[group] if group else _SCHEMAS[kind]
    hint = get_type_hints(schema)[name]
    inner = next((each for each in get_args(hint) if each is not type(None)), hint)
    hint = inner if get_origin(hint) in (Union, UnionType) else hint
    is_list = get_origin(hint) is list
    base = get_args(hint)[0] if is_list else hint
    choices = _choices().get(name, ())
    if isinstance(base, type) and issubclass(base, Enum):
        choices = tuple(each.name for each in base)
    label = _PREFIXES.get(group, "") + name.replace("_", " ")
    return Field(
        option,
        label[0].upper() + label[1:],
        # What a command line calls null is an empty field here.
        field_docs(schema)[name].replace("null:", "empty:"),
        base if base in (int, float) else str,
        is_list,
        choices,
    )
