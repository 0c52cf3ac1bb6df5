"""All that may be tried, one after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from evolve.trials.space import FAMILY, Family, Parameter, Space, label

Labels = Mapping[str, Any]
"""What a trial is to try, as a study keeps it: the family, and the values of its parameters."""

ValuesOf = Callable[[Parameter], Sequence[Any]]


def points(space: Space, values: ValuesOf) -> Iterator[Labels]:
    """Go through all families, and in each through all values that may stand together.

    Parameters
    ----------
    space : Space
    values : callable
        Gives the values of a parameter that are wanted.
    """
    for family in space.families.values():
        for each in _combinations(family, space.context, values):
            yield labels(family.name, each)


def labels(family: str, values: Mapping[str, Any]) -> Labels:
    """Give a family and values of its parameters as a study keeps them."""
    return {FAMILY: family, **{f"{family}:{name}": label(each) for name, each in values.items()}}


def _combinations(
    family: Family, context: Mapping[str, Any], values: ValuesOf
) -> Iterator[Mapping[str, Any]]:
    """Count through the values as an odometer does: which of them there are depends on others."""
    places: list[int] = []
    while True:
        sizes: list[int] = []

        def draw(name: str, parameter: Parameter, sizes: list[int] = sizes) -> Any:
            grid = values(parameter)
            sizes.append(len(grid))
            if len(places) < len(sizes):
                places.append(0)
            return grid[places[len(sizes) - 1]]

        yield family.values(draw, context)
        del places[len(sizes) :]
        while places and places[-1] + 1 == sizes[len(places) - 1]:
            places.pop()
        if not places:
            return
        places[-1] += 1
