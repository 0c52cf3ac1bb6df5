"""The rooms of docs/architecture.md, held against the imports."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CLOSED = {
    "slicing": {"evolve", "experiments", "benchmarks", "hydra", "omegaconf", "mlflow"},
    "evolve": {"experiments", "benchmarks", "keras", "tensorflow", "hydra", "omegaconf", "mlflow"},
    "experiments": {"benchmarks"},
}
SLOW = {"keras", "tensorflow"}


def imports(tree, *, at_import_time):
    """Packages that a module imports: those outside functions only, or all."""
    stack, found = [tree], set()
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        if isinstance(node, ast.FunctionDef | ast.Lambda) and at_import_time:
            continue
        if isinstance(node, ast.If) and getattr(node.test, "id", None) == "TYPE_CHECKING":
            continue
        stack += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("room", CLOSED)
def test_no_room_imports_what_it_must_not(room):
    modules = sorted((ROOT / room).rglob("*.py"))
    assert modules
    for path in modules:
        tree = ast.parse(path.read_text())
        assert not imports(tree, at_import_time=False) & CLOSED[room], path
        # TensorFlow takes seconds, and does not survive a fork: only those who call it pay.
        assert not imports(tree, at_import_time=True) & SLOW, path
