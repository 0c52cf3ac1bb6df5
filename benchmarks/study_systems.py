"""The systems that `benchmarks.study` compares a study with, each in a process of its own.

``python -m benchmarks.study_systems SYSTEM FOLDER DEADLINE SEED`` trains on the arrays in a folder,
saves the model, and then answers the test images: their labels are not in the folder. Each is used
as its own documentation recommends.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evolve.trials.space import Parameter, label
from experiments.environment import cores
from experiments.study.families import families
from slicing.backend import configure_threads, load_keras
from slicing.baselines.hog import hog
from slicing.baselines.layers import conv_part
from slicing.data.sampling import held_out
from slicing.pixels import unit_pixels

TRAIN, LABELS, TEST = "train.npy", "labels.npy", "test.npy"
ANSWERS, RESULT = "answers.npy", "result.json"
"""Files of the folder: what a system is given, and what it gives."""

# Part of the training images that judge networks, as in a study, and seconds for what comes after.
_CHOICE, _SAVING = 0.2, 3.0
_PATIENCE = 5
_FOLDS = 3
# Cells of histograms along a side, as in a study.
_CELLS = 7

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Given:
    """What a system may use.

    Attributes
    ----------
    folder : Path
        Where it may keep files.
    deadline : float
        When its model should be saved, in seconds since 1970.
    seed : int
    """

    folder: Path
    deadline: float
    seed: int

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.time()


class Model(NamedTuple):
    """What a system has found.

    Attributes
    ----------
    predict : callable
        From images of shape (n, height, width, channels), uint8, to labels of shape (n,).
    file : Path
        The saved model.
    found : float
        When its configuration was found, in seconds since 1970.
    """

    predict: Callable[[Pixels], NDArray[Any]]
    file: Path
    found: float


def flat(images: Pixels) -> NDArray[np.float32]:
    """Give pixels from 0 to 1, of shape (n, n_pixels)."""
    return unit_pixels(images).reshape(len(images), -1)


def histograms(images: Pixels) -> NDArray[np.float32]:
    """Give histograms of gradients, of shape (n, n_features)."""
    return hog(unit_pixels(images), _CELLS)


FEATURES = {"hog": histograms, "pixels": flat}
"""What classifiers of scikit-learn see."""


def candidates(seed: int) -> Iterator[tuple[str, Any]]:
    """Go through classifiers of scikit-learn, the quick ones first."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    for feature in FEATURES:
        yield feature, KNeighborsClassifier(3)
        yield feature, SVC(C=10.0)
    for feature in FEATURES:
        yield feature, make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
        yield feature, RandomForestClassifier(300, random_state=seed)
        yield feature, SVC(C=1.0)
        yield feature, SVC(C=100.0)
        yield feature, KNeighborsClassifier(1)
        yield feature, KNeighborsClassifier(9)
        yield feature, make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    for feature in FEATURES:
        yield feature, HistGradientBoostingClassifier(random_state=seed)


class _Judged(NamedTuple):
    """A candidate: its place, its accuracy in cross-validation, and how long that took."""

    place: int
    accuracy: float
    seconds: float


_images: Pixels
_labels: Labels


def _begin(folder: Path) -> None:
    """Let a worker read the images once."""
    global _images, _labels
    _images, _labels = np.load(folder / TRAIN), np.load(folder / LABELS)


def _judge(place: int, seed: int) -> _Judged:
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from threadpoolctl import threadpool_limits

    feature, model = [*candidates(seed)][place]
    start = time.time()
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    with threadpool_limits(1):
        scores = cross_val_score(model, FEATURES[feature](_images), _labels, cv=folds)
    return _Judged(place, float(scores.mean()), time.time() - start)


def scikit_learn(images: Pixels, labels: Labels, given: Given) -> Model:
    """Choose among classifiers by cross-validation, as many as there is time for."""
    import multiprocessing

    import joblib

    every = [*candidates(given.seed)]
    best, found = None, 0.0
    context = multiprocessing.get_context("spawn")
    with context.Pool(cores(), _begin, (given.folder,)) as pool:
        coming = pool.imap_unordered(partial(_judge, seed=given.seed), range(len(every)))
        for _ in every:
            # Training the best once more takes about as long as its folds, of two thirds each.
            reserve = _SAVING + (best.seconds if best else 0.0)
            try:
                judged = coming.next(None if best is None else max(0.0, given.left - reserve))
            except multiprocessing.TimeoutError:
                break
            if best is None or judged.accuracy > best.accuracy:
                best, found = judged, time.time()
    assert best is not None
    feature, model = every[best.place]
    model.fit(FEATURES[feature](images), labels)
    file = given.folder / "model.joblib"
    joblib.dump(model, file)
    return Model(lambda test: model.predict(FEATURES[feature](test)), file, found)


def flaml(images: Pixels, labels: Labels, given: Given) -> Model:
    """Let FLAML search on the pixels, with its own budget of time."""
    import joblib
    from flaml import AutoML

    automl, start = AutoML(), time.time()
    automl.fit(
        flat(images),
        labels,
        task="classification",
        metric="accuracy",
        time_budget=given.left,
        n_jobs=cores(),
        seed=given.seed,
        verbose=0,
    )
    file = given.folder / "model.joblib"
    joblib.dump(automl.model, file)
    found = start + float(automl.time_to_find_best_model)
    return Model(lambda test: automl.predict(flat(test)), file, found)


class _OverError(BaseException):
    """The time is over; not an Exception, which KerasTuner would take for a trial that failed."""


def keras_tuner(images: Pixels, labels: Labels, given: Given) -> Model:
    """Let Hyperband of KerasTuner search for a network among those of the family ``cnn``."""
    import keras_tuner as kt

    keras, found = load_keras(), [0.0, 0.0]
    configure_threads(None)
    keras.utils.set_random_seed(given.seed)
    (family,) = families(["cnn"])
    shape, n_classes = images.shape[1:], int(labels.max()) + 1

    class Small(kt.HyperModel):  # type: ignore[misc]
        def build(self, hp: Any) -> Any:
            values = family.values(lambda *each: drawn(hp, *each), {"files": False})
            return network(family.options(values, 0), shape, n_classes)

        def fit(self, hp: Any, model: Any, *args: Any, **options: Any) -> Any:
            return model.fit(*args, batch_size=hp.get("baseline.batch_size"), **options)

    class Watch(load_keras().callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if given.left < _SAVING:
                raise _OverError

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if logs["val_accuracy"] > found[0]:
                found[:] = logs["val_accuracy"], time.time()

    longest = max(each[-1] for each in family.rungs.values())
    tuner = kt.Hyperband(
        Small(),
        objective="val_accuracy",
        max_epochs=longest,
        hyperband_iterations=1000,
        seed=given.seed,
        directory=given.folder / "tuner",
        project_name="study",
    )
    taught, choosing = held_out(labels, round(_CHOICE * len(labels)), given.seed)
    stop_early = keras.callbacks.EarlyStopping(monitor="val_loss", patience=_PATIENCE)
    with suppress(_OverError):
        tuner.search(
            images[taught],
            labels[taught],
            validation_data=(images[choosing], labels[choosing]),
            callbacks=[stop_early, Watch()],
            verbose=0,
        )
    (model,) = tuner.get_best_models(1)
    file = given.folder / "model.keras"
    model.save(file, include_optimizer=False)
    return Model(lambda test: model.predict(test, verbose=0).argmax(axis=1), file, found[1])


def drawn(hp: Any, name: str, parameter: Parameter) -> Any:
    """Let KerasTuner draw the value of an option."""
    if parameter.choices:
        labels = [label(each) for each in parameter.choices]
        return parameter.choices[labels.index(hp.Choice(name, labels))]
    if parameter.is_whole:
        return hp.Int(name, int(parameter.low), int(parameter.high), step=int(parameter.step or 1))
    sampling = "log" if parameter.log else "linear"
    return hp.Float(name, parameter.low, parameter.high, step=parameter.step, sampling=sampling)


def network(options: dict[str, Any], shape: tuple[int, ...], n_classes: int) -> Any:
    """Make the network that :class:`slicing.baselines.TrainedCNN` trains, from pixels to 255."""
    keras = load_keras()
    of = {name.partition(".")[2]: value for name, value in options.items()}
    layers = keras.layers
    height, width, channels = shape
    model = keras.Sequential([keras.Input(shape), layers.Rescaling(1 / 255)])
    part = conv_part(
        (height, width, channels), of["filters"], 3, of["pooling"],
        keras.initializers.GlorotUniform, of["batch_norm"],
    )  # fmt: skip
    for layer in part.layers:
        model.add(layer)
    model.add(layers.Dropout(of["dropout"] / 2))
    model.add(layers.Flatten())
    model.add(layers.Dense(of["units"], "relu"))
    model.add(layers.Dropout(of["dropout"]))
    model.add(layers.Dense(n_classes, "softmax"))
    model.compile(
        keras.optimizers.Adam(of["learning_rate"]),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def autokeras(images: Pixels, labels: Labels, given: Given) -> Model:
    """Let AutoKeras try a network as its tutorial does; it knows no budget of time."""
    configure_threads(None)
    import autokeras as ak

    best = [np.inf, 0.0]

    class Watch(load_keras().callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if logs.get("val_loss", np.inf) < best[0]:
                best[:] = logs["val_loss"], time.time()

    classifier = ak.ImageClassifier(
        overwrite=True, max_trials=1, seed=given.seed, directory=given.folder / "autokeras"
    )
    classifier.fit(images, labels, callbacks=[Watch()], verbose=0)
    file = given.folder / "model.keras"
    classifier.export_model().save(file, include_optimizer=False)
    return Model(lambda test: classifier.predict(test, verbose=0).ravel(), file, best[1])


SYSTEMS: dict[str, Callable[[Pixels, Labels, Given], Model]] = {
    "sklearn": scikit_learn,
    "kerastuner": keras_tuner,
    "flaml": flaml,
    "autokeras": autokeras,
}
"""All of them, by the names of the command line."""

PACKAGES = {
    "sklearn": ("scikit-learn",),
    "kerastuner": ("keras-tuner", "keras", "tensorflow"),
    "flaml": ("flaml", "lightgbm", "xgboost"),
    "autokeras": ("autokeras", "keras-tuner", "keras", "tensorflow"),
}
"""Those whose versions matter; the first is the system itself."""

AUTOKERAS = (
    "it needs Keras below 3.13, so an environment of its own, with this project and the packages "
    "autokeras, keras<3.13 and tensorboard"
)
"""How AutoKeras 3.0.0 is installed."""


def main(words: list[str]) -> None:
    """Train one system, and let it answer the test images."""
    system, folder, deadline, seed = words
    given = Given(Path(folder), float(deadline), int(seed))
    images, labels = np.load(given.folder / TRAIN), np.load(given.folder / LABELS)
    model = SYSTEMS[system](images, labels, given)
    result = {"ended": time.time(), "found": model.found, "bytes": model.file.stat().st_size}
    answers = model.predict(np.load(given.folder / TEST))
    np.save(given.folder / ANSWERS, np.asarray(answers).astype(np.int64))
    (given.folder / RESULT).write_text(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
