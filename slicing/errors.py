"""The exception for mistakes that a user can correct, and what installs what is missing."""

import re
import shlex
import sys
from pathlib import Path

from slicing.names import shown


class InputError(ValueError):
    """Something the user gave cannot be used: one sentence, and the option that it is about.

    The sentence says what is wrong and what to do; a command line prints it without a traceback.

    Parameters
    ----------
    sentence : str
        Where it is about an option, it begins with the option's name. What a user gave may be part
        of it: it is kept as :func:`slicing.names.shown` writes it.
    option : str, optional
        Name of the parameter or option.

    Attributes
    ----------
    option : str or None
    """

    def __init__(self, sentence: str, option: str | None = None) -> None:
        super().__init__(shown(sentence))
        self.option = option

    def within(self, group: str) -> "InputError":
        """Return the same error about the option of a group: ``slicing.k`` for ``k``.

        The option is renamed where its name begins the sentence, and where a value follows.
        """
        if self.option is None:
            return self
        name = re.escape(self.option)
        sentence = re.sub(rf"^{name}\b|(?<= ){name}(?==)", f"{group}.{self.option}", str(self))
        return InputError(sentence, f"{group}.{self.option}")


class NotInstalledError(InputError):
    """What the user gave is right, and a package that it needs is missing."""


def installing(extra: str) -> str:
    """Give the command that installs an extra, in the versions that are known to work together.

    It is for the Python that runs: another one, outside its environment, may be the first on the
    path.
    """
    python, here = Path(sys.executable or "python"), Path.cwd()
    name = python.relative_to(here) if python.is_relative_to(here) else python
    return f"{shlex.quote(str(name))} -m pip install -c constraints.txt -e '.[{extra}]'"
