"""Work that takes no time, and studies in memory: what the tests of trials share."""

import optuna

from evolve.executors import SerialExecutor
from evolve.trials import Budget, Search, Space, Tried, proposer, pruner
from evolve.trials.results import PRUNED
from evolve.trials.space import family_of

DESCRIPTIONS = {
    "line": {
        "x": {"low": 0.0, "high": 1.0},
        "k": {"choices": [1, 3, 5]},
        "shape": {"choices": [[1, 2], [3]]},
        "deep": {"low": 1, "high": 4, "only_if": {"k": [3, 5]}},
        "epochs": {"rungs": [1, 3, 9]},
        "start": [{"x": 0.25}, {"k": 5, "x": 0.75}],
    },
    "flat": {"kind": {"choices": ["a", "b"]}, "rate": {"low": 0.001, "high": 1.0, "log": True}},
}


def space_of(descriptions=DESCRIPTIONS, **context):
    families = {name: family_of(name, each) for name, each in descriptions.items()}
    return Space(families, context)


def starts_of(space):
    return [
        (name, values)
        for name, each in space.families.items()
        for values in each.starts(space.context)
    ]


def loss_of(task):
    """Give a share of wrong answers: best at x=0.3, k=5; every rung lowers it."""
    options = task.options
    if task.family == "flat":
        return 0.6 + 0.2 * (options["kind"] == "a") + 0.1 * options["rate"]
    wrong = abs(options["x"] - 0.3) / 2 + 0.05 * (5 - options["k"])
    return wrong / 2 + 0.3 / options["epochs"]


def work(task):
    return Tried(metrics={"loss": loss_of(task), "bytes": 100.0 * (task.rung + 1)})


class Losses:
    """Some of the metrics are minimized; a share of wrong answers comes first, as a rule."""

    def __init__(self, *names):
        self.names = names
        self.worst = [2.0 if name == "loss" else 1e9 for name in names]

    def __call__(self, metrics):
        return [metrics[name] for name in self.names]

    def reaches(self, trial, target):
        return trial.metrics["loss"] <= target


def memory(n_losses=1):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(directions=["minimize"] * n_losses)


def search_in(study, budget=12, losses=("loss",), **options):
    """Make a search with a budget of so many trials, or another one."""
    space = options.pop("space", None) or space_of()
    name, seed = options.pop("sampler", "random"), options.pop("seed", 0)
    options.setdefault("pruner", pruner("asha", 3))
    options.setdefault("starts", starts_of(space))
    options.setdefault("executor", SerialExecutor())
    if not isinstance(budget, Budget):
        budget = Budget(trials=budget)
    return Search(
        study, space, proposer(name, space, seed), options.pop("executor"),
        options.pop("work", work), Losses(*losses), budget, **options,
    )  # fmt: skip


def story(study):
    """Give what a study knows of its trials but for the times."""
    return [
        (each.number, each.state.name, each.params, each.values, each.user_attrs.get(PRUNED))
        for each in study.get_trials(deepcopy=False)
    ]
