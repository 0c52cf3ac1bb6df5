"""Command lines of the small tools: ``NAME=VALUE``, checked by a schema."""

import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any, TypeVar, cast

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from experiments.console import exit_on_mistake
from experiments.hydra_internals import parse_override
from experiments.schema.docs import field_docs
from slicing.errors import InputError

Schema = TypeVar("Schema")


def parse(schema: type[Schema], arguments: Sequence[str]) -> Schema:
    """Read a command line.

    Parameters
    ----------
    schema : type
        A dataclass: its fields are the options, and those that are ``MISSING`` must be given.
    arguments : sequence of str

    Returns
    -------
    object
        An instance of ``schema``.

    Raises
    ------
    InputError
        For the first mistake.
    """
    config: Any = OmegaConf.structured(schema)
    names = [each.name for each in fields(schema)]  # type: ignore[arg-type]
    for before, word in itertools.pairwise(["", *arguments]):
        name, equals, value = word.partition("=")
        if word.startswith("-"):
            near = get_close_matches(name.lstrip("-"), names, n=1) or ["NAME"]
            raise InputError(f"{name} is no flag: options are written NAME=VALUE, {near[0]}=...")
        if not equals:
            rest = f': if it belongs to {before}, write "{before} {word}"' if before else ""
            raise InputError(f"{word} is no NAME=VALUE{rest}.")
        if name not in names:
            near = get_close_matches(name, names, n=1) or names
            raise InputError(f"There is no option {name}: did you mean {', '.join(near)}?")
        try:
            config[name] = _read(word) if value.startswith(("[", "'", '"')) else value
        except OmegaConfBaseException as error:
            raise InputError(f"{word} does not fit: {str(error).splitlines()[0]}.") from error
    try:
        for name in sorted(OmegaConf.missing_keys(config)):
            raise InputError(f"{name} is missing: give it as {name}=...")
        return cast(Schema, OmegaConf.to_object(config))
    except OmegaConfBaseException as error:
        raise InputError(f"An option cannot be resolved: {str(error).splitlines()[0]}.") from error


def _read(word: str) -> Any:
    """Read a list or a text in quotes as Hydra does; paths without either stand for themselves."""
    try:
        override = parse_override(word)
    except HydraException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{word} cannot be read ({reason}): close brackets and quotes.") from error
    if override.is_sweep_override():
        raise InputError(f"{word} names several values: put all of them in brackets.")
    return override.value()


def run_tool(module: str, schema: type, main: Callable[[Any], None]) -> None:
    """Run a tool with the process's command line; a mistake is one sentence and exit code 2."""
    arguments = sys.argv[1:]
    with exit_on_mistake():
        if {"--help", "-h"} & set(arguments):
            print(f"{schema.__doc__}\n\nUsage: python -m {module} NAME=VALUE ...\n")
            defaults = OmegaConf.structured(schema)
            for name, doc in field_docs(schema).items():
                value: Any = "..." if OmegaConf.is_missing(defaults, name) else defaults[name]
                print(f"  {name}={getattr(value, 'name', value)}".ljust(24) + doc)
        else:
            main(parse(schema, arguments))
