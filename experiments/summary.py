"""What an experiment came to, as metrics and as the table at its end."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.new_classes import Addition
from experiments.statistics import Accuracy

LEAKS = "LEAKS: the test images chose the kernels"

# A header, and rows of as many cells.
Cells = tuple[list[str], list[list[str]]]


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes
    ----------
    name : str
    parameters : int
        Weights and biases.
    conv_bytes : int or None
        Bytes of the convolutional part alone; None where nothing was cut off.
    reference_bytes : int or None
        Bytes of the references and their labels.
    total_bytes : int
        Bytes of all that classifying needs.
    test : Accuracy or None
        On the test images that were asked for; None where the network cannot classify.
    test_all : Accuracy or None
        On all test images of the dataset, where fewer were asked for.
    """

    name: str
    parameters: int
    conv_bytes: int | None
    reference_bytes: int | None
    total_bytes: int
    test: Accuracy | None
    test_all: Accuracy | None


@dataclass(frozen=True)
class Summary:
    """The figures of one experiment.

    Attributes
    ----------
    title : str
        The run's name.
    protocol, objective : str
    baseline, sliced, evolved, engine : Row
        The CNN, its convolutional part with the k-NN before evolution, and after, both with all
        training images as references; and the engine that is saved, which may be ``evolved``.
    loss_before, loss_after : float
        Of the network before and after evolution, both on the images of the first where the fitness
        looks at others for every network.
    blocks_done, blocks_accepted, n_blocks : int
        Blocks that were optimized, those of them that were plugged in, and those that there are
        over all passes.
    evaluations : int
    ended : str
        Why the evolution ended, as in :class:`evolve.schedule.Schedule`.
    train_seconds, evolve_seconds : float
    from_cache : bool
        Whether the baseline had been trained before, and was read from the cache.
    interrupted : bool
        Whether the user ended the evolution early.
    additions : tuple of Addition
        How well new classes were learnt.
    """

    title: str
    protocol: str
    objective: str
    baseline: Row
    sliced: Row
    evolved: Row
    engine: Row
    loss_before: float
    loss_after: float
    blocks_done: int
    blocks_accepted: int
    n_blocks: int
    evaluations: int
    ended: str
    train_seconds: float
    evolve_seconds: float
    from_cache: bool
    interrupted: bool
    additions: tuple[Addition, ...] = ()

    @property
    def leaks(self) -> bool:
        """Whether the test images chose the kernels."""
        return self.protocol == "test"

    @property
    def warning(self) -> str:
        """What the reader has to know before the figures; empty: nothing."""
        return f"protocol test {LEAKS}; the accuracies flatter it" if self.leaks else ""

    @property
    def networks(self) -> list[Row]:
        """The rows that differ, with names that say where they leak."""
        rows = [self.baseline, self.sliced, self.evolved]
        if self.engine is not self.evolved:
            rows.append(self.engine)
        if self.leaks:
            rows[2:] = [replace(row, name=f"{row.name} LEAKS") for row in rows[2:]]
        return rows

    def metrics(self) -> dict[str, float]:
        """Figures by the names under which MLflow has them."""
        metrics: dict[str, float] = {
            "baseline/parameters": self.baseline.parameters,
            "model/parameters": self.engine.parameters,
            "baseline/engine_bytes": self.baseline.total_bytes,
            "engine/total_bytes": self.engine.total_bytes,
            "sliced/loss": self.loss_before,
            "evolved/loss": self.loss_after,
            "time/train_seconds": self.train_seconds,
            "time/evolve_seconds": self.evolve_seconds,
        }
        for part in ("conv_bytes", "reference_bytes"):
            count = getattr(self.engine, part)
            if count is not None:
                metrics[f"engine/{part}"] = count
        for key, row in self._rows.items():
            for suffix, accuracy in (("", row.test), ("_all", row.test_all)):
                if accuracy is not None:
                    metrics[f"{key}/test_accuracy{suffix}"] = accuracy.value
        return metrics

    def text(self) -> str:
        """Write the summary in Markdown that reads well on a terminal, too."""
        lines = [
            f"**{self.title}**" + (" (interrupted)" if self.interrupted else ""),
            "",
            *table(*self.cells()),
            "",
            *(f"- {fact}" for fact in self.facts()),
        ]
        if self.additions:
            lines += ["", *table(*addition_cells(self.additions))]
        if self.warning:
            lines.append(f"- {self.warning}")
        return "\n".join(lines)

    def facts(self) -> list[str]:
        """Say what the evolution and the baseline took and came to."""
        gain = 1.0 - self.loss_after / self.loss_before if self.loss_before else 0.0
        change = f"{abs(gain):.1%} {'lower' if gain >= 0 else 'higher'}"
        trained = "not trained here"
        if self.train_seconds:
            earlier = ", read from the cache" if self.from_cache else ""
            trained = f"trained in {self.train_seconds:.1f} s{earlier}"
        early = self.ended != "passes"
        rate = self.evaluations / self.evolve_seconds if self.evolve_seconds else 0.0
        return [
            f"loss ({self.objective}, {self.protocol}): {self.loss_before:.4f} before evolution, "
            f"{self.loss_after:.4f} after ({change})",
            f"evolution: {self.blocks_done} of {self.n_blocks} blocks, {self.blocks_accepted} "
            f"plugged in, {self.evaluations:,} evaluations in {self.evolve_seconds:.1f} s "
            f"({rate:,.0f} a second)" + (f"; ended: {self.ended}" if early else ""),
            f"baseline: {trained}",
        ]

    def cells(self) -> Cells:
        """Give the table of the networks."""
        rows = self.networks
        header = ["network", "parameters", "conv bytes", "reference bytes", "engine bytes"]
        body = [
            [
                row.name,
                f"{row.parameters:,}",
                _bytes(row.conv_bytes),
                _bytes(row.reference_bytes),
                _bytes(row.total_bytes),
            ]
            for row in rows
        ]
        for which in ("test", "test_all"):
            accuracies = [getattr(row, which) for row in rows]
            totals = {accuracy.total for accuracy in accuracies if accuracy is not None}
            if totals:
                header.append(f"% of {totals.pop():,} test images (95 % interval)")
                for cells, accuracy in zip(body, accuracies, strict=True):
                    cells.append(_percent(accuracy))
        return header, body

    @property
    def _rows(self) -> dict[str, Row]:
        return {
            "baseline": self.baseline,
            "sliced": self.sliced,
            "evolved": self.evolved,
            "engine": self.engine,
        }


def addition_metrics(addition: Addition) -> dict[str, float]:
    """Figures of new classes by the names under which MLflow has them, at step ``images``."""
    metrics: dict[str, float] = {}
    for key, taught in (("engine", addition.engine), ("cnn", addition.cnn)):
        if taught is not None:
            metrics[f"new_class/{key}_seconds"] = taught.seconds
            for which, accuracy in (("old", taught.old), ("new", taught.new)):
                if accuracy is not None:
                    metrics[f"new_class/{key}_{which}_accuracy"] = accuracy.value
    return metrics


def addition_cells(additions: Sequence[Addition]) -> Cells:
    """Give the table of the new classes."""
    header = ["images of each new class"]
    for name, unit in (("engine", "ms to add"), ("CNN", "s to train anew")):
        header += [f"{name}: {unit}", "% of old classes", "% of new classes"]
    body = []
    for addition in additions:
        cells = [str(addition.images)]
        for taught, scale in ((addition.engine, 1000.0), (addition.cnn, 1.0)):
            if taught is None:
                cells += ["-"] * 3
            else:
                cells += [
                    f"{scale * taught.seconds:.1f}",
                    _percent(taught.old),
                    _percent(taught.new),
                ]
        body.append(cells)
    return header, body


def table(header: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Set a Markdown table with aligned columns, the first to the left, the others to the right."""
    # A rule is a dash and a colon at least.
    widths = [max(2, *map(len, column)) for column in zip(header, *body, strict=True)]
    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return (
            " | ".join(
                ["| " + first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
            )
            + " |"
        )

    return [line(header), line(rule), *map(line, body)]


def _bytes(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _percent(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "-"
    low, high = accuracy.interval()
    return f"{100 * accuracy.value:.2f} ({100 * low:.2f}-{100 * high:.2f})"
