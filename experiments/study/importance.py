"""Which options mattered to a study."""

import optuna
from optuna.trial import TrialState, create_trial

from evolve.trials.results import TRIED, Finished

# Fewer trials tell nothing; so many are the best, or a tenth of all where that is more.
_ENOUGH, _BEST = 15, 5


def importance(study: optuna.Study, winner: Finished) -> dict[str, float]:
    """Say how much each option had to do with being among the best of the winner's family.

    S. Watanabe, A. Bansal, F. Hutter, PED-ANOVA: Efficiently Quantifying Hyperparameter Importance
    in Arbitrary Subspaces, IJCAI 2023.

    Parameters
    ----------
    study : optuna.Study
        As :class:`.Search` keeps it.
    winner : Finished

    Returns
    -------
    dict of str to float
        Shares of 1, the largest first; empty where too few trials were judged, or nearly all did
        equally well.
    """
    # Here, not above: it is only of use at the end.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    prefix = f"{winner.family}:"
    judged = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        each = Finished.of(trial)
        if each.family == winner.family and each.status == TRIED:
            own = {name: d for name, d in trial.distributions.items() if name.startswith(prefix)}
            params = {name: trial.params[name] for name in own}
            loss = 1.0 - each.metrics["accuracy"]
            judged.append(create_trial(value=loss, params=params, distributions=own))
    n_best = max(_BEST, round(0.1 * len(judged)))
    losses = sorted(each.values[0] for each in judged)
    if len(judged) < _ENOUGH or losses[n_best - 1] == losses[-1]:
        return {}
    alone = optuna.create_study()
    alone.add_trials(judged)
    best = PedAnovaImportanceEvaluator(target_quantile=n_best / len(judged))
    found = get_param_importances(alone, evaluator=best, normalize=True)
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return {name.removeprefix(prefix): share for name, share in ranked}
