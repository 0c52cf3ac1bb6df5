"""The space of a search: families of options, and the values that each option may have."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slicing.errors import InputError

Values = dict[str, Any]
"""Options by their names."""

FAMILY = "family"
"""The first parameter of a space, which of its families."""

# Of a step, what the division of two floats may be off.
_ROUNDING = 1e-6

# Words of a description that are no options.
_START, _SOURCE, _JUDGED = "start", "source", "judged"
_OF_RANGE = {"low", "high", "step", "log"}


@dataclass(frozen=True)
class Parameter:
    """The values that an option may have: some choices, or a range.

    Attributes
    ----------
    choices : tuple
        The values; empty for a range. One that is a mapping stands for several options.
    low, high : float
        The ends of a range; both are of it, but for a step that misses the upper one.
    step : float or None
        Distance of the values of a range. Where it and the ends are whole, so are the values.
    log : bool
        Whether equal factors are equally likely, rather than equal differences.
    only_if : mapping of str to tuple
        The parameter is there only where others have one of these values.
    """

    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False
    only_if: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether the range is one of whole numbers."""
        numbers = (self.low, self.high, self.step or 1)
        return all(isinstance(each, int) for each in numbers)

    def at(self, share: float) -> Any:
        """Give the value at a share of the whole, 0 to 1: equal shares are equally likely."""
        share = min(max(share, 0.0), 1.0)
        if self.choices:
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        low, high = float(self.low), float(self.high)
        if self.log:
            value = low * (high / low) ** share
        elif (step := self.step or (1 if self.is_whole else None)) is None:
            value = low + (high - low) * share
        else:
            # Each value has the same share of the whole.
            count = int((high - low) / step + _ROUNDING) + 1
            value = low + min(int(share * count), count - 1) * step
        return self.rounded(min(value, high))

    @property
    def values(self) -> Sequence[Any] | None:
        """All of its values, in their order; None where there is any number of them."""
        if self.choices:
            return self.choices
        if self.is_whole:
            return range(int(self.low), int(self.high) + 1, int(self.step or 1))
        if self.step is None:
            return None
        count = int((self.high - self.low) / self.step + _ROUNDING) + 1
        return [self.rounded(self.low + place * self.step) for place in range(count)]

    def share(self, value: Any) -> float:
        """Give a share of the whole at which a value is: the reverse of :meth:`at`."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        if (values := self.values) is not None:
            return (values.index(value) + 0.5) / len(values)
        return float((value - self.low) / (self.high - self.low))

    def value(self, kept: Any) -> Any:
        """Give a value for what a store keeps of it, see :func:`label`."""
        if self.choices:
            return self.choices[[*map(label, self.choices)].index(kept)]
        return self.rounded(kept)

    def rounded(self, value: float) -> Any:
        """Give a value of a range as people write it: 3 steps of 0.1 are 0.3."""
        if self.is_whole:
            return round(value)
        return value if self.step is None else round(value, 12)

    def holds(self, value: Any) -> bool:
        """Say whether a value is one that the option may have."""
        if self.choices:
            return value in self.choices
        kinds = (int,) if self.is_whole else (int, float)
        if type(value) not in kinds or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return bool(abs(steps - round(steps)) < _ROUNDING)

    def grid(self, n: int) -> list[Any]:
        """Give its values, of a range at most ``n`` that are evenly spread, from 2 on."""
        if self.choices:
            return list(self.choices)
        return [*dict.fromkeys(self.at(number / (n - 1)) for number in range(n))]


@dataclass(frozen=True)
class Family:
    """Options that belong together: models of one kind.

    Attributes
    ----------
    name : str
    fixed : mapping of str to object
        Options that are the same in all trials.
    parameters : mapping of str to Parameter
        What is searched. A parameter comes after those that its ``only_if`` names.
    start : tuple of mappings
        Values that are tried first; where one names no value, the middle of its range or the first
        of its choices is taken.
    rungs : mapping of str to tuple
        Options that grow from rung to rung, with their values; all have as many.
    source : str
        Where the values of ``start`` come from.
    judged : {"engine", "baseline"}
        Which of the networks of a run is judged.
    """

    name: str
    fixed: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    start: tuple[Mapping[str, Any], ...] = ({},)
    rungs: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    source: str = ""
    judged: str = "engine"

    @property
    def n_rungs(self) -> int:
        """How many rungs its trials climb."""
        return len(next(iter(self.rungs.values()), (None,)))

    def options(self, values: Mapping[str, Any], rung: int) -> Values:
        """Give all options of a trial with these values, on a rung from 0."""
        options = {**self.fixed, **{name: each[rung] for name, each in self.rungs.items()}}
        for name, value in values.items():
            options |= value if isinstance(value, Mapping) else {name: value}
        return options

    def values(self, draw: Callable[[str, Parameter], Any], context: Mapping[str, Any]) -> Values:
        """Draw the values of the parameters that are there, one after the other."""
        drawn: Values = {}
        for name, parameter in self.parameters.items():
            known = {**context, **self.fixed, **drawn}
            if all(known.get(other) in values for other, values in parameter.only_if.items()):
                drawn[name] = draw(name, parameter)
        return drawn

    def starts(self, context: Mapping[str, Any]) -> Iterator[Values]:
        """Give the values that are tried first."""
        for given in self.start:
            yield self.values(
                lambda name, parameter, given=given: (  # type: ignore[misc]
                    given[name] if name in given else _middle(parameter)
                ),
                context,
            )


@dataclass(frozen=True)
class Space:
    """All that a search may try.

    Attributes
    ----------
    families : mapping of str to Family
    context : mapping of str to object
        What is known of the images; an ``only_if`` may name it.

    Raises
    ------
    InputError
        For a space without families, and for an ``only_if`` that names nothing that is known.
    """

    families: Mapping[str, Family]
    context: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.families:
            raise InputError("space has no families: name one.", "space")
        for family in self.families.values():
            for option, parameter in family.parameters.items():
                for other in parameter.only_if:
                    if other not in {**family.fixed, **family.parameters, **self.context}:
                        raise InputError(
                            f"space: {family.name}: {option} is there only if {other} has some "
                            "value, and nothing of that name is known before it.",
                            "space",
                        )

    @property
    def choice(self) -> Parameter:
        """The parameter that chooses the family."""
        return Parameter(tuple(self.families))

    def proposal(self, draw: Callable[[str, Parameter], Any]) -> tuple[str, Values]:
        """Draw a family, and the values of its parameters.

        Parameters
        ----------
        draw : callable
            Gives a value for a name and a parameter; those of a family are called
            ``family:option``.
        """
        name = draw(FAMILY, self.choice)
        values = self.families[name].values(
            lambda option, parameter: draw(f"{name}:{option}", parameter), self.context
        )
        return name, values


def _middle(parameter: Parameter) -> Any:
    return parameter.choices[0] if parameter.choices else parameter.at(0.5)


def family_of(name: str, description: Mapping[str, Any]) -> Family:
    """Read the description of a family.

    Parameters
    ----------
    name : str
    description : mapping of str to object
        By the names of options: a value; ``{choices: [...]}``, of which each may be several options
        with their values, under any name; ``{low: ..., high: ...}``, with
        ``step`` or ``log: true``; ``{rungs: [...]}``; each but the first and the last may have
        ``only_if: {other option: [values]}``. Beside them ``start``, ``source`` and ``judged``, see
        :class:`Family`.

    Raises
    ------
    InputError
        For a description that is none.
    """
    fixed, parameters, rungs = dict[str, Any](), dict[str, Parameter](), dict[str, Any]()
    for option, given in description.items():
        if option in (_START, _SOURCE, _JUDGED):
            continue
        if not isinstance(given, Mapping):
            fixed[option] = given
        elif set(given) == {"rungs"}:
            rungs[option] = _some(name, option, given["rungs"])
        else:
            parameter = _parameter(name, option, given)
            for other in parameter.only_if:
                if other in description and other not in {**fixed, **parameters}:
                    raise _wrong(name, f"{option} is there only if {other} has some value, which "
                                 "is one of no rungs and written above it")  # fmt: skip
            parameters[option] = parameter
    if len({len(each) for each in rungs.values()}) > 1:
        raise _wrong(name, f"{', '.join(rungs)} have as many rungs each")
    start = description.get(_START) or [{}]
    if not isinstance(start, list) or not all(isinstance(each, Mapping) for each in start):
        raise _wrong(name, "start is a list of options with their values")
    for each in start:
        for option, value in each.items():
            if option not in parameters:
                raise _wrong(name, f"start names options that are searched, and {option} is not")
            if not parameters[option].holds(value):
                raise _wrong(name, f"start names values that are searched, and {option}={value} "
                             "is not")  # fmt: skip
    judged = description.get(_JUDGED, "engine")
    if judged not in ("engine", "baseline"):
        raise _wrong(name, f"judged is engine or baseline, not {judged}")
    source = str(description.get(_SOURCE, ""))
    return Family(name, fixed, parameters, tuple(map(dict, start)), rungs, source, judged)


def _wrong(family: str, rule: str) -> InputError:
    return InputError(f"space: {family}: {rule}.", "space")


def _parameter(family: str, option: str, given: Mapping[str, Any]) -> Parameter:
    """Read the description of a parameter."""
    words = set(given) - {"only_if"}
    conditions = given.get("only_if", {})
    is_choice = words == {"choices"}
    if not is_choice and not {"low", "high"} <= words <= _OF_RANGE:
        raise _wrong(family, f"{option} has choices; or low and high, with step or log; or rungs; "
                     f"not {', '.join(sorted(map(str, words))) or 'nothing'}")  # fmt: skip
    if not isinstance(conditions, Mapping):
        raise _wrong(family, f"only_if of {option} names other options, each with its values")
    only_if = {
        other: tuple(values) if isinstance(values, list) else (values,)
        for other, values in conditions.items()
    }
    if is_choice:
        choices = _some(family, option, given["choices"])
        labels = [label(each) for each in choices]
        # As numbers, True is 1, and a list may be written like a text.
        if any(each in labels[:place] for place, each in enumerate(labels)):
            raise _wrong(family, f"{option} names each of its choices once")
        return Parameter(choices, only_if=only_if)
    low, high, step, log = given["low"], given["high"], given.get("step"), given.get("log", False)
    numbers = (low, high) if step is None else (low, high, step)
    if not all(type(each) in (int, float) and math.isfinite(each) for each in numbers):
        raise _wrong(family, f"low, high and step of {option} are numbers")
    if not low < high or (step is not None and step <= 0):
        raise _wrong(family, f"low of {option} is below high, and step above 0")
    if type(log) is not bool or (log and (low <= 0 or step is not None)):
        raise _wrong(family, f"log of {option} is true or false, and true needs low above 0 and no "
                     "step")  # fmt: skip
    return Parameter((), low, high, step, log, only_if)


def _some(family: str, option: str, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, list) or not values:
        raise _wrong(family, f"{option} has a list of values, in brackets")
    return tuple(values)


def label(value: Any) -> Any:
    """Give a value as a store keeps it: a list or a mapping as text."""
    is_plain = value is None or isinstance(value, bool | int | float | str)
    return value if is_plain else json.dumps(value)
