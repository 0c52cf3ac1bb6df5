"""The words of a command line: how they are written, and which are taken."""

import itertools
import re
import shlex
from collections.abc import Sequence

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from experiments.hydra_internals import parse_override
from slicing.errors import InputError

# Keys of Hydra's and logging's configurations whose values are imported and called.
_CODE = {"_target_", "()", "class"}


def quoted(value: object) -> str:
    """Quote a value, a path say, so that Hydra's command line takes it as it is."""
    # Hydra reads a backslash as one only before a quote, or at the end.
    escaped = re.sub(
        r"(\\*)('|$)", lambda found: found[1] * 2 + ("\\'" if found[2] else ""), str(value)
    )
    return f"'{escaped}'"


def parse(line: str) -> Override:
    """Read an override.

    Raises
    ------
    InputError
        Where it cannot be read.
    """
    try:
        return parse_override(line)
    except HydraException as error:
        name, _, value = line.partition("=")
        how = "name=value, with quotes around special characters"
        if value and value[0] not in "[{" and re.fullmatch(r"[\w./+]+", name):
            how = as_one(line)
        raise InputError(f"{line} cannot be read: write {how}.") from error


def as_one(line: str) -> str:
    """Write an override so that a shell and Hydra take its value as one text."""
    name, _, value = line.partition("=")
    return _for_shell(f"{name}={quoted(value)}")


def of_path(name: str, path: object) -> str:
    """Write an option whose value is a path so that a shell and Hydra take it as it is."""
    is_plain = re.fullmatch(r"[\w./-]+", str(path), re.ASCII)
    return f"{name}={path}" if is_plain else shlex.quote(f"{name}={quoted(path)}")


def _for_shell(word: str) -> str:
    """Quote a word for a shell, in a way that can be read."""
    return shlex.quote(word) if re.search(r'["$`\\!]', word) else f'"{word}"'


def check_words(overrides: Sequence[str]) -> None:
    """Refuse a word without a value: mostly the rest of a path that has spaces.

    Raises
    ------
    InputError
    """
    for before, word in itertools.pairwise(["", *overrides]):
        if "=" in before and "=" not in word and not word.startswith("~"):
            raise InputError(
                f"{word} cannot be read: write name=value, or, if it belongs to {before}, "
                f"{as_one(f'{before} {word}')}."
            )


def refuse_code(override: Override) -> None:
    """Refuse to import what an override names: it may come from somebody's run folder.

    Raises
    ------
    InputError
    """
    name = override.key_or_group
    if name.rpartition(".")[2] in _CODE or _names_code(override.value()):
        raise InputError(
            f"{name} names code, which is not taken from the command line: name a class of your "
            "own in a YAML file, --config-dir, as docs/extending shows.",
            name,
        )


def _names_code(value: object) -> bool:
    if isinstance(value, dict):
        return any(str(key) in _CODE or _names_code(each) for key, each in value.items())
    if isinstance(value, list):
        return any(map(_names_code, value))
    return isinstance(value, str) and value.startswith("ext://")
