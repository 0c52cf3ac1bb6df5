"""The space of a search: families of options, and the values that each option may have."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slicing.checks import positive
from slicing.errors import InputError

Values = dict[str, Any]
"""Options by their names."""

FAMILY = "family"
"""The first parameter of a space: which of its families."""

# Words of a description that are no options.
_START, _SOURCE, _JUDGED = "start", "source", "judged"
_OF_RANGE = {"low", "high", "step", "log"}
_WORDS = {"choices", "rungs", "only_if"} | _OF_RANGE


@dataclass(frozen=True)
class Parameter:
    """The values that an option may have: some choices, or a range.

    Attributes
    ----------
    choices : tuple
        The values; empty for a range.
    low, high : float
        The ends of a range; both are of it. Two whole numbers make a range of whole numbers.
    step : float or None
        Distance of the values of a range.
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
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, share: float) -> Any:
        """Give the value at a share of the whole, 0 to 1: equal shares are equally likely."""
        share = min(max(share, 0.0), 1.0)
        if self.choices:
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        low, high = float(self.low), float(self.high)
        value = low * (high / low) ** share if self.log else low + (high - low) * share
        step = self.step or (1 if self.is_whole else None)
        if step is not None and not self.log:
            # Each value has the same share of the whole.
            count = int((high - low) / step) + 1
            value = low + min(int(share * count), count - 1) * step
        return round(value) if self.is_whole else value

    def grid(self, n: int) -> list[Any]:
        """Give its values, of a range at most ``n`` that are evenly spread."""
        if self.choices:
            return list(self.choices)
        shares = [0.5] if n == 1 else [number / (n - 1) for number in range(n)]
        return [*dict.fromkeys(self.at(share) for share in shares)]


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
        return {**self.fixed, **values, **{name: each[rung] for name, each in self.rungs.items()}}

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
        For a space without families.
    """

    families: Mapping[str, Family]
    context: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.families:
            raise InputError("The space has no families: name one.", "space")

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

    def without(self, name: str) -> "Space":
        """Give the space without a family."""
        kept = {key: each for key, each in self.families.items() if key != name}
        return Space(kept, self.context)


def _middle(parameter: Parameter) -> Any:
    return parameter.choices[0] if parameter.choices else parameter.at(0.5)


def family_of(name: str, description: Mapping[str, Any]) -> Family:
    """Read the description of a family.

    Parameters
    ----------
    name : str
    description : mapping of str to object
        By the names of options: a value; ``{choices: [...]}``; ``{low: ..., high: ...}``, with
        ``step`` or ``log: true``; ``{rungs: [...]}``; each but the first and the last may have
        ``only_if: {other option: [values]}``. Beside them ``start``, ``source`` and ``judged``, see
        :class:`Family`.

    Raises
    ------
    InputError
        For a description that is none.
    """
    fixed, parameters, rungs = {}, {}, {}
    for option, given in description.items():
        if option in (_START, _SOURCE, _JUDGED):
            continue
        if not isinstance(given, Mapping):
            fixed[option] = given
        elif "rungs" in given:
            rungs[option] = _some(name, option, given["rungs"])
        else:
            parameters[option] = _parameter(name, option, given)
    if len({len(each) for each in rungs.values()}) > 1:
        raise InputError(f"{name}: {', '.join(rungs)} have different numbers of rungs: give each "
                         "as many.", "space")  # fmt: skip
    known = [*fixed, *parameters]
    for option, parameter in parameters.items():
        for other in parameter.only_if:
            if "." in other and other not in known[: known.index(option)]:
                raise InputError(
                    f"{name}: {option} is there only if {other} has some value, and that does not "
                    "come before it: write it above.",
                    "space",
                )
    start = description.get(_START) or [{}]
    if not isinstance(start, Sequence) or not all(isinstance(each, Mapping) for each in start):
        raise InputError(f"{name}: start is a list of options with their values.", "space")
    for each in start:
        for option, value in each.items():
            if option not in parameters:
                raise InputError(f"{name}: start names {option}, which is not searched.", "space")
            _check_within(name, option, parameters[option], value)
    judged = description.get(_JUDGED, "engine")
    if judged not in ("engine", "baseline"):
        raise InputError(f"{name}: judged={judged} is neither engine nor baseline.", "space")
    source = str(description.get(_SOURCE, ""))
    return Family(name, fixed, parameters, tuple(map(dict, start)), rungs, source, judged)


def _parameter(family: str, option: str, given: Mapping[str, Any]) -> Parameter:
    unknown = sorted(set(map(str, given)) - _WORDS)
    is_choice = "choices" in given
    if unknown or is_choice == ({"low", "high"} <= set(given)):
        what = f" ({unknown[0]} is unknown)" if unknown else ""
        raise InputError(
            f"{family}: {option} is no parameter{what}: give choices, or low and high, with step "
            "or log if you like, and only_if.",
            "space",
        )
    only_if = {
        other: tuple(values) if isinstance(values, list) else (values,)
        for other, values in given.get("only_if", {}).items()
    }
    if is_choice:
        if extra := _OF_RANGE & set(given):
            raise InputError(f"{family}: {option} has choices, and {extra.pop()}.", "space")
        return Parameter(_some(family, option, given["choices"]), only_if=only_if)
    low, high, step, log = given["low"], given["high"], given.get("step"), given.get("log", False)
    numbers = (low, high) if step is None else (low, high, step)
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers):
        raise InputError(f"{family}: low, high and step of {option} are numbers.", "space")
    if not low < high or (log and (low <= 0 or step is not None)):
        raise InputError(
            f"{family}: the range of {option} is empty, or has no logarithm: low is below high, "
            "with log above 0 and without a step.",
            "space",
        )
    positive("step", step)
    return Parameter((), low, high, step, bool(log), only_if)


def _some(family: str, option: str, values: Any) -> tuple[Any, ...]:
    if not isinstance(values, list) or not values:
        raise InputError(f"{family}: {option} needs a list of values.", "space")
    return tuple(values)


def _check_within(family: str, option: str, parameter: Parameter, value: Any) -> None:
    if parameter.choices:
        is_within = value in parameter.choices
    else:
        is_within = isinstance(value, int | float) and parameter.low <= value <= parameter.high
    if not is_within:
        raise InputError(f"{family}: {option}={value} of start is not of its values.", "space")


def label(value: Any) -> Any:
    """Give a value as a store keeps it: a list as text."""
    return value if isinstance(value, bool | int | float | str) or value is None else json.dumps(
        value
    )  # fmt: skip
