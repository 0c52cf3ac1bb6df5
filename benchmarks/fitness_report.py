"""The results of the benchmark: as JSON, and as tables."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.machine import origin
from benchmarks.output import Output
from experiments.tables import table


@dataclass(frozen=True)
class CaseResult:
    """What a case took at one number of images; seconds are those of one candidate.

    The peers' dictionaries go from their names to seconds, seconds over ours, the share of
    predictions that agree with ours, and how they compute the features.
    """

    case: str
    references: int
    queries: int
    ours_s: float
    ours_with_bind_s: float
    first_bind_s: float
    bind_s: float
    accept_s: float
    peers: dict[str, float]
    ratio: dict[str, float]
    agreement: dict[str, float]
    peer_ways: dict[str, str]
    sgemm_share: float
    sgemm_gflops: float
    peak_rss_bytes: int
    repeats: int
    peer_repeats: int


@dataclass(frozen=True)
class GrowthResult:
    """What a kernel of the last layer takes at one number of references.

    ``full_scans`` is how many of a generation's queries, of all candidates together, had to visit
    all references.
    """

    references: int
    queries: int
    ours_s: float
    bind_s: float
    full_scans: int


@dataclass(frozen=True)
class DiscriminantResult:
    """What the default fitness took at one number of images; seconds are those of one candidate.

    The peers' dictionaries go from their names to seconds, seconds over ours, and the largest
    difference of a loss from ours, as a share of it. ``block_s`` is what all candidates of a block
    share.
    """

    references: int
    ours_s: float
    ours_with_block_s: float
    block_s: float
    peers: dict[str, float]
    ratio: dict[str, float]
    difference: dict[str, float]
    sgemm_share: float
    sgemm_gflops: float
    repeats: int


@dataclass
class Report:
    """All results so far.

    Attributes
    ----------
    command : str
        The command line that gives them.
    path : Path or None
        The JSON file that `save` writes.
    """

    command: str
    path: Path | None
    cases: list[CaseResult] = field(default_factory=list)
    growth: list[GrowthResult] = field(default_factory=list)
    discriminants: list[DiscriminantResult] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._origin = origin(self.command)
        self._output = Output("--json", self.path) if self.path else None

    def save(self) -> None:
        """Write the JSON file, whole or not at all.

        Raises
        ------
        InputError
            Where it cannot be written.
        """
        if self._output is None:
            return
        results = {
            "cases": self.cases, "growth": self.growth, "discriminants": self.discriminants
        }  # fmt: skip
        self._output.write_json({**self._origin, **results}, indent=2)

    def text(self) -> str:
        """Return the results as Markdown, and a line on the machine."""
        return "\n\n".join(
            filter(None, (self._cases(), self._growth(), self._discriminants(), self._line()))
        )

    def _cases(self) -> str:
        if not self.cases:
            return ""
        peers = list(self.cases[0].peers)
        head = [
            "case", "references / queries", "ms a candidate", "with bind and accept",
            *(f"times faster than {name} (agreement)" for name in peers),
            "% of sgemm", "peak memory, MB",
        ]  # fmt: skip
        rows = [
            [
                result.case,
                f"{result.references:,} / {result.queries:,}",
                _milliseconds(result.ours_s),
                _milliseconds(result.ours_with_bind_s),
                *(f"{result.ratio[p]:.1f} ({100 * result.agreement[p]:.2f} %)" for p in peers),
                f"{100 * result.sgemm_share:.0f}",
                f"{result.peak_rss_bytes / 1e6:,.0f}",
            ]
            for result in self.cases
        ]
        return "\n".join(table(head, rows))

    def _growth(self) -> str:
        if not self.growth:
            return ""
        head = ["references", "queries", "ms a candidate", "bind, ms", "full scans a generation"]
        rows = [
            [
                f"{result.references:,}",
                f"{result.queries:,}",
                _milliseconds(result.ours_s),
                _milliseconds(result.bind_s),
                str(result.full_scans),
            ]
            for result in self.growth
        ]
        return "A kernel of the last layer as references grow:\n\n" + "\n".join(table(head, rows))

    def _discriminants(self) -> str:
        if not self.discriminants:
            return ""
        peers = list(self.discriminants[0].peers)
        head = [
            "references", "ms a candidate", "with what a block costs",
            *(f"times faster than {name} (difference of a loss)" for name in peers), "% of sgemm",
        ]  # fmt: skip
        rows = [
            [
                f"{result.references:,}",
                _milliseconds(result.ours_s),
                _milliseconds(result.ours_with_block_s),
                *(f"{result.ratio[p]:,.0f} ({result.difference[p]:.0e})" for p in peers),
                f"{100 * result.sgemm_share:.0f}",
            ]
            for result in self.discriminants
        ]
        title = "A kernel of the last layer behind discriminants:\n\n"
        return title + "\n".join(table(head, rows))

    def _line(self) -> str:
        machine = self._origin["machine"]
        parts = [machine["cpu"], f"{machine['cores']} cores", *machine["vector_extensions"]]
        parts += [f"{name} {version}" for name, version in self._origin["versions"].items()]
        rates = [result.sgemm_gflops for result in self.cases]
        rates += [result.sgemm_gflops for result in self.discriminants]
        if rates:
            rate = np.median(rates)
            parts.append(f"sgemm at {rate:.0f} GFLOP/s")
        return ", ".join(parts)


def _milliseconds(value: float) -> str:
    return f"{1000 * value:,.2f}"
