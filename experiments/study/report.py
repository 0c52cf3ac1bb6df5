"""The report of a study: one HTML file that needs no other."""

import math
import shlex
from pathlib import Path

from markupsafe import Markup

from experiments import pages, plots
from experiments.statistics import ClassFigures
from experiments.study import cells
from experiments.study import plots as study_plots
from experiments.study.ending import WINNER
from experiments.study.handed import Handed
from experiments.study.objectives import accuracy_of
from experiments.study.summary import StudySummary
from experiments.study.words import next_steps, told
from experiments.tables import class_cells, confused_cells
from experiments.words import of_path
from slicing.baselines import Epoch

REPORT, FIGURES = "report.html", ("timeline", "front", "confusion", "training")
"""The file that it writes, and the figures that it may draw, ``.png`` files beside it."""

# Of the leaderboard, what is not folded.
_FIRST = 15
# Sections of the report of the winner's run that are taken as they are.
_TAKEN = ("data", "worst", "confidence")


def write(summary: StudySummary, handed: Handed, engine: Path) -> None:
    """Draw the figures, and write the report, in the folder of a study.

    Parameters
    ----------
    summary : StudySummary
    handed : Handed
    engine : Path
        The engine that is handed over.
    """
    folder, classes = Path(summary.folder), summary.classes
    drawn = _draw(folder, summary, handed)
    names, rows = cells.leaderboard_cells(summary.trials, summary.winner, summary.folds)
    figures = ClassFigures.of_all(handed.predicted, handed.labels, len(classes))
    run = folder / WINNER / REPORT
    pages.write(
        folder / REPORT,
        "study/report.html.j2",
        summary=summary,
        warning="" if handed.run is None else handed.run.warning,
        words=told(summary),
        steps=next_steps(summary, 0 if handed.run is None else len(handed.run.quality.findings)),
        engine=repr(str(engine)),
        predict=f"python -m experiments.predict {of_path('engine', engine)} images=path/to/images",
        taken={name: "" if handed.run is None else _part(run, name) for name in _TAKEN},
        tested=cells.tested_cells(accuracy_of(summary.best), summary.as_tried, summary.refit),
        first=(names, rows[:_FIRST]),
        others=(names, rows[_FIRST:]),
        is_first=rows[0][0] == str(summary.winner),
        fallen=cells.fallen_cells(cells.fallen(summary.trials)),
        skipped=cells.fallen_cells(cells.skipped(summary.trials)),
        families=cells.family_cells(summary.trials, summary.sources),
        front=cells.front_cells(summary.trials, summary.front),
        importance=cells.importance_cells(summary.importance),
        figures={name: pages.embedded((folder / f"{name}.png").read_bytes()) for name in drawn},
        classes=class_cells(classes, figures),
        confused=confused_cells(classes, handed.labels, handed.predicted),
        n_shown=_n_shown(summary, handed),
        command=f"python -m experiments.run {shlex.join(summary.command)}",
        about=_about(summary),
    )


def _draw(folder: Path, summary: StudySummary, handed: Handed) -> list[str]:
    """Draw the figures; give the names of those that there are."""
    trials, families, winner = summary.trials, [*summary.sources], summary.winner
    paths = {name: folder / f"{name}.png" for name in FIGURES}
    study_plots.timeline(trials, families, winner, paths["timeline"])
    study_plots.front(trials, families, summary.front, winner, paths["front"])
    title = f"{len(handed.labels):,} test images"
    plots.confusion(handed.labels, handed.predicted, summary.classes, paths["confusion"], title)
    details = summary.best.details
    if not details["training"]:
        return [name for name in FIGURES if name != "training"]
    epochs = [Epoch(*(math.nan if x is None else x for x in each)) for each in details["training"]]
    choice = {"engine, choice images": accuracy_of(summary.best).value}
    if "network_accuracy" in details:
        choice["network, choice images"] = details["network_accuracy"]
    study_plots.training(epochs, choice, paths["training"])
    return [*FIGURES]


def _n_shown(summary: StudySummary, handed: Handed) -> int:
    """Give the number of test images among which the winner's run looks for wrong ones."""
    tested = None if handed.run is None else handed.run.saved.test
    return summary.tested.total if tested is None else tested.total


def _part(page: Path, name: str) -> Markup:
    """Give a section of the report of a run, as it stands there: names in it are escaped."""
    _, _, rest = page.read_text("utf-8").partition(f'<section id="{name}">')
    part, _, _ = rest.partition("</section>")
    return Markup(part)


def _about(summary: StudySummary) -> dict[str, object]:
    """Say what the results depend on."""
    folds = f", {summary.folds} times, each time others" if summary.folds > 1 else ""
    return {
        "images": f"{summary.dataset}, {summary.n_train:,} training images, of which a part judged "
        f"the trials{folds}; {summary.tested.total:,} test images, read once, at the end",
        "optimized": ", ".join(summary.objectives),
        "trials": f"{summary.n_tried:,} in {summary.time}, of which "
        f"{summary.overhead:.1f} s chose what to try; the search ended because "
        + "; ".join([cells.ENDED[summary.ended], *summary.unused]),
        "seed": summary.seed,
        "versions": ", ".join(f"{name} {text}" for name, text in summary.versions.items()),
        **summary.machine,
        "folder": summary.folder,
    }
