"""What the build adds to the pages: tables of committed results, options, links to the reference.

A page says ``<!-- build: NAME -->`` where something is to stand, and hides from a reader of the
repository, between ``<!-- build`` and ``-->``, what is for Sphinx only.
"""

import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from benchmarks import (
    adaptive,
    app,
    faults,
    fitness_report,
    inference,
    learning_rates,
    optimizers_report,
    photo_latency,
    photo_memory,
    photos,
    samplers,
    study_report,
    trial_tables,
)
from benchmarks.paper_cells import Store
from benchmarks.paper_jobs import BUDGETS, PAIRS, jobs
from benchmarks.paper_report import text
from benchmarks.runtimes import Measured
from experiments.schema.docs import CONF, PRESETS, field_docs, option_doc
from experiments.schema.run import GROUPS, Config, NewClasses
from experiments.tables import table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results"

PART = re.compile("^<!-- build: (.*) -->$", re.MULTILINE)

_NAMES = {
    int: ("whole number", "whole numbers"),
    float: ("number", "numbers"),
    bool: ("`true` or `false`", "`true` and `false`"),
    str: ("text", "texts"),
    Any: ("text, or a list of texts", ""),
}


def built(page: str, folder: Path) -> str:
    """Fill a page in.

    Parameters
    ----------
    page : str
        Its text as it is in the repository.
    folder : Path
        That of the pages; executed notebooks are in its ``notebooks``.
    """
    page = PART.sub(lambda found: PARTS[found[1]](folder), page)
    page = re.sub(r"^<!-- build\n(.*?)^-->$", r"\1", page, flags=re.DOTALL | re.MULTILINE)
    page = re.sub(r"\[`([\w.]+)`\]\((?:\.\./)+((?:slicing|evolve)/[\w/]+)\.py\)", _reference, page)
    if any(folder.glob("notebooks/*.ipynb")):
        page = re.sub(r"\]\(\.\./((?:\.\./)*notebooks/\w+\.ipynb)\)", r"](\1)", page)
    return page


def _reference(found: re.Match[str]) -> str:
    """Let the link of a name to its source lead to the reference."""
    module = found[2].replace("/", ".").removesuffix(".__init__")
    return f"{{py:obj}}`{found[1]} <{module}.{found[1]}>`"


# Tables of the committed results.


def paper_tables(budget: str) -> str:
    """Set the tables of a budget, of the cells that are committed."""
    asked = BUDGETS[budget]
    cells = {(cell.row, cell.command): cell for cell in reversed(_cells())}
    # By their commands: to compose the options of all rows takes half a minute.
    chosen = [
        replace(cells[job.row.name, job.command], column=job.column)
        for job in jobs(asked, asked.rows, [*asked.columns])
    ]
    return text(chosen, PAIRS)


def _cells() -> Iterable[Any]:
    return Store(RESULTS / "paper_cells.json").cells


def speed() -> str:
    """Set the tables of the fitness and its peers."""
    found = _read("fitness_speed")
    report = fitness_report.Report(
        found["command"],
        None,
        [fitness_report.CaseResult(**case) for case in found["cases"]],
        [fitness_report.GrowthResult(**each) for each in found["growth"]],
        [
            fitness_report.DiscriminantResult(**each)
            for each in _read("discriminant_speed")["discriminants"]
        ],
    )
    # Its last line names the machine that this program runs on.
    return report.text().rpartition("\n\n")[0]


def optimizers() -> str:
    """Set the table of the optimizers."""
    found = _read("optimizers")
    results = optimizers_report.Results(
        found["command"],
        found["origin"],
        [optimizers_report.Case(**case) for case in found["cases"]],
        None,
    )
    results.networks = [optimizers_report.Network(**each) for each in found["networks"]]
    results.runs = [optimizers_report.Run(**each) for each in found["runs"]]
    results.overheads = [optimizers_report.Overhead(**each) for each in found["overheads"]]
    return results.text()


def sizes() -> str:
    """Set the front of accuracy against bytes, in words instead of commands."""
    header = ["kernels", "prototypes a class", "bytes", "% of validation images"]
    header += ["% of 10,000 test images (95 %)"]
    body = []
    for engine in _read("engine_size"):
        if engine["test_accuracy"] is None:
            continue
        options = dict(word.split("=", 1) for word in shlex.split(engine["engine"]) if "=" in word)
        moved = options.get("slicing.tuning_generations") != "0"
        percents = [100 * engine[f"test_{what}"] for what in ("accuracy", "low", "high")]
        body.append(
            [
                f"`{options['baseline.filters']}`",
                options["slicing.per_class"] + (", moved by CMA-ES" if moved else ""),
                f"{engine['bytes']:,}",
                f"{100 * engine['validation_accuracy']:.2f}",
                "{:.2f} ({:.2f}-{:.2f})".format(*percents),
            ]
        )
    return "\n".join(table(header, body))


def inference_table() -> str:
    """Set the table of inference, image by image."""
    return inference.report([Measured(**each) for each in _read("inference")["results"]])


def photos_table(data: str) -> str:
    """Write the table of a dataset of photos."""
    return photos.report([photos.Cell(**each) for each in _read("photos")["cells"]], data)


def photo_latency_table() -> str:
    """Write what a photo takes."""
    found = _read("photo_latency")["results"]
    return photo_latency.report([photo_latency.Latency(**each) for each in found])


def photo_memory_table() -> str:
    """Write the memory that many photos take."""
    found = _read("photo_memory")["results"]
    return photo_memory.report([photo_memory.Memory(**each) for each in found])


def study_tables() -> str:
    """Write the tables of a study beside other systems, one of each dataset."""
    cells = [study_report.Cell.read(each) for each in _read("study")["cells"]]
    names = dict.fromkeys(each.data for each in cells)
    return "\n\n".join(f"**{name}**\n\n{study_report.report(cells, name)}" for name in names)


def samplers_table(space: str) -> str:
    """Write the table of the samplers in a space."""
    found = _read("samplers")
    runs = [samplers.Run(**each) for each in found["runs"]]
    return samplers.report(runs, trial_tables.read(samplers.TABLES), space, found["budgets"])


def learning_rates_table() -> str:
    """Write the tables of the policies of the learning rate."""
    return learning_rates.report(
        [learning_rates.Cell.read(each) for each in _read("learning_rates")["cells"]]
    )


def faults_table() -> str:
    """Set the tables of damaged files and killed runs."""
    found = _read("faults")
    counts = (
        {name: Counter(counted) for name, counted in found[part].items()}
        for part in ("files", "kills")
    )
    return faults.report(*counts)


def _read(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text("utf-8"))


# Options.


def options() -> str:
    """Describe every option of every group, and the presets."""
    parts = ["## The run as a whole", _described(_rows(Config))]
    docs = field_docs(Config)
    for group, options in GROUPS.items():
        parts += [f"## {group}", docs[group]]
        shown = set()
        for option, schema in options.items():
            parts += [f"### {group}={option}", option_doc(group, option)]
            if values := _values(CONF / group / f"{option}.yaml"):
                parts += [f"```yaml\n{values}\n```"]
            if schema not in shown:
                parts += [_described(_rows(schema, group))]
            shown.add(schema)
    parts += ["## new", docs["new"], _described(_rows(NewClasses, "new"))]
    parts += ["## Presets", "A preset changes several values at once. It comes on top of the rest."]
    for path in sorted(CONF.glob("*/*.yaml")):
        if path.parent.name in PRESETS:
            content = path.read_text("utf-8").removeprefix("# @package _global_\n")
            parts += [f"### +{path.parent.name}={path.stem}"]
            parts += [option_doc(path.parent.name, path.stem)]
            parts += [f"```yaml\n{content.rstrip()}\n```"]
    return "\n\n".join(parts)


def _described(rows: Iterable[list[str]]) -> str:
    header, rule, *body = table(["value", "kind", "default", "meaning"], [*rows])
    return "\n".join([header, rule.replace(":", "-"), *body])  # prose stands to the left


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


def _values(path: Path) -> str:
    """Give what a YAML file sets: all of it but comments and the list of defaults."""
    content = re.sub(r"^(#.*|defaults:\n(  .*\n)+)\n?", "", path.read_text("utf-8"), flags=re.M)
    return content.strip()


def notebooks(folder: Path) -> str:
    """List the notebooks that have been executed, so that they are pages."""
    names = [f"../notebooks/{path.stem}" for path in sorted(folder.glob("notebooks/*.ipynb"))]
    return "\n".join(["```{toctree}", ":hidden:", "", *names, "```"]) if names else ""


def _escaped(text: str) -> str:
    """Keep what would be markup in Markdown, outside of code."""
    return re.sub(r"(?<!`)([|*<>\[\]_])(?![^`]*`)", r"\\\1", text)


PARTS: dict[str, Callable[[Path], str]] = {
    "options": lambda folder: options(),
    "notebooks": notebooks,
    "paper_tables full": lambda folder: paper_tables("full"),
    "paper_tables levers": lambda folder: paper_tables("levers"),
    "speed": lambda folder: speed(),
    "optimizers": lambda folder: optimizers(),
    "sizes": lambda folder: sizes(),
    "inference": lambda folder: inference_table(),
    "faults": lambda folder: faults_table(),
    "photos flowers17": lambda folder: photos_table("flowers17"),
    "photos cifar10": lambda folder: photos_table("cifar10"),
    "photo_latency": lambda folder: photo_latency_table(),
    "photo_memory": lambda folder: photo_memory_table(),
    "study": lambda folder: study_tables(),
    "samplers svm": lambda folder: samplers_table("svm"),
    "samplers sliced": lambda folder: samplers_table("sliced"),
    "learning_rates": lambda folder: learning_rates_table(),
    "adaptive": lambda folder: adaptive.report(_read("adaptive")["cells"]),
    "app": lambda folder: app.report(_read("app")),
}
"""What can stand in a page, by the name that the page gives it."""
