"""Pages that are made of what the code and the committed results say, at every build."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from experiments.schema.docs import CONF, field_docs, option_doc
from experiments.schema.run import GROUPS, Config, NewClasses

ROOT = Path(__file__).parents[1]

SECTIONS = {
    "experiments": ("Experiments", "Reproducibility"),
    "engine": ("The engine",),
    "speed": ("How fast the fitness is",),
    "optimizers": ("Which optimizer",),
    "paper_tables": ("The paper's tables",),
}
"""The sections of the README that are pages here, too; the first gives a page its title."""

# Where the README's other headings are here.
_ELSEWHERE = {
    "what-the-sizes-mean": "../ideas.md#what-the-sizes-mean",
    "the-library-in-ten-lines": "../library.md",
}

_OPTIONS = """\
# Options

This page is made from the schema, `experiments/schema/`, at every build. The same texts are in
`python -m experiments.run --help`, with the values that are chosen.

An option of a group is chosen by `GROUP=OPTION`, a value is set by `GROUP.NAME=VALUE`, and a preset
is added by `+GROUP=PRESET`. A name or value that the schema does not know is refused at the start.
`null` means none, and lists are written `[1,2]`. The first option of a group is the default.
`_target_` names the function or class that is called with the other values of its group:
[Extending](../extending/index.md) shows how to put one of your own there."""

_NOTEBOOKS = """\
# Notebooks

The story, step by step, with figures. The notebooks lie in `notebooks/`; what is shown here is what
they gave when `make notebooks` executed them."""

_NAMES = {
    int: ("whole number", "whole numbers"),
    float: ("number", "numbers"),
    bool: ("`true` or `false`", "`true` and `false`"),
    str: ("text", "texts"),
}


def write_pages(folder: Path) -> None:
    """Write the generated pages, those that have changed.

    Parameters
    ----------
    folder : Path
        Is made where it is not there.
    """
    folder.mkdir(exist_ok=True)
    pages = {name: readme_page(name) for name in SECTIONS}
    pages["options"] = options_page()
    pages["notebooks"] = notebooks_page(sorted(folder.parent.glob("notebooks/*.ipynb")))
    for name, text in pages.items():
        path = folder / f"{name}.md"
        # Sphinx reads anew what has been written.
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def options_page() -> str:
    """Describe every option of every group, and the presets."""
    parts = [_OPTIONS, "## The run as a whole", _table(_rows(Config))]
    docs = field_docs(Config)
    for group, options in GROUPS.items():
        parts += [f"## {group}", docs[group]]
        for option, schema in options.items():
            parts += [
                f"### {group}={option}",
                option_doc(group, option),
                _table(_rows(schema, group)),
            ]
    parts += ["## new", docs["new"], _table(_rows(NewClasses, "new"))]
    parts += ["## Presets", "A preset changes several values at once. It comes on top of the rest."]
    for path in sorted(CONF.glob("*/*.yaml")):
        if path.parent.name not in GROUPS:
            content = path.read_text("utf-8").removeprefix("# @package _global_\n")
            parts += [f"### +{path.parent.name}={path.stem}"]
            parts += [option_doc(path.parent.name, path.stem)]
            parts += [f"```yaml\n{content.rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _rows(schema: type, owner: str = "") -> Iterator[list[str]]:
    """Describe the values of a schema, those of the schemas within left out."""
    hints, docs = get_type_hints(schema), field_docs(schema)
    for each in fields(schema):  # type: ignore[arg-type]
        kind = hints[each.name]
        if is_dataclass(kind):
            continue
        name = f"{owner}.{each.name}" if owner else each.name
        default = each.default if each.default_factory is MISSING else each.default_factory()
        yield [f"`{name}`", _kind(kind), _default(default), _escaped(docs[each.name])]


def _kind(kind: Any) -> str:
    """Write a type as the command line knows it."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{member}`" for member in kind.__members__)
    if kind is NoneType:
        return "`null`"
    if get_origin(kind) is list:
        return f"list of {_NAMES[get_args(kind)[0]][1]}"
    if get_args(kind):
        return " or ".join(_kind(each) for each in get_args(kind))
    return _NAMES[kind][0]


def _default(value: Any) -> str:
    """Write a default; another option's value is written as that option."""
    if value == "???":
        return "must be given"
    if isinstance(value, Enum):
        return f"`{value.name}`"
    if isinstance(value, str):
        other = re.fullmatch(r"\$\{(.*)\}", value)
        return f"that of `{other[1]}`" if other else f"`{value}`"
    return f"`{json.dumps(value)}`"


def readme_page(name: str) -> str:
    """Make a page of some sections of the README, a level higher, with its links set right.

    Parameters
    ----------
    name : str
        One of `SECTIONS`.
    """
    sections = _sections((ROOT / "README.md").read_text("utf-8"))
    text = "\n".join(sections[title] for title in SECTIONS[name])
    places = _ELSEWHERE | {
        _anchor(heading): f"{'' if page == name else f'{page}.md'}#{_anchor(heading)}"
        for page, titles in SECTIONS.items()
        for title in titles
        for heading in [title, *re.findall(r"^### (.*)$", sections[title], re.MULTILINE)]
    }

    def place(link: re.Match[str]) -> str:
        target = link[1]
        if target.startswith("#"):
            return f"]({places[target[1:]]})"
        if target.startswith("docs/"):
            return f"](../{target.removeprefix('docs/')})"
        return f"]({target})" if "://" in target else f"](../../{target})"

    # The title of a further section stands beside the headings within the first.
    first, *others = SECTIONS[name]
    text = re.sub(r"^###", "##", text, flags=re.MULTILINE)
    text = text.replace(f"## {first}\n", f"# {first}\n", 1)
    assert all(f"\n## {title}\n" in text for title in others)
    return re.sub(r"\]\(([^)\s]+)\)", place, text)


def _sections(text: str) -> dict[str, str]:
    """Divide the README at its headings of the second level, which its code blocks have none of."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0].removeprefix("## "): part for part in parts}


def _anchor(heading: str) -> str:
    """Give what a link to a heading has behind its ``#``."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def notebooks_page(paths: Iterable[Path]) -> str:
    """List the notebooks that have been executed."""
    names = [f"../notebooks/{path.stem}" for path in paths]
    if not names:
        return f"{_NOTEBOOKS}\n\nHere none have been executed.\n"
    return "\n".join([_NOTEBOOKS, "", "```{toctree}", ":maxdepth: 1", "", *names, "```", ""])


def _table(
    rows: Iterable[list[str]], header: Iterable[str] = ("value", "kind", "default", "meaning")
) -> str:
    """Set a table in Markdown."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _escaped(text: str) -> str:
    """Keep what would be markup in Markdown, outside of code."""
    return re.sub(r"(?<!`)([|*<>\[\]_])(?![^`]*`)", r"\\\1", text)
