"""The MLflow model of an engine or a system, as the code that MLflow stores beside it and runs.

It is a script, not to be imported: it tells MLflow at its end which model it is.
"""

from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from slicing.adaptive import load
from slicing.errors import InputError


class EngineModel(PythonModel):
    """Classifies images of shape (n, height, width, channels), float32, pixels in [0, 1].

    Others are refused: in JSON, numbers of 0 to 255 are no uint8, but floats. In Python MLflow
    takes no other type than that of the signature, float32, though the engine itself would: divide
    uint8 by ``np.float32(255)``.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the engine, and compile what answers: a server is ready when it is fast."""
        self._engine = load(context.artifacts["engine"])
        # Few images are compared by other code than many.
        for n in (1, 100):
            images = np.zeros((n, *self._engine.input_shape), np.float32)
            self._engine.predict(images)
            self._engine.evidence(images)

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,  # MLflow knows no other type of array
        params: dict[str, Any] | None = None,
    ) -> Any:
        """Give the names of the classes.

        With ``proba`` it gives each one's share of the votes instead; with ``evidence`` a record
        for each image: ``class``, ``confidence`` and ``outlier`` (None where the engine gives none,
        and no confidence for an outlier), ``share`` of the votes, ``distance`` and ``margin``, see
        :class:`slicing.engine.evidence.Evidence`.
        """
        params = params or {}
        try:
            if params.get("evidence"):
                return self._records(model_input)
            if params.get("proba"):
                return self._engine.predict_proba(model_input)
            return self._engine.predict(model_input)
        except InputError as error:
            # A server answers it with HTTP 400, and anything else with a traceback.
            raise MlflowException.invalid_parameter_value(str(error)) from error

    def _records(self, images: np.ndarray) -> list[dict[str, Any]]:
        found = self._engine.evidence(images)
        columns = (
            np.array(self._engine.classes)[found.labels],
            found.shares.max(axis=1),
            found.distances,
            found.margins,
        )
        rows = zip(found.certainties(), *(column.tolist() for column in columns), strict=True)
        return [
            {
                "class": name,
                "confidence": confidence,
                "outlier": is_outlier,
                "share": share,
                "distance": distance,
                "margin": margin,
            }
            for (confidence, is_outlier), name, share, distance, margin in rows
        ]


set_model(EngineModel())
