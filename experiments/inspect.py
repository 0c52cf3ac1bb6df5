"""Look at the images of a dataset before anything learns: ``python -m experiments.inspect --help``.

Exit codes: 0 where it looked at all images, whatever it found; 2 for what the user can mend, with
one sentence on standard error.
"""

import json
import sys
from pathlib import Path

from omegaconf import DictConfig

from experiments.command_line import read_command_line
from experiments.console import exit_on_mistake, say
from experiments.folders import folder_for_output
from experiments.programs import INSPECT
from experiments.progress import Terminal
from experiments.schema.run import plain
from slicing.errors import InputError

PAGE, FIGURES = "inspect.html", "inspect.json"
"""The files that it writes."""

# More files than any folder has: those that are damaged are what one looks for.
_ALL = sys.maxsize


def main() -> None:
    """Check the command line, look at the images, and say what was found and where it is told."""
    with exit_on_mistake():
        _, configs = read_command_line(INSPECT)
        for config in configs:
            with Terminal() as terminal, folder_for_output(config["output"]) as folder:
                text = inspect(config, folder, terminal)
            say(text, sys.stdout)


def inspect(config: DictConfig, folder: Path, terminal: Terminal) -> str:
    """Look at the images of a dataset, and write what was found.

    Parameters
    ----------
    config : DictConfig
        Of the schema :class:`experiments.schema.inspection.Inspection`.
    folder : Path
        For what was found.
    terminal : Terminal

    Returns
    -------
    str
        What was found, in Markdown that reads well on a terminal, too.
    """
    terminal.say("Checking the options")
    # Here, not above: --help and mistakes on the command line do not need it.
    from experiments import pages
    from experiments.components import Components
    from experiments.environment import set_threads
    from experiments.json_values import plain_values
    from experiments.reading import ALL_CUTS, features_of, through_network
    from experiments.tables import finding_cells, table
    from slicing.data.quality import Quality
    from slicing.files import replacing

    options = plain(config)
    options["data"]["calibration_fraction"] = 0.0
    if "max_unreadable" in options["data"]:
        options["data"]["max_unreadable"] = _ALL
    components = Components({**options, "slicing": ALL_CUTS}, {})
    if options["baseline"]:
        set_threads(options["threads"])
        components.frozen_baseline()
        components.load(terminal)
    terminal.say("Reading the images")
    dataset = components.dataset(terminal)
    features, knows_labels = None, False
    if options["baseline"]:
        if dataset.survey is None:
            raise InputError(
                f"baseline looks at files, and those of {dataset.name} are none: leave it out.",
                "baseline",
            )
        with components.naming("baseline"):
            given = dataset, dataset, dataset.train, components.options["slicing"]
            read = through_network(*given, components.load(terminal), terminal)
        parts = read.dataset.train, read.dataset.read_test()
        features, knows_labels = features_of(dataset.survey.paths, parts), read.knows_labels
    terminal.say("Looking for copies and wrong labels")
    if dataset.survey is None:
        test = (dataset.read_test_all or dataset.read_test)()
        quality = Quality.of_images(dataset.train, test, dataset.classes)
    else:
        quality = dataset.survey.quality(features, knows_labels, seed=options["seed"])
    with replacing(folder / FIGURES) as file:
        text = json.dumps(plain_values(quality), indent=1, ensure_ascii=False, allow_nan=False)
        file.write((text + "\n").encode())
    title = f"The images of {dataset.name}" + (f" ({quality.root})" if quality.root else "")
    pages.write(
        folder / PAGE, "inspect.html.j2", title=title, **pages.told(quality, dataset.survey)
    )
    found = (
        table(*finding_cells(quality)) if quality.findings else ["Nothing was found that is wrong."]
    )
    facts = [f"- {fact}" for fact in quality.facts]
    return "\n".join([f"**{title}**", "", *found, "", *facts, "", f"{PAGE}, {FIGURES}: {folder}"])


if __name__ == "__main__":
    main()
