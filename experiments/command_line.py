"""The command lines that are not Hydra's: what all of them take, and how they answer --help."""

import sys
from collections.abc import Callable

from omegaconf import DictConfig

from experiments.console import say
from experiments.overrides import check, check_flags
from experiments.programs import Program


def read_command_line(
    program: Program,
    multirun: bool = False,
    complete: Callable[[list[str]], list[str]] = list,
) -> tuple[list[str], list[DictConfig]]:
    """Check the command line of this process; print the help, where it asks for that.

    Parameters
    ----------
    program : Program
    multirun : bool
        Whether lists of values are swept over.
    complete : callable, optional
        Adds the words that the command line stands for.

    Returns
    -------
    overrides : list of str
        The words, without flags.
    configs : list of DictConfig
        One for each combination of values; none where the help was printed.

    Raises
    ------
    InputError
    """
    flags = {"--help", "-h"}
    asks_for_help = bool(flags & set(sys.argv[1:]))
    words = [word for word in sys.argv[1:] if word not in flags]
    check_flags(words, [])
    words = complete(words)
    configs = check(words, multirun, complete=not asks_for_help, program=program)
    if asks_for_help:
        # Here, not above: the work itself needs none of it.
        from experiments.help import help_page

        say(help_page(configs[0], program), sys.stdout)
        return words, []
    return words, configs
