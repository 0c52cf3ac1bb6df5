"""The winner of a study in the words of every day, and what to do next."""

from experiments.statistics import Accuracy
from experiments.study.summary import StudySummary
from experiments.words import of_path

# Names of classes in a sentence; images of a test, and of a class in it, below which it is rough.
_NAMES, _FEW, _FEW_OF_CLASS = 6, 200, 10


def told(summary: StudySummary) -> list[str]:
    """Say what the winner is, to people who train no networks."""
    names = summary.classes
    some = ", ".join(names[:_NAMES])
    if len(names) > _NAMES:
        some += f" and {len(names) - _NAMES:,} more"
    most = max(_recalls(summary).values(), key=lambda each: each.total).total
    guess = 100 * most / summary.tested.total
    made = "It was made from the training images and those that chose it."
    if summary.refit is None:
        made = f"It was made without the images that chose it: {summary.why_not_refit}."
    return [
        f"It looks at an image and says which of {len(names):,} classes it shows: {some}.",
        f"Of new images like yours, {_rightly(summary.tested)}. "
        f"Always to name the most frequent class would get "
        f"{f'{guess:.0f}' if guess >= 1 else 'less than 1'} of 100.",
        f"It takes {_size(summary.engine_bytes)} on the disk, and about "
        f"{summary.best.metrics['milliseconds']:.2g} ms an image on this machine.",
        made,
    ]


def next_steps(summary: StudySummary, n_findings: int) -> list[tuple[str, str]]:
    """Say what to do next, what matters most first.

    Parameters
    ----------
    summary : StudySummary
    n_findings : int
        Kinds of what was found in the images.

    Returns
    -------
    list of (str, str)
        A sentence, and a command that belongs to it or nothing.
    """
    steps = list[tuple[str, str]]()
    if n_findings:
        found = "Look at what was found in your images: wrong labels and copies mislead."
        steps.append((found, ""))
    if summary.tested.total < _FEW:
        few = f"Only {summary.tested.total:,} images tested it: with more, you know it better."
        steps.append((few, ""))
    if (weakest := _weakest(summary)) is not None:
        name, recall = weakest
        weak = (
            f"It is weakest at {name}: {recall.correct:,} of {recall.total:,} test images right. "
            "More training images of that class are the first thing to try."
        )
        steps.append((weak, ""))
    more = f"python -m experiments.study {of_path('resume', summary.folder)}"
    better = "With more, it may find a better one:"
    steps += {
        "interrupted": [("The search was interrupted. It goes on with:", more)],
        "time": [(f"The search ended with its time. {better}", f"{more} budget.minutes=20")],
        "trials": [
            (
                f"The search ended with its number of trials. {better}",
                f"{more} budget.trials={2 * summary.n_tried}",
            )
        ],
    }.get(summary.ended, [])
    return steps


def _rightly(accuracy: Accuracy) -> str:
    """Say how many images of a hundred are right; of a thousand, where nearly all are."""
    low, high = accuracy.interval()
    of = 1000 if low >= 0.99 else 100
    return (
        f"it gets about {of * accuracy.value:.0f} of {of:,} right. It was tested on "
        f"{accuracy.total:,} images that it had never seen; by these it may be "
        f"{of * low:.0f} to {of * high:.0f}"
    )


def _size(n_bytes: float) -> str:
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.3g} {unit}"
    return f"{n_bytes:.0f} bytes"


def _weakest(summary: StudySummary) -> tuple[str, Accuracy] | None:
    """Give the class that is told worst, if it is worse than all by more than chance."""
    known = {n: each for n, each in _recalls(summary).items() if each.total >= _FEW_OF_CLASS}
    if not known:
        return None
    name = min(known, key=lambda each: known[each].value)
    # Of many classes, one is the worst: C. E. Bonferroni, 1936.
    _, high = known[name].interval(1 - 0.05 / len(known))
    return (name, known[name]) if high < summary.tested.value else None


def _recalls(summary: StudySummary) -> dict[str, Accuracy]:
    recalls = {name: each["recall"] for name, each in summary.by_class.items()}
    return {name: each for name, each in recalls.items() if each is not None}
