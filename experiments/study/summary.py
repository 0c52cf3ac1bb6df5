"""The result of a study, as JSON and as the text at its end."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evolve.trials.results import TRIED, Finished
from experiments.json_values import plain_values
from experiments.statistics import Accuracy
from experiments.study.objectives import described
from experiments.tables import percent, table
from slicing.files import replacing

SUMMARY = "summary.json"

# Trials in the table at the end.
_SHOWN = 10


@dataclass(frozen=True)
class StudySummary:
    """The figures of a study.

    Attributes
    ----------
    dataset : str
    classes : tuple of str
    n_train : int
        Training images, those that judge trials included.
    folds : int
    objectives : tuple of str
    ended : str
        Why the search ended, see :attr:`evolve.trials.Search.ended`.
    seconds, overhead : float
        Of the whole, and of choosing what to try.
    trials : tuple of Finished
    winner : int
        Number of the trial whose engine is handed over.
    front : tuple of int
        Numbers of the trials that none beats in accuracy, bytes and milliseconds.
    as_tried : Accuracy
        On the test images: the winner as it was tried, without the images that judged it.
    refit : Accuracy or None
        The same, made again from all training images; None where it was not.
    why_not_refit : str
    left_out : tuple of str
        What could not run here, and why.
    command : tuple of str
        Command line of a run that makes the winner again.
    folder : str
    seed : int
    sources : mapping of str to str
        Of each family, where the values come from that were tried first.
    versions, machine : mapping of str to str
        See :class:`experiments.summary.Summary`.
    """

    dataset: str
    classes: tuple[str, ...]
    n_train: int
    folds: int
    objectives: tuple[str, ...]
    ended: str
    seconds: float
    overhead: float
    trials: tuple[Finished, ...]
    winner: int
    front: tuple[int, ...]
    as_tried: Accuracy
    refit: Accuracy | None
    why_not_refit: str
    left_out: tuple[str, ...]
    command: tuple[str, ...]
    folder: str
    seed: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Figures by the names under which MLflow has them."""
        found = {
            "choice/accuracy": self.best.metrics["accuracy"],
            "as_tried/test_accuracy": self.as_tried.value,
            "engine/bytes": self.best.metrics["bytes"],
            "engine/milliseconds": self.best.metrics["milliseconds"],
            "trials": len(self.trials),
            "time/seconds": self.seconds,
            "time/overhead_seconds": self.overhead,
        }
        return found if self.refit is None else {**found, "engine/test_accuracy": self.refit.value}

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        text = json.dumps(plain_values(self), indent=1, ensure_ascii=False, allow_nan=False)
        with replacing(path) as file:
            file.write((text + "\n").encode())

    @property
    def best(self) -> Finished:
        """The winner."""
        return next(each for each in self.trials if each.number == self.winner)

    @property
    def ranked(self) -> list[Finished]:
        """The trials that were judged, the best first."""
        judged = [each for each in self.trials if each.status == TRIED]
        return sorted(judged, key=lambda each: (-each.metrics["accuracy"], each.metrics["bytes"]))

    def text(self) -> str:
        """Write it in Markdown that reads well on a terminal, too."""
        header = ["trial", "family", "% right", "bytes", "ms", "seconds", "options"]
        rows = [
            [
                str(each.number),
                each.family,
                percent(accuracy_of(each)),
                f"{each.metrics['bytes']:,.0f}",
                f"{each.metrics['milliseconds']:.2f}",
                f"{each.seconds:.0f}",
                described(each.options),
            ]
            for each in self.ranked[:_SHOWN]
        ]
        lines = [*table(header, rows), "", *(f"- {fact}" for fact in self.facts())]
        return "\n".join(lines)

    def facts(self) -> list[str]:
        """Say in sentences what came of it."""
        best, fallen = self.best, [each for each in self.trials if each.status != TRIED]
        tested = f"{percent(self.as_tried)} % of {self.as_tried.total:,} test images right"
        if self.refit is None:
            tested += f"; {self.why_not_refit}"
        else:
            tested += f"; made again from all training images, {percent(self.refit)} %"
        why = f" ({_counted(fallen)})" if fallen else ""
        return [
            f"the winner is trial {best.number}, {best.family}: {percent(accuracy_of(best))} % of "
            f"{best.details['total']:,} choice images right, which flatters it: it was chosen by "
            "them",
            f"the winner on images that chose nothing: {tested}",
            f"{len(self.trials)} trials in {self.seconds:.0f} s, ended: {self.ended}; "
            f"{len(fallen)} failed{why}; choosing took {self.overhead:.1f} s",
            *self.left_out,
            f"the winner as a plain run: python -m experiments.run {shlex.join(self.command)}",
        ]


def accuracy_of(each: Finished) -> Accuracy:
    """Give the accuracy of a trial on the choice images."""
    return Accuracy(int(each.details["correct"]), int(each.details["total"]))


def _counted(fallen: list[Finished]) -> str:
    counts: Mapping[str, int] = {
        status: sum(each.status == status for each in fallen)
        for status in sorted({each.status for each in fallen})
    }
    return ", ".join(f"{status}: {n}" for status, n in counts.items())
