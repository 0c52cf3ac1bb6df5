"""The MLflow model of an engine, as the code that MLflow stores beside it and runs.

It is a script, not to be imported: it tells MLflow at its end which model it is.
"""

from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from slicing.engine.engine import Engine


class EngineModel(PythonModel):
    """Classifies images of shape (n, height, width, channels), pixels in [0, 1]."""

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
        images = np.asarray(model_input, np.float32)
        if params and params["proba"]:
            return self._engine.predict_proba(images)
        return self._engine.predict(images)


set_model(EngineModel())
