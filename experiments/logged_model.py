"""An engine as an MLflow model, which can be served: one a run, whole, and READY."""

import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.mlflow_store import global_address, one_sentence
from slicing.errors import InputError
from slicing.files import temporary_files_in

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

    from slicing.data.preparation import Preparation

# What every engine needs to classify.
_LIBRARIES = (
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

# What MLflow shows beside the model. Its signature can hold one type, and MLflow refuses others
# before the engine sees them; JSON's numbers it converts.
_PIXELS = (
    "float32 from 0 to 1 of shape (n, height, width, channels); in Python, divide uint8 from 0 to "
    "255 by np.float32(255), and convert others by astype(np.float32)"
)

_HERE = Path(__file__).resolve().parent
_CODE, _PACKAGE = _HERE / "model_code.py", _HERE.parent / "slicing"


def log_engine(
    client: "MlflowClient",
    run_id: str,
    experiment_id: str,
    path: Path,
    input_shape: tuple[int, int, int],
    libraries: Sequence[str] = (),
    preparation: "Preparation | None" = None,
) -> str:
    """Log an engine's file as the model ``engine`` of a run, unless it has it already.

    It is logged as code, ``model_code.py`` and the package ``slicing``, and the file itself:
    nothing is pickled. A model of the run that is not READY, or lacks files, is what a process
    left that ended meanwhile: it is deleted, and logged again. MLflow's temporary files are beside
    the engine's.

    Parameters
    ----------
    client : MlflowClient
    run_id, experiment_id : str
        The run, and the experiment that it is in.
    path : Path
    input_shape : (int, int, int)
        Height, width and channels of an image.
    libraries : sequence of str
        What this engine needs besides.
    preparation : Preparation, optional
        How files become such images; MLflow shows it beside the model.

    Returns
    -------
    str
        The model's id.

    Raises
    ------
    InputError
        Where MLflow does not take it.
    """
    with one_sentence(f"The engine is in {path}."):
        models = _models_of(client, run_id, experiment_id)
        whole = [model for model in models if _is_whole(client, model, path)]
        for model in models:
            if model not in whole[:1]:
                client.delete_logged_model(model.model_id)
        if not whole:
            _log(client, run_id, experiment_id, path, input_shape, libraries, preparation)
            models = _models_of(client, run_id, experiment_id)
            whole = [model for model in models if _is_whole(client, model, path)]
            if not whole:
                raise InputError(
                    "MLflow has not stored the whole model: look for what its server reports, and "
                    f"try again. The engine is in {path}."
                )
    return str(whole[0].model_id)


def _models_of(client: "MlflowClient", run_id: str, experiment_id: str) -> "list[LoggedModel]":
    """List the models of a run, those that a killed process had not yet linked to it, too."""
    return list(client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"))


def _is_whole(client: "MlflowClient", model: "LoggedModel", path: Path) -> bool:
    """Whether a model is READY and has all that the engine needs."""
    if model.status != "READY":
        return False
    found, folders = dict[str, int | None](), list[str | None]([None])
    while folders:
        for each in client.list_logged_model_artifacts(model.model_id, folders.pop()):
            if each.is_dir:
                folders.append(each.path)
            else:
                found[each.path] = each.file_size
    sources = [source for source in _PACKAGE.rglob("*") if "__pycache__" not in source.parts]
    wanted = {
        f"artifacts/{path.name}": path,
        _CODE.name: _CODE,
        **{
            f"code/{source.relative_to(_PACKAGE.parent).as_posix()}": source
            for source in sources
            if source.is_file()
        },
    }
    others = ("MLmodel", "requirements.txt")
    return all(found.get(name) == file.stat().st_size for name, file in wanted.items()) and all(
        found.get(name) for name in others
    )


def _log(
    client: "MlflowClient",
    run_id: str,
    experiment_id: str,
    path: Path,
    input_shape: tuple[int, int, int],
    libraries: Sequence[str],
    preparation: "Preparation | None",
) -> None:
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    signature = ModelSignature(
        Schema([TensorSpec(np.dtype(np.float32), (-1, *input_shape))]),
        Schema([TensorSpec(np.dtype(str), (-1,))]),
        ParamSchema([ParamSpec(name, "boolean", default=False) for name in ("proba", "evidence")]),
    )
    with (
        global_address(client.tracking_uri),
        warnings.catch_warnings(),
        temporary_files_in(path.parent),
    ):
        # It recommends an input example, which would be an image in JSON.
        warnings.simplefilter("ignore", UserWarning)
        # Models belong to an experiment, by default to another than their run's.
        mlflow.set_experiment(experiment_id=experiment_id)
        Model.log(
            None,
            mlflow.pyfunc,
            run_id=run_id,
            name="engine",
            python_model=str(_CODE),
            artifacts={"engine": str(path)},
            code_paths=[str(_PACKAGE)],
            signature=signature,
            metadata={"pixels": _PIXELS, **({"files": preparation.recipe} if preparation else {})},
            pip_requirements=[f"{name}=={version(name)}" for name in (*_LIBRARIES, *libraries)],
        )
