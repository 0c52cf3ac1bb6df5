"""A study in MLflow: a parent run, and one child for each of its trials."""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from evolve.trials.results import TRIED, Finished
from experiments.mlflow_run import MLflowRun, leaves
from experiments.mlflow_store import OVERRIDES
from experiments.secrets import masked_values
from experiments.study.engines import folder_of
from experiments.study.trial import words_of
from slicing.errors import InputError

log = logging.getLogger(__name__)

# Of the folder of a trial, what MLflow gets.
_FILES = ("history.csv", "blocks.csv", "events.jsonl")


# Of each epoch, in the order of the fields of Epoch.
_CURVES = (
    *("baseline/loss", "baseline/accuracy"),
    *("baseline/choice_loss", "baseline/choice_accuracy"),
)


class StudyRecord:
    """Logs a study to MLflow, beside the search.

    Parameters
    ----------
    tracking : mapping of str to object
        Options of the group ``tracking``.
    folder : Path
        Of the study.
    """

    def __init__(self, tracking: Mapping[str, Any], folder: Path) -> None:
        self._tracking = {**tracking, "model": False}
        self._folder = folder
        self._parent = MLflowRun(**self._tracking)
        # One thread: trials are logged in their order, and none waits for MLflow.
        self._queue = ThreadPoolExecutor(1)
        self._trouble: InputError | None = None

    @property
    def run_id(self) -> str:
        """The parent's name within MLflow; empty before it begins."""
        return self._parent.run_id

    def begin(
        self,
        name: str,
        options: Mapping[str, Any],
        tags: Mapping[str, object],
        begun: Callable[[str], None],
        earlier: str | None,
    ) -> None:
        """Begin the parent run in the background, or go on with an earlier one."""
        self._parent.begin(name, leaves(masked_values(dict(options))), tags, begun, earlier)

    def ready(self) -> None:
        """Wait until the parent run has begun; see :meth:`.MLflowRun.ready`."""
        self._parent.ready()

    def trial(self, each: Finished, best: float | None) -> None:
        """Log a trial that has ended, and the best accuracy so far."""
        self._queue.submit(self._log, each, best)

    def _log(self, each: Finished, best: float | None) -> None:
        if self._trouble is not None:
            return
        try:
            self._parent.ready()
            child = MLflowRun(**{**self._tracking, "parent": self._parent.run_id})
            tags = {
                OVERRIDES: " ".join(words_of(each.options)),
                "trial": each.number,
                "family": each.family,
                "rung": each.rung,
                "status": each.status,
                "folder": folder_of(self._folder, each.number),
            }
            child.begin(f"trial-{each.number}-{each.family}", each.options, tags)
            child.ready()
            if each.status == TRIED:
                child.log({f"choice/{name}": value for name, value in each.metrics.items()})
                for step, epoch in enumerate(each.details["training"], 1):
                    named = zip(_CURVES, epoch, strict=False)
                    child.log({name: value for name, value in named if value is not None}, step)
                child.finish(folder_of(self._folder, each.number), _FILES, "")
            else:
                child.abandon("FAILED")
            if best is not None:
                self._parent.log({"best/accuracy": best}, each.number)
        except InputError as error:
            # The study goes on, and says it at its end.
            self._trouble = error
            log.warning("MLflow does not take the trials: %s", error)

    def finish(
        self, metrics: Mapping[str, float], files: tuple[str, ...], note: str, interrupted: bool
    ) -> None:
        """End the parent run.

        Raises
        ------
        InputError
            Where MLflow has not taken everything.
        """
        self._queue.shutdown()
        if self._trouble is not None:
            raise self._trouble
        self._parent.ready()
        self._parent.log(metrics)
        self._parent.finish(self._folder, files, note, interrupted)

    def abandon(self, status: str) -> None:
        """Mark a parent run that has begun and not finished as ``FAILED`` or ``KILLED``."""
        self._queue.shutdown(cancel_futures=True)
        self._parent.abandon(status)
