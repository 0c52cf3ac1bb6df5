"""Parent MLflow runs: one for a sweep, one for a paper table."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean, stdev
from types import TracebackType
from typing import TYPE_CHECKING

from experiments.console import say
from experiments.dead_runs import PROCESS, this_process
from experiments.mlflow_store import OVERRIDES, PARENT, connect, one_sentence
from experiments.tables import table
from slicing.errors import InputError

if TYPE_CHECKING:
    from mlflow.entities import Run

_KEY = "parent_of"

# Metrics of each child in the note of a parent, and how they are written.
_METRICS = {
    "baseline": ("baseline/test_accuracy", "{:.2%}"),
    "not evolved": ("sliced/test_accuracy", "{:.2%}"),
    "evolved": ("evolved/test_accuracy", "{:.2%}"),
    "loss after": ("evolved/loss", "{:.4f}"),
    "engine bytes": ("engine/total_bytes", "{:,.0f}"),
    "test images": ("test/images", "{:,.0f}"),
}
# Those of them whose mean over seeds is shown.
_AVERAGED = ("baseline", "not evolved", "evolved", "loss after")
# Most runs of one query to MLflow; most characters of a name, and of a note, which MLflow would
# cut in the middle of a line.
_MOST, _NAME, _NOTE = 1000, 250, 7900


class ParentRun:
    """A run that groups others, open during its ``with`` statement.

    At the end it gets a note, which by default is a table of its children. Where it ends with an
    error before it has any, it is deleted.

    Parameters
    ----------
    uri : str or None
        See :func:`experiments.mlflow_store.connect`.
    experiment : str or None
        That of its children.
    name : str
        What the UI calls it.
    key : str, optional
        Identifies it: an existing parent of the same key is reopened.

    Raises
    ------
    InputError
        Where MLflow does not take it.
    """

    def __init__(
        self, uri: str | None, experiment: str | None, name: str, key: str | None = None
    ) -> None:
        self._client, self._experiment_id = connect(uri, experiment)
        with one_sentence("Try again when it does."):
            known = self._find(f"tags.{_KEY} = '{key}'") if key else []
            if known:
                self.run_id = known[0].info.run_id
                self._client.set_tag(self.run_id, PROCESS, this_process())
                self._client.update_run(self.run_id, status="RUNNING")
            else:
                tags = {_KEY: key or name, PROCESS: this_process()}
                run = self._client.create_run(self._experiment_id, run_name=name[:_NAME], tags=tags)
                self.run_id = run.info.run_id
        self._note: str | None = None
        self._files: tuple[Path, ...] = ()

    def __enter__(self) -> "ParentRun":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        status = "FINISHED" if kind is None else "FAILED"
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            status = "KILLED"
        try:
            self._finish(status)
        except InputError as trouble:
            if error is None:
                raise
            # It is not what ended the runs.
            say(str(trouble))

    @property
    def override(self) -> str:
        """The override that makes a run a child of this one."""
        return f"tracking.parent={self.run_id}"

    def describe(self, note: str, files: Iterable[Path]) -> None:
        """Give it another note at its end, in Markdown, and files as artifacts."""
        self._note, self._files = note, tuple(files)

    def _finish(self, status: str) -> None:
        with one_sentence("The runs themselves are there."):
            if status != "FINISHED" and not self._of_children():
                self._client.delete_run(self.run_id)
                return
            note = self._table() if self._note is None else self._note
            self._client.log_text(self.run_id, note, "summary.md")
            for path in self._files:
                self._client.log_artifact(self.run_id, str(path))
            if len(note) > _NOTE:
                note = note[:_NOTE].rpartition("\n")[0] + "\n\nAll of it is in summary.md."
            self._client.set_tag(self.run_id, "mlflow.note.content", note)
            self._client.set_terminated(self.run_id, status)

    def _find(self, condition: str) -> "list[Run]":
        """Find runs of the experiment, the oldest first."""
        found = self._client.search_runs(
            [self._experiment_id], condition, max_results=_MOST, order_by=["start_time ASC"]
        )
        return list(found)

    def _of_children(self) -> "list[Run]":
        return self._find(f"tags.`{PARENT}` = '{self.run_id}'")

    def table(self) -> str:
        """Set the figures and folders of its children in a table; nothing where it has none.

        Raises
        ------
        InputError
            Where MLflow does not give them.
        """
        with one_sentence("The runs themselves are there."):
            return self._table() if self._of_children() else ""

    def _table(self) -> str:
        """Set their figures in a table, with the options in which they differ."""
        runs = self._of_children()
        lines = [run.data.tags.get(OVERRIDES, "").split() for run in runs]
        common = set.intersection(*map(set, lines)) if lines else set()
        own = [[word for word in words if word not in common] for words in lines]
        body = [
            [
                run.info.run_name,
                " ".join(words),
                run.data.tags.get("status", "-"),
                *(_written(name, _values([run], name)) for name in _METRICS),
                run.data.tags.get("folder", "-"),
            ]
            for run, words in zip(runs, own, strict=True)
        ]
        each = table(["run", "options", "status", *_METRICS, "folder"], body)
        return "\n".join([*each, *_over_seeds(runs, own)])


def _over_seeds(runs: "Sequence[Run]", options: Sequence[Sequence[str]]) -> list[str]:
    """Set the means of runs that differ in the seed alone in a table; nothing without such."""
    groups: dict[str, list[Run]] = {}
    for run, words in zip(runs, options, strict=True):
        if run.info.status == "FINISHED":
            others = " ".join(word for word in words if not word.startswith("seed="))
            groups.setdefault(others, []).append(run)
    body = [
        [
            others or "-",
            str(len(same)),
            *(_written(name, _values(same, name)) for name in _AVERAGED),
        ]
        for others, same in groups.items()
        if len(same) > 1
    ]
    if not body:
        return []
    words = "The mean over seeds, and the standard deviation of a run:"
    return ["", words, "", *table(["options", "runs", *_AVERAGED], body)]


def _values(runs: "Iterable[Run]", name: str) -> list[float]:
    metric, _ = _METRICS[name]
    return [run.data.metrics[metric] for run in runs if metric in run.data.metrics]


def _written(name: str, values: Sequence[float]) -> str:
    """Write a value, or the mean of several and their standard deviation; a dash for none."""
    if not values:
        return "-"
    form = _METRICS[name][1].format
    return form(mean(values)) + (f" ± {form(stdev(values))}" if len(values) > 1 else "")
