"""The command lines of this package: what each is called, and which options it knows."""

from collections.abc import Mapping
from dataclasses import dataclass

from experiments.schema.adaptive import SELECTORS, Adaptive
from experiments.schema.cuts import Cuts
from experiments.schema.inspection import Inspection
from experiments.schema.run import GROUPS, Config
from experiments.schema.study import Study


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

# Networks that are frozen as they come.
_NETWORKS = {
    name: GROUPS["baseline"][name]
    for name in (
        *("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"),
        *("application", "file"),
    )
}

INSPECT = Program(
    "experiments.inspect",
    "inspect",
    Inspection,
    {"data": GROUPS["data"], "baseline": _NETWORKS},
    """\
  python -m experiments.inspect data.directory=images
  python -m experiments.inspect data.directory=images baseline=efficientnet_lite0
  python -m experiments.inspect data.directory=images data.test_directory=others output=look
  python -m experiments.inspect data=mnist5k
""",
)
"""Looks at the images of a dataset."""

CUTS = Program(
    "experiments.cuts",
    "cuts",
    Cuts,
    {"data": GROUPS["data"], "baseline": _NETWORKS, "tracking": GROUPS["tracking"]},
    """\
  python -m experiments.cuts data.directory=images
  python -m experiments.cuts data.directory=images baseline=efficientnet_lite0,efficientnet_lite2
  python -m experiments.cuts data.directory=images baseline.image_size=[160,160],[224,224]
""",
)
"""Finds where to cut networks."""

STUDY = Program(
    "experiments.study",
    "study",
    Study,
    {group: GROUPS[group] for group in ("data", "executor", "tracking")},
    """\
  python -m experiments.study data.directory=images
  python -m experiments.study data.directory=images budget.minutes=2 space=[sliced]
  python -m experiments.study data=mnist5k limits.bytes=100000 budget.target_accuracy=0.98
  python -m experiments.study resume=outputs/my_study budget.minutes=20
""",
)
"""Searches for the best classifier of some images."""

ADAPTIVE = Program(
    "experiments.adaptive",
    "adaptive",
    Adaptive,
    {
        "data": GROUPS["data"],
        "baseline": {name: GROUPS["baseline"][name] for name in ("lenet", "mnist_cnn", "random")},
        "slicing": {
            name: GROUPS["slicing"][name] for name in ("prototypes", "condensed", "int8", "knn")
        },
        "selector": SELECTORS,
        "tracking": GROUPS["tracking"],
    },
    """\
  python -m experiments.adaptive
  python -m experiments.adaptive data=mnist loss=0.001 selector=cascade
  python -m experiments.adaptive members=[small.safetensors,large.safetensors]
""",
)
"""Makes several engines one classifier."""
