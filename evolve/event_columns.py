"""Events as columns of numbers, which a state holds, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import Field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evolve.block import Block
from evolve.checkpoint import State
from evolve.events import BlockEnd, Event, Generation

_NUMBERS: dict[Any, type[Any]] = {int: np.int64, float: np.float64, bool: np.bool_}


def state_of(events: Sequence[Event], blocks: Sequence[Block]) -> State:
    """Express events in settings and arrays.

    Parameters
    ----------
    events : sequence of Generation and BlockEnd
    blocks : sequence of Block
        Those that they are about.
    """
    generations = [event for event in events if isinstance(event, Generation)]
    ends = [event for event in events if isinstance(event, BlockEnd)]
    arrays = _columns(Generation, generations, blocks) | _columns(BlockEnd, ends, blocks)
    names = sorted({name for each in generations for name in each.counts})
    for name in names:
        values = [each.counts.get(name, 0) for each in generations]
        arrays[_column(Generation, f"counts {name}")] = np.array(values, np.int64)
    return State({"counts": names, "reasons": [list(end.reasons) for end in ends]}, arrays)


def events_of(state: State, blocks: Sequence[Block]) -> list[Event]:
    """Read events from settings and arrays.

    Raises
    ------
    KeyError, TypeError, ValueError, IndexError
        Where they are not what :func:`state_of` gives.
    """
    columns = {name: state.array(_column(Generation, f"counts {name}"), np.int64).tolist()
               for name in state.texts("counts")}  # fmt: skip
    generations = _numbered(state, Generation, blocks)
    counts = [{name: column[row] for name, column in columns.items()}
              for row in range(len(generations))]  # fmt: skip
    ends, reasons = _numbered(state, BlockEnd, blocks), state.get("reasons", list)
    texts = [State({"reasons": each}, {}).texts("reasons") for each in reasons]
    events: list[Event] = [
        *(Generation(**each, counts=of) for each, of in zip(generations, counts, strict=True)),
        *(BlockEnd(**each, reasons=of) for each, of in zip(ends, texts, strict=True)),
    ]
    # A block ends after its last generation: stable where blocks end together.
    return sorted(events, key=lambda event: event.evaluations)


def _numbers(kind: type[Event]) -> list["Field[Any]"]:
    return [field for field in fields(kind) if field.type in _NUMBERS]


def _column(kind: type[Event], name: str) -> str:
    return f"{kind.__name__}.{name}"


def _columns(
    kind: type[Event], events: Sequence[Event], blocks: Sequence[Block]
) -> dict[str, NDArray[Any]]:
    """Give the block and the numbers of events of a kind, by column."""
    index = {block: number for number, block in enumerate(blocks)}
    of_blocks = np.array([index[event.block] for event in events], np.int64)
    return {_column(kind, "block"): of_blocks} | {
        _column(kind, each.name): np.array(
            [getattr(event, each.name) for event in events], _NUMBERS[each.type]
        )
        for each in _numbers(kind)
    }


def _numbered(state: State, kind: type[Event], blocks: Sequence[Block]) -> list[Mapping[str, Any]]:
    """Read the block and the numbers of all events of a kind, by their names."""
    columns = {"block": state.array(_column(kind, "block"), np.int64)}
    if not all(0 <= number < len(blocks) for number in columns["block"]):
        raise IndexError("there is no such block")
    for field in _numbers(kind):
        columns[field.name] = state.array(_column(kind, field.name), _NUMBERS[field.type])
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    named = (dict(zip(columns, row, strict=True)) for row in rows)
    return [{**each, "block": blocks[each["block"]]} for each in named]
