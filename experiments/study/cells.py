"""The tables of a study."""

from collections.abc import Mapping, Sequence

from evolve.trials.results import SKIPPED, TRIED, Finished
from experiments.statistics import Accuracy
from experiments.study.objectives import accuracy_of, described
from experiments.tables import Cells, percent
from slicing.names import counted

HAPPENED = {
    "memory": "took more memory than it may",
    "time": "took too long",
    "refused": "cannot be done with these images",
    "killed": "its process was ended from outside",
    "failed": "ended with an error",
    "skipped": "no time for it",
}
"""What has become of a trial that gave no classifier, by its status."""

ENDED = {
    "time": "its time was over",
    "trials": "it had tried as many as it may",
    "target": "its target was reached",
    "all tried": "nothing was left to try",
    "interrupted": "it was interrupted",
}
"""Why a search ended, by :attr:`.Search.ended`."""


def ranked(trials: Sequence[Finished]) -> list[Finished]:
    """Give the trials that were judged, the best first."""
    judged = [each for each in trials if each.status == TRIED]
    return sorted(judged, key=lambda each: (-each.metrics["accuracy"], each.metrics["bytes"]))


def fallen(trials: Sequence[Finished]) -> list[Finished]:
    """Give the trials that failed, in their order."""
    return [each for each in trials if each.status not in (TRIED, SKIPPED)]


def skipped(trials: Sequence[Finished]) -> list[Finished]:
    """Give the trials that there was no time for, in their order: they have not failed."""
    return [each for each in trials if each.status == SKIPPED]


def leaderboard_cells(trials: Sequence[Finished], winner: int, folds: int) -> Cells:
    """Give the table of the trials that were judged, the best first, by so many folds each."""
    header = ["trial", "family", "% of choice images right (95 % interval)"]
    header += ["bytes", "ms an image", "seconds", "remarks", "options"]
    body, seen = [], set[str]()
    for each in ranked(trials):
        remarks = ["the winner"] if each.number == winner else []
        if each.family not in seen:
            remarks.append("best of its family")
        seen.add(each.family)
        if each.is_pruned:
            remarks.append("ended early, others were ahead")
        if each.is_left:
            remarks.append("not tried to its end, no time was left")
        if (n := len(each.details["folds"])) < folds:
            remarks.append(f"judged {counted(n, 'time')} and not {folds}, no time was left")
        if not each.is_engine:
            remarks.append("no engine, to compare with")
        row = [str(each.number), each.family, percent(accuracy_of(each)), *_costs(each)]
        body.append([*row, f"{each.seconds:.1f}", "; ".join(remarks), described(each.options)])
    return header, body


def fallen_cells(trials: Sequence[Finished]) -> Cells:
    """Give the table of trials that gave no classifier, and why."""
    header = ["trial", "family", "seconds", "what happened", "options"]
    body = [
        [
            str(each.number),
            each.family,
            f"{each.seconds:.1f}",
            " ".join(filter(None, [f"{happened(each.status)}:", each.reason])).rstrip(":"),
            described(each.options),
        ]
        for each in trials
    ]
    return header, body


def family_cells(trials: Sequence[Finished], sources: Mapping[str, str]) -> Cells:
    """Give the table of the families: what they have cost and given, and how they began."""
    header = ["family", "trials", "of these failed", "minutes", "% right, its best"]
    header += ["what was tried first"]
    body = []
    for name, source in sources.items():
        own = [each for each in trials if each.family == name and each.status != SKIPPED]
        best = next(iter(ranked(own)), None)
        minutes = sum(each.seconds for each in own) / 60
        accuracy = None if best is None else accuracy_of(best)
        row = [name, str(len(own)), str(len(fallen(own))), f"{minutes:.1f}"]
        body.append([*row, percent(accuracy), source or "the middle of each range"])
    return header, body


def front_cells(trials: Sequence[Finished], front: Sequence[int]) -> Cells:
    """Give the table of the trials that none beats in accuracy, bytes and milliseconds."""
    header = ["trial", "family", "% of choice images right (95 % interval)"]
    header += ["bytes", "ms an image", "parameters", "options"]
    body = [
        [
            str(each.number),
            each.family,
            percent(accuracy_of(each)),
            *_costs(each),
            f"{each.metrics['parameters']:,.0f}",
            described(each.options),
        ]
        for each in sorted(trials, key=lambda each: each.metrics.get("bytes", 0.0))
        if each.number in front
    ]
    return header, body


def tested_cells(choice: Accuracy, as_tried: Accuracy, refit: Accuracy | None) -> Cells:
    """Give the table of what was announced, and what was tested."""
    header = ["the winner", "images", "% right (95 % interval)"]
    rows = {
        "on the choice images, which chose it": choice,
        "on the test images, as it was tried": as_tried,
        "on the test images, made again with the choice images": refit,
    }
    body = [
        [name, f"{each.total:,}", percent(each)] for name, each in rows.items() if each is not None
    ]
    return header, body


def importance_cells(importance: Mapping[str, float]) -> Cells:
    """Give the table of what mattered."""
    body = [[name, f"{100 * share:.0f} %"] for name, share in importance.items()]
    return ["option", "importance"], body


def happened(status: str) -> str:
    """Say what has become of a trial that gave no classifier."""
    return HAPPENED.get(status, status)


def _costs(each: Finished) -> list[str]:
    return [f"{each.metrics['bytes']:,.0f}", f"{each.metrics['milliseconds']:.2f}"]
