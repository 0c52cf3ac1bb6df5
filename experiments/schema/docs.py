"""Read the documentation of options from the schema and the YAML files."""

import ast
import inspect
import textwrap
from dataclasses import fields
from functools import cache
from pathlib import Path

CONF = Path(__file__).resolve().parents[2] / "conf"
"""The folder of the YAML files."""

PRESETS = ("debug", "experiment")
"""Its folders of presets, which come on top of the defaults of a run."""


@cache
def field_docs(schema: type) -> dict[str, str]:
    """Return the one-line documentation of every field of a schema class, in their order.

    Parameters
    ----------
    schema : type
        A dataclass with a string under each field.
    """
    docs: dict[str, str] = {}
    for parent in reversed(schema.__mro__[:-1]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(parent))).body
        assert isinstance(definition, ast.ClassDef)
        for statement, following in zip(definition.body, definition.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                match following:
                    case ast.Expr(ast.Constant(str(text))):
                        docs[statement.target.id] = " ".join(text.split())
    return {each.name: docs[each.name] for each in fields(schema)}


def option_doc(group: str, option: str) -> str:
    """Return what an option of a group is: the first comment of its YAML file.

    Parameters
    ----------
    group, option : str
        ``slicing`` and ``small``, for ``conf/slicing/small.yaml``.
    """
    lines = (CONF / group / f"{option}.yaml").read_text("utf-8").splitlines()
    comment: list[str] = []
    for line in lines:
        if line.startswith("# ") and not line.startswith("# @"):
            comment.append(line.removeprefix("# "))
            if line.endswith("."):
                break
    return " ".join(comment)
