"""Make what the options of a group describe: a class or function by its name, with its options."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from inspect import signature
from typing import Any, ClassVar

from hydra.utils import get_object

from experiments.wording import worded
from slicing.errors import InputError

Options = dict[str, Any]

# get_object logs the error that it raises; the caller reports it, once.
logging.getLogger("hydra.utils").setLevel(logging.CRITICAL + 1)

# Parameters that are called otherwise as options, or are none: then, the group they are about.
_OPTION_OF = {"x0": "optimizer", "cuts": "slicing.cut"}


class Maker:
    """Makes what ``_target_`` names, and words its mistakes as the command line does.

    Parameters
    ----------
    options : dict
        The resolved configuration.

    Attributes
    ----------
    options : dict
    of_others : mapping of str to tuple of str
        Options of a group that are not for what its ``_target_`` names.
    """

    of_others: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, options: Options) -> None:
        self.options = options

    def make(self, group: str) -> Any:
        """Make a function or class with its options, to be called with the rest.

        Not by Hydra's ``instantiate``: it would make lists of its own kind again, in whose code
        Ctrl-C raises other errors.
        """
        options = self.options[group]
        others = ("_target_", *self.of_others.get(group, ()))
        arguments = {k: v for k, v in options.items() if k not in others}
        try:
            return partial(get_object(options["_target_"]), **arguments)
        except (ImportError, ValueError, AttributeError, TypeError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise InputError(
                f"{group}._target_={options['_target_']} cannot be used: {reason}.",
                f"{group}._target_",
            ) from error

    def call(self, group: str, *given: Any, **more: Any) -> Any:
        """Make a component; what ``_target_`` names may take other options, and no ``show``."""
        make = self.make(group)
        try:
            called = signature(make)
            if "show" not in called.parameters:
                more.pop("show", None)
            called.bind(*given, **more)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{group}._target_={self.options[group]['_target_']} does not take these options: "
                f"{str(error).rstrip('.')}.",
                f"{group}._target_",
            ) from error
        return make(*given, **more)

    @contextmanager
    def naming(self, group: str) -> Iterator[None]:
        """Name options as the command line does, where a library names what is its own."""
        try:
            yield
        except InputError as error:
            option = error.option
            named = InputError(worded(str(error)), _OPTION_OF.get(option or "", option))
            raise (named.within(group) if option in self.options[group] else named) from error
