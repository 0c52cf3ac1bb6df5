"""The command lines of this package: what each is called, and which options it knows."""

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.schema.run import GROUPS, Config


@dataclass(frozen=True)
class Program:
    """A command line.

    Attributes
    ----------
    module : str
        What ``python -m`` starts.
    config_name : str
        Its primary configuration, a file in ``conf/``.
    schema : type
        The schema of that configuration; its docstring says what the program does.
    groups : mapping of str to mapping of str to type
        Of every group, the options with their schemas; the first is the default.
    examples : str
        Command lines and what they do, for ``--help``.
    """

    module: str
    config_name: str
    schema: type
    groups: Mapping[str, Mapping[str, type]]
    examples: str = ""


RUN = Program(
    "experiments.run",
    "config",
    Config,
    GROUPS,
    """\
  python -m experiments.run                                  the defaults
  python -m experiments.run optimizer=pso slicing.k=5 seed=1
  python -m experiments.run data=folder data.directory=images data.channels=3
  python -m experiments.run --multirun optimizer=cmaes,random seed=0,1,2
  python -m experiments.run optimizer=pso --help             the options of PSO
  python -m experiments.run +debug=quick                     everything small, in a minute
  python -m experiments.run --cfg job                        print the configuration only
""",
)
"""Runs one experiment, or a sweep of them."""
