"""The report of an adaptive system: one HTML file that needs no other."""

from pathlib import Path

from experiments import pages
from experiments.adaptive import plots
from experiments.adaptive.summary import AdaptiveSummary
from experiments.words import of_path

REPORT, CURVES = "report.html", "curves.png"
"""The files that it writes."""


def write(summary: AdaptiveSummary, system: Path) -> None:
    """Draw the figure and write the report, in the folder of the system.

    Parameters
    ----------
    summary : AdaptiveSummary
    system : Path
        The file that is handed over.
    """
    folder = Path(summary.folder)
    plots.curves(summary, folder / CURVES)
    pages.write(
        folder / REPORT,
        "adaptive/report.html.j2",
        summary=summary,
        words=summary.facts(),
        predict=f"python -m experiments.predict {of_path('engine', system)} images=path/to/images",
        system=repr(str(system)),
        members=summary.member_cells(),
        selectors=summary.cells(),
        batches=summary.batch_cells(),
        classes=summary.class_cells(),
        premodels=summary.premodel_cells(),
        figures={"curves": pages.embedded((folder / CURVES).read_bytes())},
        about={
            "images": summary.dataset,
            "roles": ", ".join(f"{n:,} {name}" for name, n in summary.roles.items()),
            "bytes of the file": f"{summary.total_bytes:,}",
            "seed": summary.seed,
            "versions": ", ".join(f"{name} {text}" for name, text in summary.versions.items()),
            **summary.machine,
            "folder": summary.folder,
        },
    )
