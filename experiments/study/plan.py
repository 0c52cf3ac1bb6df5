"""What the options of a study say."""

from dataclasses import dataclass

from evolve.trials import Space
from evolve.trials import proposer as proposer_of
from evolve.trials import pruner as pruner_of
from evolve.trials.proposers import Proposer
from evolve.trials.pruning import Pruner
from experiments.making import Options
from experiments.study.budget import seconds_of, target_of
from experiments.study.objectives import Limits, Objectives
from experiments.study.roles import Roles
from experiments.study.spaces import can_be_tried, families


@dataclass(frozen=True)
class Plan:
    """What the options of a study say, checked: nothing of it needs the images."""

    seconds: float | None
    target: float | None
    objectives: Objectives
    roles: Roles
    space: Space
    left_out: tuple[str, ...]
    proposer: Proposer
    pruner: Pruner

    @classmethod
    def of(cls, options: Options) -> "Plan":
        """Check the options of a study.

        Raises
        ------
        InputError
        """
        limits = options["limits"]
        objectives = Objectives(
            tuple(options["objectives"]),
            Limits(limits["bytes"], limits["parameters"], limits["milliseconds"]),
        )
        context = {"files": "image_size" in options["data"]}
        space, left_out = can_be_tried(families(options["space"]), context)
        return cls(
            seconds_of(options["budget"]),
            target_of(options["budget"]),
            objectives,
            Roles(options["choice_fraction"], options["folds"], options["seed"]),
            space,
            tuple(left_out),
            proposer_of(options["sampler"], space, options["seed"], options["population"]),
            pruner_of(options["pruner"], max(each.n_rungs for each in space.families.values())),
        )
