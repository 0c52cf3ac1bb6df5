"""Tests of the tests: each can fail, and none by the clock."""

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "time"}
# The last is of NiceGUI, whose user looks at a page.
FAILING = {"fail", "raises", "warns", "skip", "should_see"}


def name_of(node):
    """The last name of what is called, decorated or read: ``raises`` of ``pytest.raises(...)``."""
    node = node.func if isinstance(node, ast.Call) else node
    return getattr(node, "attr", getattr(node, "id", ""))


def functions(tree):
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {node.name: node for node in found}


@cache
def trees():
    return {path: ast.parse(path.read_text()) for path in sorted(TESTS.rglob("*.py"))}


def helpers(tree):
    """Functions that a module defines, or imports from others of the tests, by their names."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
            path = TESTS.parent.joinpath(*node.module.split(".")).with_suffix(".py")
            names = {alias.name for alias in node.names}
            found |= {k: v for k, v in functions(trees()[path]).items() if k in names}
    return found | functions(tree)


def can_fail(function, helpers, seen=frozenset()):
    """Whether it asserts something, itself or by a helper."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            # `assert True`, `assert "text"` and `assert (a, b)` always hold.
            if not isinstance(node.test, ast.Constant | ast.Tuple | ast.JoinedStr):
                return True
        elif isinstance(node, ast.Call):
            name = name_of(node)
            if name in FAILING or name.startswith("assert_"):
                return True
            if not isinstance(node.func, ast.Name) or name not in helpers or name in seen:
                continue
            if can_fail(helpers[name], helpers, seen | {name}):
                return True
    return False


def reads_clock(node, names=frozenset()):
    """Whether an expression reads a clock, or a name that was given what a clock said."""
    for each in ast.walk(node):
        is_clock = isinstance(each, ast.Call) and name_of(each) in CLOCKS
        if is_clock or (isinstance(each, ast.Name) and each.id in names):
            return True
    return False


def asserts_on_clock(function):
    """The first line on which it asserts what a clock said, or None."""
    names = set()
    nodes = sorted(
        (each for each in ast.walk(function) if hasattr(each, "lineno")), key=lambda n: n.lineno
    )
    for node in nodes:
        if isinstance(node, ast.Assign | ast.AugAssign) and reads_clock(node.value, names):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        if isinstance(node, ast.Assert) and reads_clock(node.test, names):
            return node.lineno
    return None


MODULES = sorted(TESTS.rglob("test_*.py"))


def in_module(path):
    return [f for name, f in functions(trees()[path]).items() if name.startswith("test_")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TESTS)))
def test_every_test_can_fail(path):
    """Or says by its name that it only shows that nothing is raised."""
    known = helpers(trees()[path])
    idle = [f.name for f in in_module(path) if not can_fail(f, known)]
    assert [name for name in idle if "not_raise" not in name] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TESTS)))
def test_no_test_asserts_on_a_clock(path):
    """Which says something else on a busy machine: show what was called, or bring a clock along."""
    found = {f.name: asserts_on_clock(f) for f in functions(trees()[path]).values()}
    assert {name: line for name, line in found.items() if line is not None} == {}


@pytest.mark.parametrize(
    ("body", "fails", "clock"),
    [
        ("f()", False, None),
        ("assert True", False, None),
        ("assert (f(), 'text')", False, None),
        ("assert f()", True, None),
        ("with pytest.raises(ValueError): f()", True, None),
        ("np.testing.assert_array_equal(f(), 1)", True, None),
        ("start = time.monotonic(); f(); assert time.monotonic() - start < 20", True, 1),
        ("start = time.time(); f()\nspan = time.time() - start\nassert span < 20", True, 3),
        ("deadline = monotonic() + 9\nif monotonic() > deadline: pytest.fail()", True, None),
    ],
)
def test_what_is_looked_for_is_found(body, fails, clock):
    tree = ast.parse(body)
    assert can_fail(tree, helpers(tree)) == fails
    assert asserts_on_clock(tree) == clock


@pytest.mark.parametrize(
    ("helper", "fails"), [("assert f()", True), ("f()", False), ("g()", False)]
)
def test_what_helpers_assert_counts(helper, fails):
    tree = ast.parse(f"def test(): g()\ndef g(): {helper}")
    assert can_fail(functions(tree)["test"], helpers(tree)) == fails
