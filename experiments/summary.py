"""The result of a run, as JSON, as metrics, and as the table at its end.

``summary.json`` in the folder of a run is a :class:`Summary` as one JSON object: its attributes by
their names, those of networks and new classes nested. An accuracy is an object of ``correct`` and
``total``, the interval follows from both. Numbers are finite or null.
"""

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from experiments.json_values import plain_values
from experiments.new_classes import ClassAddition, TaughtClassifier
from experiments.reliability import Reliability
from experiments.statistics import Accuracy, Comparison
from experiments.tables import Cells, addition_cells, percent, table
from slicing.baselines import Epoch
from slicing.data.quality import Quality
from slicing.files import replacing

SUMMARY = "summary.json"

LEAKS = "LEAKS: the test images chose the kernels"

# Of the sentences about two networks.
_SUBJECTS = {
    "evolution": "evolution",
    "reduction": "making the engine smaller",
    "slicing": "the saved engine instead of the baseline",
}
NOTHING = "Nothing is evolved: there are no kernels that evolution could change"
# The engines, the saved one first.
_ENGINES = ("engine", "evolved", "sliced")


def saved_of(networks: Container[str]) -> str:
    """Give the name of the engine that is saved, among those of the networks of a run."""
    return next(name for name in _ENGINES if name in networks)


@dataclass(frozen=True)
class NetworkResult:
    """One network.

    Attributes
    ----------
    name : str
        What tables call it.
    parameters : int
        Weights and biases.
    conv_bytes : int or None
        Bytes of the convolutional part alone; None where nothing was cut off.
    reference_bytes : int or None
        Bytes of the references and their labels.
    total_bytes : int
        Bytes of all that classifying needs.
    test : Accuracy or None
        On the chosen test images; None where the network cannot classify.
    test_all : Accuracy or None
        On all test images of the dataset, where fewer were chosen.
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
    dataset, protocol, objective : str
    leaks : bool
        Whether the test images chose the kernels.
    quality : Quality
        What a look at the images found: copies, classes, files, probable label errors.
    networks : mapping of str to NetworkResult
        ``baseline`` is the CNN, or what stands for it; ``sliced`` and ``evolved`` are its
        convolutional part with the k-NN before and after evolution, with all training images as
        references; ``engine`` is the engine that is saved, where that is none of them. Where
        nothing is evolved, there is no ``evolved``.
    comparisons : mapping of str to Comparison
        Whether networks can be told apart, on all test images of the dataset: ``evolution`` is
        ``evolved`` beside ``sliced``, ``reduction`` is ``engine`` beside the engine with all
        references, and ``slicing`` the saved engine beside a ``baseline`` that can classify.
    loss_before, loss_after : float
        Loss before and after evolution, both on the images drawn for the initial network, so that
        runs compare; NaN where nothing is evolved.
    blocks_done, blocks_accepted, n_blocks : int
        Blocks that were optimized, those of them that were plugged in, and all blocks over all
        passes; 0 where nothing is evolved.
    evaluations : int
    ended : str
        Why the evolution ended, as in :class:`evolve.schedule.Schedule`.
    train_seconds, evolve_seconds : float
    from_cache : bool
        Whether the trained baseline was read from the cache.
    training : tuple of Epoch
        Of the baseline, in their order; none where it was not trained here.
    baseline_warning : str or None
        What to know before comparing with the baseline.
    interrupted : bool
        Whether the evolution was stopped early; it can be resumed.
    additions : tuple of ClassAddition
        How well new classes were learned.
    calibration_images : int
        Images from which the saved engine's confidence was learned; 0: it gives none.
    reliability : mapping of str to Reliability
        How true ``confidence`` is on the chosen test images but for outliers, and the share of the
        ``votes``, which is none; empty without a confidence.
    train_digest : str
        Of the training images, as they were given.
    seed, threads : int
    versions : mapping of str to str
        Of Python and the libraries that results depend on.
    machine : mapping of str to str
        The processor, the linear algebra, and environment variables that change what they compute.
    commit : str or None
        Of this project, where it runs from a checkout.
    overrides : tuple of str
        The command line, without passwords.
    mlflow_run, mlflow_model : str or None
        Their ids in MLflow; of the model, where the engine was logged as one.
    """

    title: str
    dataset: str
    protocol: str
    objective: str
    networks: Mapping[str, NetworkResult]
    comparisons: Mapping[str, Comparison]
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
    training: tuple[Epoch, ...]
    interrupted: bool
    additions: tuple[ClassAddition, ...] = ()
    calibration_images: int = 0
    reliability: Mapping[str, Reliability] = field(default_factory=dict)
    leaks: bool = False
    baseline_warning: str | None = None
    quality: Quality = field(default_factory=Quality)
    train_digest: str = ""
    seed: int = 0
    threads: int = 1
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    overrides: tuple[str, ...] = ()
    mlflow_run: str | None = None
    mlflow_model: str | None = None

    @classmethod
    def read(cls, path: Path) -> "Summary":
        """Read what :meth:`write` wrote; a loss that was not finite is NaN."""
        values = json.loads(path.read_text("utf-8"))
        networks = {name: _network(each) for name, each in values["networks"].items()}
        additions = tuple(
            ClassAddition(
                each["images"], _taught(each["engine"]), each["cnn"] and _taught(each["cnn"])
            )
            for each in values["additions"]
        )
        reliability = {name: Reliability.read(each) for name, each in values["reliability"].items()}
        for each in fields(cls):
            if each.type is float and values[each.name] is None:
                values[each.name] = float("nan")
        read = {
            "networks": networks,
            "comparisons": {
                name: Comparison(**each) for name, each in values["comparisons"].items()
            },
            "training": tuple(Epoch(**each) for each in values["training"]),
            "overrides": tuple(values["overrides"]),
            "additions": additions,
            "reliability": reliability,
            "quality": Quality.read(values["quality"]),
        }
        return cls(**{**values, **read})

    def write(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        text = json.dumps(plain_values(self), indent=1, ensure_ascii=False, allow_nan=False)
        with replacing(path) as file:
            file.write((text + "\n").encode())

    @property
    def warning(self) -> str:
        """Warning before the figures; empty if there is none."""
        leaks = [f"protocol {self.protocol} {LEAKS}; the accuracies flatter it"]
        baseline = [self.baseline_warning] if self.baseline_warning else []
        return "; ".join(leaks * self.leaks + baseline + self.quality.warnings)

    @property
    def saved(self) -> NetworkResult:
        """The engine that is saved."""
        return self.networks[saved_of(self.networks)]

    @property
    def outliers(self) -> int:
        """Chosen test images that have no confidence, where the engine gives one."""
        if not self.reliability or self.saved.test is None:
            return 0
        return self.saved.test.total - self.reliability["confidence"].accuracy.total

    @property
    def rows(self) -> list[NetworkResult]:
        """The networks, with names that say where they leak."""
        unaffected = ("baseline", "sliced")
        return [
            replace(each, name=f"{each.name} LEAKS")
            if self.leaks and key not in unaffected
            else each
            for key, each in self.networks.items()
        ]

    def metrics(self) -> dict[str, float]:
        """Figures by the names under which MLflow has them."""
        metrics: dict[str, float] = {
            "baseline/parameters": self.networks["baseline"].parameters,
            "model/parameters": self.saved.parameters,
            "baseline/engine_bytes": self.networks["baseline"].total_bytes,
            "engine/total_bytes": self.saved.total_bytes,
            "time/train_seconds": self.train_seconds,
        }
        if self.n_blocks:
            metrics |= {
                "sliced/loss": self.loss_before,
                "evolved/loss": self.loss_after,
                "time/evolve_seconds": self.evolve_seconds,
            }
        for part in ("conv_bytes", "reference_bytes"):
            count = getattr(self.saved, part)
            if count is not None:
                metrics[f"engine/{part}"] = count
        for key, row in {**self.networks, "engine": self.saved}.items():
            for suffix, accuracy in (("", row.test), ("_all", row.test_all)):
                if accuracy is not None:
                    metrics[f"{key}/test_accuracy{suffix}"] = accuracy.value
                    metrics[f"test/images{suffix}"] = accuracy.total
        for name, each in self.reliability.items():
            metrics[f"engine/{name}_calibration_error"] = each.calibration_error
            metrics[f"engine/{name}_brier"] = each.brier
            if each.auroc is not None:
                metrics[f"engine/{name}_auroc"] = each.auroc
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
        """Report what can be told apart, the cost and the gain of evolution, and the baseline's."""
        trained = "not trained here"
        if self.train_seconds:
            earlier = ", read from the cache" if self.from_cache else ""
            trained = f"trained in {self.train_seconds:.1f} s{earlier}"
        if self.training:
            last = self.training[-1]
            trained += (
                f"; in the last of {len(self.training)} epochs, loss {last.loss:.4f} and "
                f"{last.accuracy:.1%} of the training images right"
            )
        return [
            *(each.sentence(_SUBJECTS[key]) for key, each in self.comparisons.items()),
            *(self._facts_of_evolution() if self.n_blocks else [NOTHING]),
            f"baseline: {trained}",
            *self._facts_of_confidence(),
        ]

    def _facts_of_evolution(self) -> list[str]:
        gain = 1.0 - self.loss_after / self.loss_before if self.loss_before else 0.0
        change = f"{abs(gain):.1%} {'lower' if gain >= 0 else 'higher'}"
        early = self.ended != "passes"
        rate = self.evaluations / self.evolve_seconds if self.evolve_seconds else 0.0
        return [
            f"loss ({self.objective}, {self.protocol}): {self.loss_before:.4f} before evolution, "
            f"{self.loss_after:.4f} after ({change})",
            f"evolution: {self.blocks_done} of {self.n_blocks} blocks, {self.blocks_accepted} "
            f"plugged in, {self.evaluations:,} evaluations in {self.evolve_seconds:.1f} s "
            f"({rate:,.0f} a second)" + (f"; ended: {self.ended}" if early else ""),
        ]

    def _facts_of_confidence(self) -> list[str]:
        if not self.reliability:
            return []
        found, votes = self.reliability["confidence"], self.reliability["votes"]
        areas = ("-" if each.auroc is None else f"{each.auroc:.3f}" for each in (found, votes))
        return [
            f"confidence, learned from {self.calibration_images:,} held-out images: "
            f"{100 * found.mean:.1f} % on average where {percent(found.accuracy)} % of "
            f"{found.accuracy.total:,} test images are right; calibration error "
            f"{100 * found.calibration_error:.1f} % (by chance up to {100 * found.by_chance:.1f} "
            f"%, votes {100 * votes.calibration_error:.1f} %), "
            "AUROC {} (votes {})".format(*areas)
            + (f"; none for {self.outliers:,} outliers" if self.outliers else "")
        ]

    def cells(self) -> Cells:
        """Give the table of the networks."""
        rows = self.rows
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
                    cells.append(percent(accuracy))
        return header, body


def addition_metrics(addition: ClassAddition) -> dict[str, float]:
    """Figures of new classes by the names under which MLflow has them, at step ``images``."""
    metrics: dict[str, float] = {}
    for key, taught in (("engine", addition.engine), ("cnn", addition.cnn)):
        if taught is not None:
            metrics[f"new_class/{key}_seconds"] = taught.seconds
            for which, accuracy in (("old", taught.old), ("new", taught.new)):
                if accuracy is not None:
                    metrics[f"new_class/{key}_{which}_accuracy"] = accuracy.value
    return metrics


def _bytes(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _network(values: dict[str, Any]) -> NetworkResult:
    accuracies = {name: _accuracy(values[name]) for name in ("test", "test_all")}
    return NetworkResult(**{**values, **accuracies})


def _taught(values: dict[str, Any]) -> TaughtClassifier:
    return TaughtClassifier(values["seconds"], _accuracy(values["old"]), _accuracy(values["new"]))


def _accuracy(values: dict[str, int] | None) -> Accuracy | None:
    return None if values is None else Accuracy(**values)
