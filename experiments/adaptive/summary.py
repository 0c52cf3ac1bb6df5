"""The result of an adaptive system, as JSON and as the text at its end."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from experiments.adaptive.beginning import Beginning
from experiments.adaptive.evaluation import ClassOutcome, SelectorFigures
from experiments.json_values import plain_values
from experiments.statistics import Accuracy
from experiments.tables import Cells, percent, table
from slicing.files import replacing

SUMMARY = "summary.json"


@dataclass(frozen=True)
class MemberFigures:
    """A member.

    Attributes
    ----------
    name : str
    bytes, parameters : int
    milliseconds, after : float
        What an image takes, by this engine alone, and asked after a smaller member.
    select : Accuracy
        On the images that choose.
    test : Accuracy
    """

    name: str
    bytes: int
    parameters: int
    milliseconds: float
    after: float
    select: Accuracy
    test: Accuracy


@dataclass(frozen=True)
class Assembled:
    """What images take, one at a time, as the whole system answers.

    Attributes
    ----------
    milliseconds, parts : float
        Mean, measured and as the sum of its parts, for the same images.
    median, p95, p99 : float
        Of the images, measured.
    largest : float
        Mean of the largest member alone, measured in the same way.
    faster : (float, float)
        95 % interval of the largest member's mean over the system's, by a bootstrap over images.
    batches : mapping of str to (float, float)
        Milliseconds an image in batches of so many, of the system and of the largest member.
    """

    milliseconds: float
    parts: float
    median: float
    p95: float
    p99: float
    largest: float
    faster: tuple[float, float]
    batches: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether the sum of the parts is within 10 % of what was measured."""
        return abs(self.parts / self.milliseconds - 1) <= 0.1


@dataclass(frozen=True)
class AdaptiveSummary:
    """The figures of an adaptive system.

    Attributes
    ----------
    dataset : str
    roles : mapping of str to int
        Images of each role.
    members : tuple of MemberFigures
        In ascending order of cost.
    left_out : tuple of str
    selectors : tuple of SelectorFigures
    chosen : str
        Name of the selector that is in the file.
    loss, confidence : float
        That were asked for.
    assembled : Assembled
        Of the system in the file.
    oracle : (float, float)
        Mean milliseconds and accuracy on the test images of the cheapest member that is right.
    total_bytes : int
        Of the file.
    classes : tuple of ClassOutcome
        Of the system in the file, in label order.
    beginning : Beginning or None
        What its file takes until the first answer; None where that could not be measured.
    folder : str
    seed : int
    versions, machine : mapping of str to str
    """

    dataset: str
    roles: Mapping[str, int]
    members: tuple[MemberFigures, ...]
    left_out: tuple[str, ...]
    selectors: tuple[SelectorFigures, ...]
    chosen: str
    loss: float
    confidence: float
    assembled: Assembled
    oracle: tuple[float, float]
    total_bytes: int
    classes: tuple[ClassOutcome, ...]
    beginning: Beginning | None
    folder: str
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)

    @property
    def system(self) -> SelectorFigures:
        """The selector that is in the file."""
        return next(each for each in self.selectors if each.name == self.chosen)

    def metrics(self) -> dict[str, float]:
        """Figures by the names under which MLflow has them."""
        found = {
            "system/milliseconds": self.assembled.milliseconds,
            "system/largest_milliseconds": self.assembled.largest,
            "system/bytes": float(self.total_bytes),
        }
        if self.beginning is not None:
            found["system/first_answer_seconds"] = self.beginning.seconds
        for each in self.selectors:
            found |= {
                f"{each.name}/test_accuracy": each.test.value,
                f"{each.name}/milliseconds": each.milliseconds,
                f"{each.name}/bound": each.bound,
                f"{each.name}/escalated": each.escalated,
            }
            if each.gap_closed is not None:
                found[f"{each.name}/gap_closed"] = each.gap_closed
            if each.auroc is not None:
                found[f"{each.name}/auroc"] = each.auroc
        for number, member in enumerate(self.members, 1):
            found[f"member{number}/test_accuracy"] = member.test.value
            found[f"member{number}/milliseconds"] = member.milliseconds
        return found

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        text = json.dumps(plain_values(self), indent=1, ensure_ascii=False, allow_nan=False)
        with replacing(path) as file:
            file.write((text + "\n").encode())

    def text(self) -> str:
        """Write it in Markdown that reads well on a terminal, too."""
        facts = "\n".join(f"- {fact}" for fact in self.facts())
        return "\n".join([*table(*self.member_cells()), "", *table(*self.cells()), "", facts])

    def member_cells(self) -> Cells:
        """Give the table of the members."""
        header = ["member", "bytes", "ms alone", "ms after", "% of the test images"]
        body = [
            [
                each.name,
                f"{each.bytes:,}",
                f"{each.milliseconds:.3f}",
                f"{each.after:.3f}",
                percent(each.test),
            ]
            for each in self.members
        ]
        return header, body

    def cells(self) -> Cells:
        """Give the table of the selectors, each at the point that is certified."""
        header = [
            "selector", "ms", "times faster", "% to the largest", "% of the test images",
            "loss, at most", "gap closed", "AUROC",
        ]  # fmt: skip
        body = [
            [
                f"{each.name} (in the file)" if each.name == self.chosen else each.name,
                f"{each.milliseconds:.3f}",
                f"{each.times_faster:.2f}",
                f"{100 * each.escalated:.1f}",
                percent(each.test),
                f"{100 * each.bound:g}",
                "-" if each.gap_closed is None else f"{100 * each.gap_closed:.0f} %",
                "-" if each.auroc is None else f"{each.auroc:.3f}",
            ]
            for each in self.selectors
        ]
        return header, body

    def batch_cells(self) -> Cells:
        """Give the table of batches."""
        header = ["images at a time", "ms an image", "the largest member", "times faster"]
        own = self.assembled
        body = [
            [f"{int(size):,}", f"{system:.3f}", f"{largest:.3f}", f"{largest / system:.2f}"]
            for size, (system, largest) in {
                "1": (own.milliseconds, own.largest), **own.batches
            }.items()
        ]  # fmt: skip
        return header, body

    def class_cells(self) -> Cells:
        """Give the table of the classes."""
        header = [
            "class", "% of the test images", "% right, the largest member", "ms",
            "% to the largest",
        ]  # fmt: skip
        body = [
            [
                each.name,
                percent(each.test),
                f"{100 * each.largest:.2f}",
                f"{each.milliseconds:.3f}",
                f"{100 * each.escalated:.1f}",
            ]
            for each in self.classes
        ]
        return header, body

    def premodel_cells(self) -> Cells:
        """Give the table of the premodels, as their paper scores them."""
        header = [
            "premodel", "% right, cross-validated", "% given up", "% of the test images right",
        ]  # fmt: skip
        body = [
            [
                each.name,
                f"{100 * each.cross_validated[0]:.2f}",
                f"{100 * each.cross_validated[1]:.2f}",
                percent(each.gave_up),
            ]
            for each in self.selectors
            if each.cross_validated is not None
        ]
        return header, body

    def facts(self) -> list[str]:
        """Say in sentences what came of it."""
        own, took = self.system, self.assembled
        sentences = []
        if own.bound == 0.0 and own.times_faster <= 1.0:
            sentences.append(
                f"of all points of {own.name} that {own.certify:,} images certify to lose "
                f"{100 * self.loss:g} points at most, the largest member alone takes least, so it "
                "answers alone: give more images (data.calibration_fraction), a larger loss, or "
                "members that differ more in time"
            )
        else:
            sentences.append(
                f"{own.name} loses {100 * own.bound:g} points at most against the largest "
                f"member, at a level of {self.confidence:.0%}: of {own.certify:,} images, which "
                f"chose nothing but the place on the dial, {own.flips:,} were right with the "
                "largest member and wrong with the system; this holds for images like these, on "
                "average"
            )
        faster = took.largest / took.milliseconds
        sentences.append(
            f"measured as a whole, one image at a time on one thread: {took.milliseconds:.3f} ms "
            f"on average (99 of 100 within {took.p99:.3f}), the largest member "
            f"{took.largest:.3f}, {faster:.2f} times as long (95 % interval "
            f"{took.faster[0]:.2f}-{took.faster[1]:.2f})"
        )
        if not took.agrees:
            sentences.append(
                f"the sum of the parts, {took.parts:.3f} ms for the same images, is more than 10 % "
                "away from that: of the times in the table, only their order counts"
            )
        begins = ""
        if self.beginning is not None:
            peak = self.beginning.peak_bytes
            begins = f"; a process that reads it answers after {self.beginning.seconds:.1f} s" + (
                "" if peak is None else f", and holds {peak / 1e6:,.0f} MB at most"
            )
        size = f"its file has {self.total_bytes:,} bytes, all members included"
        sentences.append(size + begins)
        sentences.append(own.comparison.sentence("asking smaller members first"))
        return [*sentences, *self.left_out]
