"""Places to cut networks: what each tells of the training images, and what it costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from evolve.cuts import CutScore, best
from experiments.tables import table
from slicing.backbones.backbone import Backbone
from slicing.pixels import Pixels
from slicing.threads import one_thread

# Rows of the table, at most.
_ROWS = 10
# Calls before the clock runs, and calls that it measures.
_WARM_UP, _CALLS = 3, 15


@dataclass(frozen=True)
class Place:
    """A place to cut a network: a layer, or several whose maps lie side by side.

    Attributes
    ----------
    network : str
    score : CutScore
    total_bytes : int
        Bytes of the network up to there.
    milliseconds : float
        What an image takes up to there, see :func:`milliseconds_per_image`.
    """

    network: str
    score: CutScore
    total_bytes: int
    milliseconds: float

    @property
    def name(self) -> str:
        """What tables call it."""
        first, *others = self.score.cuts
        return f"{first} to {others[-1]} ({len(others) + 1} cuts)" if others else first

    @property
    def figures(self) -> dict[str, float]:
        """All figures, by their names."""
        figures = self.score._asdict() | {
            "total_bytes": self.total_bytes,
            "milliseconds": self.milliseconds,
        }
        del figures["cuts"]
        return figures


@dataclass(frozen=True)
class Places:
    """Places to cut one or several networks, compared on the same images.

    Attributes
    ----------
    dataset : str
    n_images : int
        Training images that were scored.
    all_of : sequence of Place
        From the input to the output of each network.
    processor : str
        Where the milliseconds were measured.
    """

    dataset: str
    n_images: int
    all_of: Sequence[Place]
    processor: str

    @property
    def ranked(self) -> list[Place]:
        """All of them, the best first, as :func:`evolve.cuts.best` has it."""
        left, found = list(self.all_of), list[Place]()
        while left:
            chosen = best([place.score for place in left])
            found.append(left.pop(next(n for n, place in enumerate(left) if place.score is chosen)))
        return found

    @property
    def networks(self) -> Mapping[str, Sequence[Place]]:
        """The places of each network, by its name."""
        names = dict.fromkeys(place.network for place in self.all_of)
        return {name: [p for p in self.all_of if p.network == name] for name in names}

    @property
    def title(self) -> str:
        """What they are."""
        return f"Where to cut {' or '.join(self.networks)} for {self.dataset}"

    def text(self) -> str:
        """Tell of the best, in Markdown that reads well on a terminal, too."""
        ranked = self.ranked
        header = [
            "place", "features", "discriminants, % right", "k-NN, % right", "H-score",
            "log evidence", "MB", "ms an image",
        ]  # fmt: skip
        several = len(self.networks) > 1
        body = []
        for number, place in enumerate(ranked[:_ROWS]):
            score = place.score
            name = f"{place.network}: {place.name}" if several else place.name
            body.append(
                [
                    f"{name} - the best" if not number else name,
                    f"{score.n_features:,}",
                    f"{100 * score.discriminants:.2f}",
                    f"{100 * score.neighbors:.2f}",
                    # With as many features as images it is the number of classes but one.
                    "-" if score.n_features >= self.n_images else f"{score.h_score:.3f}",
                    f"{score.log_evidence:.3f}",
                    f"{place.total_bytes / 1e6:.1f}",
                    f"{place.milliseconds:.1f}",
                ]
            )
        left = len(ranked) - len(body)
        more = f"{left} other places are in cuts.json. " if left else ""
        which = ranked[0].network if several else "the network"
        return "\n".join(
            [
                f"**{self.title}**",
                "",
                *table(header, body),
                "",
                f"- {more}Each of {self.n_images:,} training images is classified by all others; "
                "no test image was read.",
                "- The milliseconds are the median of calls with one image and one thread on this "
                "machine.",
                f"- A run cuts {which} there by itself (slicing.cut=auto).",
            ]
        )

    def values(self) -> dict[str, Any]:
        """Give all of it as JSON has it."""
        return {
            "dataset": self.dataset,
            "images": self.n_images,
            "processor": self.processor,
            "places": [
                {"network": place.network, "cuts": place.score.cuts, **place.figures}
                for place in self.ranked
            ],
        }


def milliseconds_per_image(backbone: Backbone, images: Pixels) -> float:
    """Measure what an image takes, alone and on one thread: the median of some calls.

    Parameters
    ----------
    backbone : Backbone
    images : ndarray of shape (n, ``*backbone.input_shape``)
        One at least; they take turns.
    """
    seconds = list[float]()
    with one_thread():
        for number in range(_WARM_UP + _CALLS):
            row = number % len(images)
            begun = perf_counter()
            backbone.maps(images[row : row + 1])
            seconds.append(perf_counter() - begun)
    return float(1000 * np.median(seconds[_WARM_UP:]))
