"""Draw `docs/rooms.svg`: the packages, their modules, and who imports whom, from the imports.

``python docs/rooms.py``
"""

import ast
from collections.abc import Iterator
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
DRAWING = ROOT / "docs/rooms.svg"

ROOMS = {
    "benchmarks": ("measurements and their results", "#faf5ff", "#a855f7"),
    "experiments": ("the command line, with conf/: Hydra, MLflow, report", "#eff6ff", "#3b82f6"),
    "evolve": ("the search side: blocks, fitness, optimizers, executors", "#fff7ed", "#f97316"),
    "slicing": ("the network side: images, the CNN, the cut, the engine", "#f0fdf4", "#22c55e"),
}  # fmt: skip
"""From the top to the bottom: what a room is, its color, and that of its border."""

_KERAS = {"keras", "tensorflow"}
_WIDTH, _LEFT, _GAP = 960, 190, 34
_CHIP, _SPACE, _LETTER = 24, 8, 7.2


def packages_of(path: Path) -> set[str]:
    """Give the packages that a module imports, also inside its functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def modules_of(room: str) -> dict[str, set[str]]:
    """Give the packages that each module or package directly inside a room imports."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / room).rglob("*.py")):
        inside = path.relative_to(ROOT / room).parts
        name = f"{inside[0]}/" if len(inside) > 1 else path.stem
        if not name.startswith("__"):
            found.setdefault(name, set()).update(packages_of(path))
    return found


def drawing() -> str:
    """Draw the rooms, one below the other, and an arrow from each to those that it imports."""
    rooms = {room: modules_of(room) for room in ROOMS}
    boxes = {}
    top = 20
    for room, modules in rooms.items():
        chips = list(_placed(modules))
        height = 54 + max(y for _, _, y in chips) + _CHIP + 12
        boxes[room] = (top, height, chips)
        top += height + _GAP
    arrows = [
        (above, below)
        for above, modules in rooms.items()
        for below in ROOMS
        if below != above and any(below in imported for imported in modules.values())
    ]
    text = "; ".join(f"{above} imports {below}" for above, below in arrows)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + 6}" '
        'font-family="Helvetica, Arial, sans-serif" role="img" aria-labelledby="title">',
        f'<title id="title">The packages of knn-slicing and their modules: {text}</title>',
        '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 10 5 0 10z" fill="#334155"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{top + 6}" fill="#ffffff"/>',
    ]
    for room, (y, height, chips) in boxes.items():
        meaning, fill, border = ROOMS[room]
        lines.append(
            f'<rect x="{_LEFT}" y="{y}" width="{_WIDTH - _LEFT - 20}" height="{height}" rx="8" '
            f'fill="{fill}" stroke="{border}" stroke-width="1.5"/>'
        )
        lines.append(_text(_LEFT + 16, y + 28, f"{room}/", "18", "#0f172a", "bold"))
        lines.append(_text(_LEFT + 36 + 11 * len(room), y + 28, meaning, "13", "#475569"))
        for name, x, below in chips:
            has_keras = rooms[room][name] & _KERAS
            x, below, width = x + _LEFT + 16, y + 46 + below, _width(name)
            color, stroke = ("#fef9c3", "#ca8a04") if has_keras else ("#ffffff", "#94a3b8")
            lines.append(
                f'<rect x="{x:.0f}" y="{below}" width="{width:.0f}" height="{_CHIP}" rx="5" '
                f'fill="{color}" stroke="{stroke}"/>'
            )
            lines.append(_text(x + 8, below + 16, name, "13", "#0f172a"))
    # An arrow starts at the left of a room; those that end in the same one end side by side.
    ends = dict.fromkeys(ROOMS, 0)
    for number, (above, below) in enumerate(arrows):
        x = _LEFT - 26 - 22 * number
        start = boxes[above][0] + 62 + 14 * sum(one == above for one, _ in arrows[:number])
        end = boxes[below][0] + 20 + 14 * ends[below]
        ends[below] += 1
        lines.append(
            f'<path d="M{_LEFT} {start}H{x}V{end}H{_LEFT - 3}" fill="none" stroke="#334155" '
            'stroke-width="1.5" marker-end="url(#arrow)"/>'
        )
    keras = "Yellow: imports Keras or TensorFlow, inside a function."
    lines.append(_text(20, top - 8, "An arrow: imports.", "13", "#475569"))
    lines.append(_text(_LEFT, top - 8, keras, "13", "#475569"))
    return "\n".join([*lines, "</svg>", ""])


def _placed(names: dict[str, set[str]]) -> Iterator[tuple[str, float, int]]:
    """Set chips in rows, as words in a paragraph; packages come first."""
    x, y, right = 0.0, 0, _WIDTH - _LEFT - 20 - 32
    for name in sorted(names, key=lambda name: (not name.endswith("/"), name)):
        if x + _width(name) > right:
            x, y = 0.0, y + _CHIP + _SPACE
        yield name, x, y
        x += _width(name) + _SPACE


def _width(name: str) -> float:
    return 16 + _LETTER * len(name)


def _text(x: float, y: float, text: str, size: str, color: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.0f}" y="{y}" font-size="{size}" fill="{color}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


if __name__ == "__main__":
    DRAWING.write_text(drawing(), "utf-8")
