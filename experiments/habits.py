"""What people write out of habit, and the options that do it here."""

import re

OPTIONS = {
    "seed": ("random_state", "random_seed", "manual_seed"),
    "name": ("run_name",),
    "threads": ("n_threads", "num_threads", "cpus", "cores"),
    "resume": ("checkpoint", "ckpt", "resume_from"),
    "data": ("dataset", "dataset_name"),
    "data.directory": ("data_dir", "data_path", "data_root", "folder", "root"),
    "baseline": ("model", "network", "net", "arch", "backbone"),
    "baseline.epochs": ("epoch", "n_epochs", "num_epochs", "max_epochs"),
    "baseline.learning_rate": ("lr", "alpha", "eta"),
    "baseline.batch_size": ("batch", "bs", "batchsize"),
    "slicing.k": ("n_neighbors", "num_neighbors", "knn", "k"),
    "slicing.metric": ("distance",),
    "optimizer.population": ("popsize", "pop_size", "population_size", "n_particles"),
    "strategy.generations": ("iterations", "max_iter", "n_iter", "steps", "n_generations"),
    "strategy.step": ("sigma", "sigma0", "step_size"),
    "strategy.max_evaluations": ("budget", "max_evals", "max_fevals"),
    "strategy.max_seconds": ("timeout", "max_time", "time_limit"),
    "executor.workers": ("n_jobs", "num_workers", "jobs", "n_workers"),
    "tracking.uri": ("mlflow_uri", "tracking_uri", "mlflow_tracking_uri"),
    "tracking.experiment": ("experiment_name", "mlflow_experiment"),
    "hydra.run.dir": ("output", "output_dir", "out", "outdir", "save_dir", "log_dir"),
}
_BY_HABIT = {habit: option for option, habits in OPTIONS.items() for habit in habits}

# What has no option, and why.
_PROCESSOR = "all but TensorFlow's part computes on the processor, on threads=... of its cores."
_NOWHERE = dict.fromkeys(("gpu", "gpus", "device", "cuda", "accelerator"), _PROCESSOR)

# Families of keras.applications.
_PRETRAINED = (
    "resnet", "vgg", "densenet", "inception", "xception", "mobilenet", "nasnet", "convnext",
    "efficientnet",
)  # fmt: skip

_GRADIENT = {"adam", "adamw", "adamax", "nadam", "sgd", "rmsprop", "adagrad", "lion", "lbfgs"}


def advice(name: str) -> str | None:
    """Say what an option is called here, as the end of a sentence; None where nobody knows.

    Parameters
    ----------
    name : str
        As it was written, perhaps with a group before a dot.
    """
    habit = name.rpartition(".")[2].lower().replace("-", "_")
    if habit in _NOWHERE:
        return _NOWHERE[habit]
    return f"did you mean {_BY_HABIT[habit]}?" if habit in _BY_HABIT else None


def advice_on_value(group: str, value: str, options: list[str]) -> str | None:
    """Do the same for the option of a group."""
    if group == "data" and re.search(r"[/.~]", value):
        return f"write data=folder data.directory={value}."
    if group == "baseline" and value.lower().startswith(_PRETRAINED):
        return (
            "pretrained networks are baseline=efficientnet_lite0, _lite1, _lite2, and "
            "baseline=application baseline.name=MobileNetV2, or another of keras.applications."
        )
    if group == "optimizer" and value.lower() in _GRADIENT:
        return (
            f"these optimizers evolve kernels without gradients, choose one of "
            f"{', '.join(options)}. The CNN is trained by Adam at baseline.learning_rate."
        )
    return None
