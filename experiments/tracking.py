"""Log to MLflow: every experiment is a run there, even if it fails."""

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evolve.events import BlockEnd
from experiments.dead_runs import PROCESS, this_process
from experiments.history import Event
from experiments.mlflow_store import PARENT, connect, gist, global_address, one_sentence
from experiments.monitor import Silent

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

log = logging.getLogger(__name__)

# What an engine needs to classify.
_ENGINE_LIBRARIES = (
    "lazy-loader",
    "mlflow",
    "numba",
    "numpy",
    "pillow",
    "platformdirs",
    "safetensors",
    "scipy",
    "threadpoolctl",
)

_HERE = Path(__file__).resolve().parent

# A call to the store takes about 20 ms, for one point or hundreds, so points are collected for some
# seconds. A call takes up to 1000 metrics or 100 parameters.
_SECONDS, _BATCH, _PARAMETERS = 5.0, 1000, 100
# Seconds before a store that did not answer is asked again, and that a run which ends early waits.
_PATIENCE, _LAST_WAIT = 60.0, 10.0


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
    ) -> None:
        """Begin the run in the background, with its parameters and tags.

        Parameters
        ----------
        name : str
        parameters, tags : mapping of str to object
        begun : callable, optional
            Is given the run's id as soon as there is one, in another thread.
        """

        def create() -> None:
            from mlflow.entities import Param

            texts = {PROCESS: this_process(), **{key: str(value) for key, value in tags.items()}}
            if self._parent:
                texts[PARENT] = self._parent
            entries = [Param(key, str(value)) for key, value in parameters.items()]
            with one_sentence("Try again when it does."):
                run = self._client.create_run(self._experiment_id, run_name=name, tags=texts)
                self._run_id = run.info.run_id
                begun(self._run_id)
                for start in range(0, len(entries), _PARAMETERS):
                    batch = entries[start : start + _PARAMETERS]
                    self._client.log_batch(self._run_id, params=batch)

        self._in_background(create)

    def resume(self, run_id: str, tags: Mapping[str, object]) -> None:
        """Resume, in the background, a run that an earlier process began, with these tags.

        Of a metric's steps, those that the run already has are not logged again.
        """

        def reopen() -> None:
            with one_sentence("Resume it in the folder or with the server where it started."):
                run = self._client.get_run(run_id)
                for key in run.data.metrics:
                    history = self._client.get_metric_history(run_id, key)
                    self._last_steps[key] = max(each.step for each in history)
                # First its process: a run without one that lives is taken for dead.
                for key, value in {PROCESS: this_process(), **tags}.items():
                    self._client.set_tag(run_id, key, str(value))
                self._client.update_run(run_id, status="RUNNING")
            self._run_id = run_id

        self._in_background(reopen)

    def ready(self) -> None:
        """Wait until the run has begun.

        Raises
        ------
        InputError
            Where there is no store, where MLflow does not take the run, or where the run that was
            to be resumed is not there any more.
        """
        if self._beginning is not None:
            self._beginning.join()
        if self._trouble is not None:
            raise self._trouble

    def _in_background(self, start: Callable[[], None]) -> None:
        def work() -> None:
            try:
                self._client, self._experiment_id = connect(self._uri, self._experiment)
                start()
                self._next_flush = time.monotonic() + _SECONDS
            except BaseException as error:  # ready() raises it, in the thread that waits
                self._trouble = error

        self._beginning = threading.Thread(target=work, daemon=True)
        self._beginning.start()

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

    def log_engine(self, path: Path, input_shape: tuple[int, int, int]) -> None:
        """Log an engine's file as an MLflow model named ``engine``, which can be served.

        It is logged as code, ``model_code.py`` and the package ``slicing``, and the file itself:
        nothing is pickled.

        Parameters
        ----------
        path : Path
        input_shape : (int, int, int)
            Height, width and channels of an image.

        Raises
        ------
        InputError
            Where MLflow does not take it.
        """
        if not self._logs_model:
            return
        with one_sentence(f"The engine is in {path}."):
            outputs = self._client.get_run(self._run_id).outputs
        if outputs is not None and outputs.model_outputs:
            return  # an earlier process has logged it
        import mlflow
        from mlflow.models import Model, ModelSignature
        from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

        signature = ModelSignature(
            Schema([TensorSpec(np.dtype(np.float32), (-1, *input_shape))]),
            Schema([TensorSpec(np.dtype(str), (-1,))]),
            ParamSchema([ParamSpec("proba", "boolean", default=False)]),
        )
        with (
            one_sentence(f"The engine is in {path}."),
            global_address(self._client.tracking_uri),
            warnings.catch_warnings(),
        ):
            # It recommends an input example, which would be an image in JSON.
            warnings.simplefilter("ignore", UserWarning)
            # Models belong to an experiment, by default to another than their run's.
            mlflow.set_experiment(experiment_id=self._experiment_id)
            Model.log(
                None,
                mlflow.pyfunc,
                run_id=self._run_id,
                name="engine",
                python_model=str(_HERE / "model_code.py"),
                artifacts={"engine": str(path)},
                code_paths=[str(_HERE.parent / "slicing")],
                signature=signature,
                pip_requirements=[f"{name}=={version(name)}" for name in _ENGINE_LIBRARIES],
            )

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
        with one_sentence(f"All results are in {folder}."):
            self._flush()
            self._client.set_tag(self._run_id, "mlflow.note.content", note)
            self._client.set_tag(self._run_id, "status", status)
            # By name: the folder may be one of the user's own.
            for path in (folder / name for name in files):
                if path.is_file():
                    self._client.log_artifact(self._run_id, str(path))
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
