"""The page that ``--help`` prints, from the schema and the folder ``conf/``."""

import json
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.programs import RUN, Program
from experiments.schema.docs import CONF, PRESETS, field_docs, option_doc
from experiments.schema.run import GROUPS, plain

_WIDTH = 100
_INTRODUCTION = """\
{doc}

Usage: python -m {module} [GROUP=OPTION ...] [NAME=VALUE ...] [+PRESET=OPTION ...]

{examples}"""


def help_page(config: DictConfig, program: Program = RUN) -> str:
    """Describe groups, presets and every option of a composed configuration.

    Parameters
    ----------
    config : DictConfig
        The options chosen; the page shows the names and values of these.
    program : Program
        Whose command line it is.

    Returns
    -------
    str
        At most 100 characters wide.
    """
    lines = [
        _INTRODUCTION.format(
            doc=program.schema.__doc__, module=program.module, examples=program.examples
        )
    ]
    for group, options in program.groups.items():
        lines.append(f"{group}: {field_docs(program.schema)[group]}")
        lines += [_row(f"{group}={option}", option_doc(group, option)) for option in options]
    if presets := [_row(name, doc) for name, doc in _presets(program)]:
        lines += ["\nPresets, on top of these:", *presets]
    lines.append("\nValues, as chosen now:")
    lines += _values(config)
    return "\n".join(lines)


def _presets(program: Program) -> Iterator[tuple[str, str]]:
    """Give presets as on the command line, with the first comment of their file."""
    for path in sorted(CONF.glob("*/*.yaml")):
        group = path.parent.name
        # They set options of all groups of a run.
        if group in PRESETS and program.groups == GROUPS:
            yield f"+{group}={path.stem}", option_doc(group, path.stem)


def _values(config: DictConfig, owner: str = "") -> Iterator[str]:
    """Describe every value that is not a group."""
    schema = OmegaConf.get_type(config)
    assert is_dataclass(schema)
    for each in fields(schema):
        node = config._get_node(each.name)
        if isinstance(node, DictConfig) and not node._is_none():
            yield from _values(node, f"{owner}{each.name}.")
        elif each.name != "_target_":
            doc = field_docs(schema)[each.name]
            if isinstance(each.type, type) and issubclass(each.type, Enum):
                doc = f"{' | '.join(each.type.__members__)}. {doc}"
            yield _row(f"{owner}{each.name}={_text(plain(config)[each.name])}", doc)


def _text(value: Any) -> str:
    """Write a value as on the command line."""
    return value if isinstance(value, str) else json.dumps(value)


def _row(name: str, doc: str) -> str:
    """Set a name and its meaning in two columns."""
    indent = " " * 40
    text = textwrap.fill(doc, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    label = f"  {name}"
    return label.ljust(40) + text[40:] if len(label) < 40 else f"{label}\n{text}"
