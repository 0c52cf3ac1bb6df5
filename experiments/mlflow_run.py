"""Log to MLflow: every experiment is a run there, even if it fails."""

import json
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evolve.events import BlockEnd, Event
from experiments.dead_runs import PROCESS, this_process
from experiments.mlflow_store import PARENT, connect, gist, one_sentence
from experiments.monitor import Silent
from slicing.data.dataset import Images
from slicing.errors import InputError
from slicing.names import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Dataset, Metric, Run

    from slicing.data.preparation import Preparation

log = logging.getLogger(__name__)

# A call to the store takes about 20 ms, for one point or hundreds, so points are collected for some
# seconds. A call takes up to 1000 metrics or 100 parameters.
_SECONDS, _BATCH, _PARAMETERS = 5.0, 1000, 100
# Seconds before a store that did not answer is asked again, and that a run which ends early waits.
_PATIENCE, _LAST_WAIT = 60.0, 10.0
# Characters of a dataset's name that MLflow takes, and of its digest that tell datasets apart.
_DATASET_NAME, _DIGEST = 500, 8


class MLflowRun(Silent):
    """A monitor that logs to one MLflow run.

    The run begins in the background: importing MLflow and opening its store take seconds, in which
    the baseline can be trained. :meth:`ready` waits for it.

    Parameters
    ----------
    uri, experiment
        See :func:`experiments.mlflow_store.connect`.
    model : bool
        Whether :meth:`log_engine` does anything.
    parent : str, optional
        The run under which the UI shows this one.
    """

    def __init__(
        self,
        uri: str | None,
        experiment: str | None,
        model: bool = True,
        parent: str | None = None,
    ) -> None:
        self._uri, self._experiment = uri, experiment
        self._parent = parent
        self._logs_model = model
        self._client: MlflowClient
        self._experiment_id = ""
        self._run_id = ""  # until it begins
        self._beginning: threading.Thread | None = None
        self._trouble: BaseException | None = None
        self._metrics: list[Metric] = []
        self._next_flush = float("inf")  # until it begins
        self._last_steps: dict[str, int] = {}
        self._generations = 0

    @property
    def run_id(self) -> str:
        """The run's name within MLflow; empty before it begins."""
        return self._run_id

    def begin(
        self,
        name: str,
        parameters: Mapping[str, object],
        tags: Mapping[str, object],
        begun: Callable[[str], None] = lambda run_id: None,
        earlier: str | None = None,
        first: Path | None = None,
    ) -> None:
        """Begin the run in the background, with its parameters and tags, or resume an earlier one.

        Of a metric's steps, those that the earlier one already has are not logged again. Where the
        store has it no more, or the store is another one, a new run is begun, with a warning.

        Parameters
        ----------
        name : str
        parameters, tags : mapping of str to object
        begun : callable, optional
            Is given the run's id as soon as there is one, in another thread.
        earlier : str, optional
            Id of the run that an earlier process began.
        first : Path, optional
            A file that is sent at once: a store that takes no files is known before hours of work.
        """
        # Its database takes no bytes that are not UTF-8, which paths may hold.
        texts = {PROCESS: this_process(), **{key: shown(value) for key, value in tags.items()}}

        def create() -> None:
            from mlflow.entities import Param

            if self._parent:
                texts[PARENT] = self._parent
            entries = [Param(key, shown(value)) for key, value in parameters.items()]
            with one_sentence("Try again when it does."):
                run = self._client.create_run(self._experiment_id, run_name=name, tags=texts)
                self._run_id = run.info.run_id
                begun(self._run_id)
                for start in range(0, len(entries), _PARAMETERS):
                    batch = entries[start : start + _PARAMETERS]
                    self._client.log_batch(self._run_id, params=batch)

        def reopen(run: "Run") -> None:
            run_id = run.info.run_id
            with one_sentence("Try again when it does."):
                for key in run.data.metrics:
                    history = self._client.get_metric_history(run_id, key)
                    self._last_steps[key] = max(each.step for each in history)
                # First its process: a run without one that lives is taken for dead.
                for key, text in texts.items():
                    self._client.set_tag(run_id, key, text)
                self._client.update_run(run_id, status="RUNNING")
            self._run_id = run_id
            begun(run_id)

        def work() -> None:
            try:
                self._client, self._experiment_id = connect(self._uri, self._experiment)
                found = self._find(earlier) if earlier else None
                if earlier and not found:
                    log.warning("MLflow has no run %s here any more: a new one begins.", earlier)
                if found:
                    reopen(found)
                else:
                    create()
                if first is not None:
                    self._send(first, "Try again when it does.")
                self._next_flush = time.monotonic() + _SECONDS
            except BaseException as error:  # ready() raises it, in the thread that waits
                self._trouble = error

        self._beginning = threading.Thread(target=work, daemon=True)
        self._beginning.start()

    def _send(self, path: Path, way_out: str) -> None:
        """Send a file of the run's folder."""
        with one_sentence(way_out):
            try:
                self._client.log_artifact(self._run_id, str(path))
            except ImportError as error:
                raise InputError(
                    f"MLflow cannot send files there ({gist(error)}): install what it needs. "
                    f"{way_out}"
                ) from error

    def _find(self, run_id: str) -> "Run | None":
        """Look a run up in the experiment; None where it is not there, or was deleted."""
        from mlflow.exceptions import MlflowException

        with one_sentence("Try again when it does."):
            try:
                run = self._client.get_run(run_id)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return None
        info = run.info
        is_here = (info.lifecycle_stage, info.experiment_id) == ("active", self._experiment_id)
        return run if is_here else None

    def ready(self) -> None:
        """Wait until the run has begun.

        Raises
        ------
        InputError
            Where there is no store, or MLflow does not take the run.
        """
        if self._beginning is not None:
            self._beginning.join()
        if self._trouble is not None:
            raise self._trouble

    def event(self, event: Event) -> None:
        """See :meth:`.Monitor.event`: metrics of each generation and block, under a step each."""
        if isinstance(event, BlockEnd):
            accepted = float(event.accepted)
            metrics = {"block/loss": event.loss_after, "block/accepted": accepted}
            self.log(metrics, event.block_number)
            return
        self._generations += 1
        metrics = {
            "evolve/best_loss": event.best_loss,
            "evolve/mean_loss": event.mean_loss,
            "evolve/sigma": event.sigma,
            "evolve/evaluations": event.evaluations,
        } | {f"evolve/{name}": float(count) for name, count in event.counts.items()}
        self.log(metrics, self._generations)

    def log(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics; they reach MLflow within seconds, or later if it does not answer now.

        Parameters
        ----------
        metrics : mapping of str to float
        step : int, optional
            None for what has no steps.
        """
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException

        now = int(time.time() * 1000)
        self._metrics += [
            Metric(key, float(value), now, step or 0)
            for key, value in metrics.items()
            if step is None or step > self._last_steps.get(key, -1)
        ]
        if time.monotonic() < self._next_flush:
            return
        self._next_flush = time.monotonic() + _SECONDS
        try:
            self._flush()
        except MlflowException as error:
            log.warning("MLflow does not answer, more later: %s", gist(error))
            self._next_flush = time.monotonic() + _PATIENCE

    def log_images(self, name: str, images: Images, context: str, way_out: str) -> "Dataset":
        """Record images as a dataset of the run: their number, form and digest, not the pixels.

        Parameters
        ----------
        name : str
            Of the dataset.
        images : Images
        context : str
            What MLflow shows them to be for: ``training`` or ``testing``.
        way_out : str
            What to do where MLflow does not take it.

        Returns
        -------
        mlflow.entities.Dataset
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        n, *shape = images.images.shape
        profile = {"images": n, "height, width, channels": shape, "sha256": images.digest}
        source = {"tags": {"mlflow.source.name": name}}
        dataset = Dataset(
            shown(name)[:_DATASET_NAME], images.digest[:_DIGEST], "code", json.dumps(source),
            profile=json.dumps(profile),
        )  # fmt: skip
        tags = [InputTag("mlflow.data.context", context)]
        inputs = [DatasetInput(dataset, tags)]
        with one_sentence(way_out):
            try:
                self._client.log_inputs(self._run_id, inputs)
            except MlflowException:
                # Another run may have registered the same dataset at the same moment.
                self._client.log_inputs(self._run_id, inputs)
        return dataset

    def log_engine(
        self,
        path: Path,
        input_shape: tuple[int, int, int],
        libraries: Sequence[str],
        preparation: "Preparation | None",
        metrics: Mapping[str, float],
        dataset: "Dataset",
    ) -> str | None:
        """Log the engine as a model, with figures that MLflow's list of models shows by itself.

        Parameters
        ----------
        path, input_shape, libraries, preparation
            See :func:`experiments.logged_model.log_engine`.
        metrics : mapping of str to float
        dataset : mlflow.entities.Dataset
            On which they were measured.

        Returns
        -------
        str or None
            The model's id; None where no model is wanted.
        """
        if not self._logs_model:
            return None
        # Here, not above: nothing else needs it.
        from mlflow.entities import Metric

        from experiments.logged_model import log_engine

        model = log_engine(
            self._client,
            self._run_id,
            self._experiment_id,
            path,
            input_shape,
            libraries,
            preparation,
        )
        now = int(time.time() * 1000)
        self._metrics += [
            Metric(key, value, now, 0, model, dataset.name, dataset.digest)
            for key, value in metrics.items()
        ]
        return model

    def finish(
        self, folder: Path, files: Iterable[str], note: str, interrupted: bool = False
    ) -> None:
        """End the run: send the remaining metrics, a note, and the files of a folder.

        Parameters
        ----------
        folder : Path
        files : iterable of str
            Those of its files that become artifacts, if they are there.
        note : str
            What MLflow shows as the run's description, in Markdown.
        interrupted : bool
            Whether the user ended it early.

        Raises
        ------
        InputError
            Where MLflow does not take everything.
        """
        status = "interrupted" if interrupted else "finished"
        way_out = f"All results are in {folder}."
        with one_sentence(way_out):
            self._flush()
            self._client.set_tag(self._run_id, "mlflow.note.content", note)
            self._client.set_tag(self._run_id, "status", status)
            # By name: the folder may be one of the user's own.
            for path in (folder / name for name in files):
                if path.is_file():
                    self._send(path, way_out)
            self._client.set_terminated(self._run_id, "KILLED" if interrupted else "FINISHED")
        self._run_id = ""

    def abandon(self, status: str) -> None:
        """Mark a run that has begun and not finished as ``FAILED`` or ``KILLED``."""
        if self._beginning is not None:
            # A store that does not answer, or is slow to import, is not waited for.
            self._beginning.join(_LAST_WAIT)
        if self._run_id:
            from mlflow.exceptions import MlflowException

            with suppress(MlflowException):
                self._flush()
                self._client.set_tag(self._run_id, "status", status.lower())
                self._client.set_terminated(self._run_id, status)
            self._run_id = ""

    def _flush(self) -> None:
        while self._metrics:
            self._client.log_batch(self._run_id, metrics=self._metrics[:_BATCH])
            del self._metrics[:_BATCH]


def leaves(config: Mapping[str, Any], owner: str = "") -> dict[str, object]:
    """Flatten a nested configuration: every value with its dotted name."""
    found: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            found |= leaves(value, f"{owner}{key}.")
        else:
            found[f"{owner}{key}"] = value
    return found
