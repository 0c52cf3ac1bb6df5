"""What `benchmarks.study` has measured, and its tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev
from typing import Any

from experiments.statistics import Accuracy
from experiments.tables import table

NAMES = {
    "ours": "a study",
    "sklearn": "scikit-learn, on pixels and HOG",
    "kerastuner": "KerasTuner, Hyperband, our networks",
    "flaml": "FLAML, on pixels",
    "autokeras": "AutoKeras",
}
"""What the tables call the systems."""


@dataclass(frozen=True)
class Cell:
    """A system that has searched once.

    Attributes
    ----------
    data, minutes, system, seed
        See :class:`benchmarks.study.Job`.
    seconds : float
        From its start to its saved model; of a study, to its end, the test included.
    load : float
        Processes that waited for a core in the minute before: what others did.
    command : str
        Of a study, without its folders.
    why : str
        Why there is no model; empty where there is one.
    test : Accuracy or None
    found : float or None
        Seconds until it had tried what it hands over.
    bytes : int or None
        Of the file with the model.
    overhead : float or None
        Of a study, the seconds in which it chose what to try.
    winner : str
        Of a study, the family of its winner.
    versions : mapping of str to str
        Of Python and of what the system is made of.
    """

    data: str
    minutes: float
    system: str
    seed: int
    seconds: float
    load: float
    command: str = ""
    why: str = ""
    test: Accuracy | None = None
    found: float | None = None
    bytes: int | None = None
    overhead: float | None = None
    winner: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, content: dict[str, Any]) -> "Cell":
        """Read what a file of results has."""
        test = content["test"]
        return cls(**{**content, "test": None if test is None else Accuracy(**test)})

    @property
    def overrun(self) -> float:
        """Seconds beyond the budget; below 0 where it ended before."""
        return self.seconds - 60 * self.minutes

    @property
    def told(self) -> str:
        """The result in words."""
        if self.test is None:
            return self.why
        return f"{self.test.value:.2%} of the test images, {self.seconds:.0f} s"


def report(cells: Sequence[Cell], data: str) -> str:
    """Write the table of a dataset: of each system and budget, means over the seeds.

    Of several seeds, ± is the standard deviation.
    """
    header = ["minutes", "system", "seeds", "% of the test images", "s to what it hands over"]
    header += ["s beyond the budget, most", "bytes", "choosing what to try, % of the time"]
    own = [each for each in cells if each.data == data]
    body, reasons = [], dict[str, None]()
    for minutes in sorted({each.minutes for each in own}):
        for system, name in NAMES.items():
            tried = [each for each in own if (each.minutes, each.system) == (minutes, system)]
            if not tried:
                continue
            body.append([f"{minutes:g}", name, *_row(tried)])
            for each in tried:
                if each.why:
                    reasons[f"- {name}, {minutes:g} minutes, seed {each.seed}: {each.why}."] = None
    return "\n".join([*table(header, body), *([""] if reasons else []), *reasons])


def _row(cells: Sequence[Cell]) -> list[str]:
    with_model = [each for each in cells if each.test is not None]
    percents = [100 * each.test.value for each in with_model if each.test is not None]
    found = [each.found for each in with_model if each.found is not None]
    n_bytes = [each.bytes for each in with_model if each.bytes is not None]
    shares = [
        100 * each.overhead / each.seconds for each in with_model if each.overhead is not None
    ]
    spread = f" ± {stdev(percents):.2f}" if len(percents) > 1 else ""
    return [
        str(len(cells)) if len(percents) == len(cells) else f"{len(percents)} of {len(cells)}",
        f"{mean(percents):.2f}{spread}" if percents else "none",
        f"{mean(found):.0f}" if found else "-",
        f"{max(each.overrun for each in cells):.0f}",
        f"{mean(n_bytes):,.0f}" if n_bytes else "-",
        f"{mean(shares):.1f}" if shares else "-",
    ]
