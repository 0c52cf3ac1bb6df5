"""The MLflow model of an engine, as the code that MLflow stores beside it and runs.

It is a script, not to be imported: it tells MLflow at its end which model it is.
"""

from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from slicing.engine.engine import Engine
from slicing.errors import InputError


class EngineModel(PythonModel):
    """Classifies images of shape (n, height, width, channels), float32, pixels in [0, 1].

    Others are refused: in JSON, numbers of 0 to 255 are no uint8, but floats.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the engine."""
        self._engine = Engine.load(context.artifacts["engine"])

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,  # MLflow knows no other type of array
        params: dict[str, Any] | None = None,
    ) -> Any:
        """Give the names of the classes, or each one's share of the votes with ``proba``."""
        try:
            if params and params["proba"]:
                return self._engine.predict_proba(model_input)
            return self._engine.predict(model_input)
        except InputError as error:
            # A server answers it with HTTP 400, and anything else with a traceback.
            raise MlflowException.invalid_parameter_value(str(error)) from error


set_model(EngineModel())
