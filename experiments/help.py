"""The page that ``--help`` prints, from the schema and the folder ``conf/``."""

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.config import GROUPS, Config, field_docs, plain
from experiments.overrides import CONF

_WIDTH = 100
_INTRODUCTION = """\
{doc}

Usage: python -m experiments.run [GROUP=OPTION ...] [NAME=VALUE ...] [+PRESET=OPTION ...]

  python -m experiments.run                                  the defaults
  python -m experiments.run optimizer=pso slicing.k=5 seed=1
  python -m experiments.run data=folder data.directory=images data.channels=3
  python -m experiments.run --multirun optimizer=cmaes,random seed=0,1,2
  python -m experiments.run optimizer=pso --help             the options of PSO
  python -m experiments.run +debug=quick                     everything small, in seconds
  python -m experiments.run --cfg job                        print the configuration only
"""


def help_page(config: DictConfig) -> str:
    """Describe groups, presets and every option of a composed configuration.

    Parameters
    ----------
    config : DictConfig
        The options chosen; the page shows the names and values of these.

    Returns
    -------
    str
        At most 100 characters wide.
    """
    lines = [_INTRODUCTION.format(doc=Config.__doc__)]
    for group, options in GROUPS.items():
        lines.append(f"{group}: {field_docs(Config)[group]}")
        lines += [_row(f"{group}={option}", doc.__doc__ or "") for option, doc in options.items()]
    lines.append("\nPresets, on top of these:")
    lines += [_row(name, doc) for name, doc in _presets()]
    lines.append("\nValues, as chosen now:")
    lines += _values(config)
    return "\n".join(lines)


def _presets() -> Iterator[tuple[str, str]]:
    """Give presets as on the command line, with the first comment of their file."""
    for path in sorted(CONF.glob("*/*.yaml")):
        if path.parent.name not in GROUPS:
            comments = re.findall(r"^# ([^@].*)$", path.read_text("utf-8"), re.MULTILINE)
            yield f"+{path.parent.name}={path.stem}", comments[0]


def _values(config: DictConfig, owner: str = "") -> Iterator[str]:
    """Describe every value that is not a group."""
    schema = OmegaConf.get_type(config)
    assert is_dataclass(schema)
    for each in fields(schema):
        node = config._get_node(each.name)
        if isinstance(node, DictConfig):
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
