"""Layers that several members have in common, computed once for an image.

A member that grew on another one begins with its convolutions. They are cut out of both: what they
make of an image is kept when the first is asked, and the other begins there.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from slicing.engine import stored_stack
from slicing.engine.engine import Engine
from slicing.stack import ConvStack

Key = tuple[int, int]
"""The first member that begins with some layers, and their number."""


class Parts(NamedTuple):
    """A member, cut where it parts from others.

    Attributes
    ----------
    keys : tuple of (int, int)
        What names the maps that come out of each of ``stacks``: the same for all members that
        have them.
    stacks : tuple of ConvStack
        One after the other.
    rest : Engine
        What takes the maps of the last one, or the image where there is none.
    """

    keys: tuple[Key, ...]
    stacks: tuple[ConvStack, ...]
    rest: Engine


def parts_of(engines: Sequence[Engine]) -> tuple[Parts, ...]:
    """Cut each of several engines where it parts from others."""
    found = []
    for engine in engines:
        common = [_n_common(engine, other) for other in engines if other is not engine]
        keys, stacks, begin, shape = [], [], 0, engine.stack.input_shape
        for end in sorted({n for n in common if n}):
            first = next(i for i, each in enumerate(engines) if _n_common(engine, each) >= end)
            stacks.append(ConvStack(engine.stack.layers[begin:end], shape))
            keys.append((first, end))
            begin, shape = end, stacks[-1].feature_shape
        rest = engine
        if stacks:
            rest = replace(engine, stack=ConvStack(engine.stack.layers[begin:], shape))
        found.append(Parts(tuple(keys), tuple(stacks), rest))
    return tuple(found)


def _n_common(one: Engine, two: Engine) -> int:
    """Count the layers with which two engines begin that are equal bit for bit."""
    if one.average or two.average or one.backbone or two.backbone:
        return 0
    n = 0
    for pair in zip(one.stack.layers, two.stack.layers, strict=False):
        ends = [ConvStack((*one.stack.layers[:n], layer), one.stack.input_shape) for layer in pair]
        same = stored_stack.settings_of(ends[0]) == stored_stack.settings_of(ends[1])
        if not same or not ends[0].equals(ends[1]):
            break
        n += 1
    return n
