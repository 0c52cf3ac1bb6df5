"""Find where to cut a pretrained network: ``python -m experiments.cuts --help``.

Exit codes: 0; 2 for what the user can mend, with one sentence on standard error.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omegaconf import DictConfig

from experiments.command_line import read_command_line
from experiments.console import exit_on_mistake, say
from experiments.folders import folder_for_output
from experiments.programs import CUTS
from experiments.progress import Terminal
from experiments.schema.run import plain
from slicing.errors import InputError

if TYPE_CHECKING:
    from experiments.components import Components
    from experiments.places import Places
    from experiments.reading import Loaded
    from slicing.data.dataset import Dataset

FIGURES, PICTURE = "cuts.json", "cuts.png"
"""The files that it writes."""

# Images with which the time is measured.
_TIMED = 5


def main() -> None:
    """Check the command line, score all cuts, and say which is the best."""
    with exit_on_mistake():
        _, configs = read_command_line(CUTS, multirun=True)
        if not configs:
            return
        with Terminal() as terminal, folder_for_output(configs[0]["output"]) as folder:
            text = cuts(configs, folder, terminal)
        say(text, sys.stdout)


def cuts(configs: Sequence[DictConfig], folder: Path, terminal: Terminal) -> str:
    """Score all cuts of some networks, record them in MLflow, and write what was found.

    Parameters
    ----------
    configs : sequence of DictConfig
        Of the schema :class:`experiments.schema.cuts.Cuts`, one a network.
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
    from experiments import plots
    from experiments.components import Components
    from experiments.environment import set_threads
    from experiments.json_values import plain_values
    from experiments.mlflow_run import MLflowRun, leaves
    from experiments.mlflow_store import hide_password, require_given
    from experiments.reading import ALL_CUTS
    from experiments.secrets import masked_values
    from slicing.files import replacing
    from slicing.machine import processor

    each = [plain(config) for config in configs]
    _require_same_images(each)
    options = each[0]
    set_threads(options["threads"])
    options["tracking"]["uri"] = hide_password(options["tracking"]["uri"])
    require_given(options["tracking"])
    components = [Components({**one, "slicing": ALL_CUTS}, {}) for one in each]
    for one in components:
        one.frozen_baseline()
        one.load(terminal)
    terminal.say("Reading the images")
    dataset = components[0].dataset(terminal)
    loaded = _distinct([_adapted(one, dataset, terminal) for one in components])
    tracker = MLflowRun(**options["tracking"])
    try:
        tags = {
            "dataset": dataset.name,
            "dataset.train_digest": dataset.train.digest,
            "networks": ", ".join(each.name for each in loaded),
            "machine.processor": processor(),
        }
        tracker.begin(f"cuts-{dataset.name}", leaves(masked_values(options)), tags)
        places = _score(loaded, dataset, terminal)
        with replacing(folder / FIGURES) as file:
            text = json.dumps(plain_values(places.values()), indent=1, allow_nan=False)
            file.write((text + "\n").encode())
        plots.places(places, folder / PICTURE)
        terminal.say("Sending the results to MLflow")
        tracker.ready()
        for name, found in places.networks.items():
            for number, place in enumerate(found, 1):
                tracker.log({f"{name}/{key}": v for key, v in place.figures.items()}, number)
        tracker.log({f"best/{key}": v for key, v in places.ranked[0].figures.items()})
        tracker.finish(folder, (FIGURES, PICTURE), places.text())
    except BaseException as error:
        tracker.abandon("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    return f"{places.text()}\n\n{FIGURES}, {PICTURE}: {folder}"


def _require_same_images(each: Sequence[Mapping[str, Any]]) -> None:
    """Refuse several values of an option that is not about the networks."""
    from experiments.mlflow_run import leaves

    first, *others = (leaves(options) for options in each)
    for name, value in first.items():
        is_same = all(options.get(name) == value for options in others)
        if not is_same and not name.startswith("baseline."):
            raise InputError(
                f"{name} has several values, and networks are compared on the same images: give "
                "one. baseline and its options may have several."
            )


class _Named(NamedTuple):
    """A network, and what the table calls it."""

    name: str
    loaded: "Loaded"


def _adapted(components: "Components", dataset: "Dataset[Any]", terminal: Terminal) -> _Named:
    loaded = components.load(terminal)
    builder, network, preparation = loaded
    with components.naming("baseline"):
        adapted = builder.adapt(network, preparation, dataset.train, dataset.classes)
    height, width, _ = network.input_shape
    name = f"{adapted.network.name}-{height}x{width}"
    return _Named(name, loaded._replace(network=adapted.network))


def _distinct(loaded: Sequence[_Named]) -> list[_Named]:
    """Give networks of one name numbers: they differ in other options."""
    names = [each.name for each in loaded]
    return [
        each._replace(name=f"{each.name}-{number}") if names.count(each.name) > 1 else each
        for number, each in enumerate(loaded, 1)
    ]


def _score(loaded: Sequence[_Named], dataset: "Dataset[Any]", terminal: Terminal) -> "Places":
    """Score all cuts of all networks by the training images."""
    from evolve.cuts import IMAGES, scores
    from experiments.places import Place, Places, milliseconds_per_image
    from slicing.backbones.maps import through
    from slicing.machine import processor

    found = list[Place]()
    for name, (builder, network, preparation) in loaded:
        terminal.say(f"Converting {name}, or reading it from the cache")
        every = builder.frozen(network, network.cuts)
        with terminal.task("features"):
            maps = through(every, preparation, dataset.train, show=terminal.show)
        pixels = dataset.train[:_TIMED].prepared(preparation)
        with terminal.task("cuts"):
            for score in scores(maps, every.cuts, every.channels, show=terminal.show):
                backbone = builder.frozen(network, score.cuts)
                took = milliseconds_per_image(backbone, pixels)
                found.append(Place(name, score, backbone.total_bytes, took))
    n_images = min(IMAGES, len(dataset.train))
    return Places(dataset.name, n_images, found, processor())


if __name__ == "__main__":
    main()
