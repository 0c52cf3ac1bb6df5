"""The result of a study, as JSON and as the text at its end."""

import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evolve.trials.results import Finished
from experiments.json_values import plain_values
from experiments.statistics import Accuracy
from experiments.study.cells import ENDED, fallen, happened, ranked, skipped
from experiments.study.objectives import accuracy_of, described
from experiments.tables import percent, shorten, table
from slicing.files import replacing
from slicing.names import counted

SUMMARY = "summary.json"

# Trials in the table at the end, and letters of its lines; seconds that may be left without a word.
_SHOWN, _WIDTH, _LEFT = 10, 120, 5.0


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
    granted : float or None
        Seconds that it had; None: any.
    trials : tuple of Finished
    winner : int
        Number of the trial whose engine is handed over.
    front : tuple of int
        Numbers of the trials that none beats in accuracy, bytes and milliseconds.
    as_tried : Accuracy
        On the test images: the winner as it was tried, without the images that judged it.
    refit : Accuracy or None
        The same, made again with the choice images; None where it was not.
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
    engine_bytes : int
        Of the engine that is handed over.
    by_class : mapping of str to mapping of str to Accuracy or None
        Its ``recall`` and ``precision`` on the test images, by the names of the classes.
    importance : mapping of str to float
        See :func:`experiments.study.importance.importance`.
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
    engine_bytes: int = 0
    by_class: Mapping[str, Mapping[str, Accuracy | None]] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)
    granted: float | None = None

    def metrics(self) -> dict[str, float]:
        """Figures by the names under which MLflow has them."""
        found = {
            "choice/accuracy": self.best.metrics["accuracy"],
            "as_tried/test_accuracy": self.as_tried.value,
            "engine/bytes": self.engine_bytes,
            "engine/milliseconds": self.best.metrics["milliseconds"],
            "trials": self.n_tried,
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
    def n_tried(self) -> int:
        """Trials for which there was time."""
        return len(self.trials) - len(skipped(self.trials))

    @property
    def ahead(self) -> list[str]:
        """Say which model without an engine was ahead of the winner, if one was."""
        ahead = next((each for each in ranked(self.trials) if not each.is_engine), None)
        if ahead is None or ahead.metrics["accuracy"] <= self.best.metrics["accuracy"]:
            return []
        return [
            f"trial {ahead.number} of the family {ahead.family}, which is only there to compare "
            f"with, was ahead on the choice images: {percent(accuracy_of(ahead))} % right, the "
            f"winner {percent(accuracy_of(self.best))} %. It gives no engine, so the best engine "
            "was taken"
        ]

    @property
    def time(self) -> str:
        """The seconds that it took, of those that it had."""
        of = "" if self.granted is None else f" of {self.granted:.0f} s"
        return f"{self.seconds:.0f} s{of}"

    @property
    def unused(self) -> list[str]:
        """Say why the time was not used up, if much of it is left though nothing else ended it."""
        left = 0.0 if self.granted is None else self.granted - self.seconds
        if self.ended != "time" or left < max(_LEFT, 0.05 * (self.granted or 0.0)):
            return []
        return [
            f"{left:.0f} s of the time were not used: they were held back to make the winner again "
            "and to report, or nothing more would have ended in them"
        ]

    @property
    def tested(self) -> Accuracy:
        """On the test images: the engine that is handed over."""
        return self.refit or self.as_tried

    def text(self) -> str:
        """Write it in Markdown that reads well on a terminal, too."""
        header = ["trial", "family", "% right", "bytes", "ms", "s", "options"]
        best = ranked(self.trials)[:_SHOWN]
        constant = _constant(self.trials)
        rows = [
            [
                f"{each.number} (winner)" if each.number == self.winner else str(each.number),
                each.family,
                percent(accuracy_of(each)),
                f"{each.metrics['bytes']:,.0f}",
                f"{each.metrics['milliseconds']:.2f}",
                f"{each.seconds:.0f}",
                described(each.options, constant[each.family]),
            ]
            for each in best
        ]
        # A line that a terminal breaks is no table.
        fixed = len(table(header, [[*row[:-1], ""] for row in rows])[0]) - len(header[-1])
        for row in rows:
            row[-1] = shorten(row[-1], max(_WIDTH - fixed, len(header[-1])))
        return "\n".join([*table(header, rows), "", *(f"- {fact}" for fact in self.facts())])

    def facts(self) -> list[str]:
        """Say in sentences what came of it."""
        best, failed = self.best, fallen(self.trials)
        choice = accuracy_of(best)
        tested = f"{percent(self.as_tried)} % right as it was tried"
        if self.refit is None:
            tested += f"; {self.why_not_refit}"
        else:
            tested += f", {percent(self.refit)} % made again with the choice images"
        counts = Counter(happened(each.status) for each in failed)
        why = "; ".join(f"{n} {what}" for what, n in counts.items())
        late = skipped(self.trials)
        return [
            f"the winner is trial {best.number}, of the family {best.family}: "
            f"{percent(choice)} % of {choice.total:,} choice images right, which flatters it, "
            "since they chose it",
            *self.ahead,
            f"on {self.tested.total:,} test images, which chose nothing: {tested}",
            f"{counted(self.n_tried, 'trial')} in {self.time}"
            + (f", of which {len(failed):,} failed ({why})" if failed else "")
            + (f"; for {len(late):,} more there was no time" if late else "")
            + f"; the search ended because {ENDED[self.ended]}; choosing what to try took "
            f"{self.overhead:.1f} s",
            *self.unused,
            *self.left_out,
            f"as a plain run: python -m experiments.run {shlex.join(self.command)}",
        ]


def _constant(trials: Sequence[Finished]) -> dict[str, list[str]]:
    """Give, for each family, the options that are the same in all of its trials, if some differ."""
    found = dict[str, list[str]]()
    for family in {each.family for each in trials}:
        own = [each.options for each in trials if each.family == family]
        same = [name for name in own[0] if all(each.get(name) == own[0][name] for each in own)]
        found[family] = same if len(same) < len(own[0]) else []
    return found
