"""What the options of a study say."""

from dataclasses import dataclass

from evolve.trials import Space
from evolve.trials import proposer as proposer_of
from evolve.trials import pruner as pruner_of
from evolve.trials.proposers import Proposer
from evolve.trials.pruning import Pruner
from experiments.making import Options
from experiments.study.budget import seconds_of, target_of
from experiments.study.families import can_be_tried, families
from experiments.study.objectives import Limits, Objectives
from experiments.study.roles import Roles
from slicing.checks import at_least, positive
from slicing.errors import InputError


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
        limits, budget = options["limits"], options["budget"]
        if options["storage"] and not options["name"]:
            raise InputError(
                "storage may keep several studies: give this one a name, name=...", "name"
            )
        at_least("budget.trials", budget["trials"], 1)
        for name, value in limits.items():
            positive(f"limits.{name}", value)
        objectives = Objectives(
            tuple(options["objectives"]),
            Limits(limits["bytes"], limits["parameters"], limits["milliseconds"]),
        )
        context = {"files": "image_size" in options["data"]}
        space, left_out = can_be_tried(families(options["space"]), context)
        if not any(each.judged == "engine" for each in space.families.values()):
            raise InputError(
                f"space={[*space.families]} has models to compare with alone, and none that can be "
                "handed over: add another family, such as untrained or cnn.",
                "space",
            )
        return cls(
            seconds_of(budget),
            target_of(budget),
            objectives,
            Roles(options["choice_fraction"], options["folds"], options["seed"]),
            space,
            tuple(left_out),
            proposer_of(options["sampler"], space, options["seed"], options["population"]),
            pruner_of(options["pruner"], max(each.n_rungs for each in space.families.values())),
        )
