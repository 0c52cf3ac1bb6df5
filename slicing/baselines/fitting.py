"""The training of a pretrained network's last layers, on maps: step by step, and resumable."""

import logging
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slicing import tensor_file
from slicing.backend import load_keras
from slicing.baselines.base import Epoch
from slicing.baselines.rates import Policy, RangeTest
from slicing.baselines.training import check_dropout
from slicing.baselines.weight_cache import Trained, Weights
from slicing.checks import at_least, between, check_seed, one_of, positive
from slicing.errors import InputError
from slicing.files import make_folder
from slicing.show import Show, silent

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)

OPTIMIZERS = ("adam", "adamw", "sgd")

_KIND = "knn-slicing training 1"
# Maps of the choice images that are computed at a time.
_CHUNK = 64
# Streams of random numbers, for one seed.
_ORDER, _DROPOUT, _TEST = range(3)

GiveMaps = Callable[[NDArray[np.intp], int], NDArray[np.float32]]
"""Gives the maps of some images, of shape (n, height, width, channels), in an epoch from 0."""


@dataclass(frozen=True)
class Plan:
    """How a network is trained.

    Attributes
    ----------
    policy : Policy
    learning_rate : float or None
        The largest rate; None: what the range test proposes.
    optimizer : {"adam", "adamw", "sgd"}
    momentum : float
        Of ``sgd``.
    weight_decay : float
        Of ``adamw``, a step, times the rate.
    batch_size : int
    dropout : float
        Before the dense layer.
    patience : int or None
        Epochs without a smaller loss on the choice images after which the training ends; None:
        it does not end early.
    seed : int

    Raises
    ------
    InputError
        For what is unknown or out of range.
    """

    policy: Policy
    learning_rate: float | None
    optimizer: str
    momentum: float
    weight_decay: float
    batch_size: int
    dropout: float
    patience: int | None
    seed: int

    def __post_init__(self) -> None:
        positive("learning_rate", self.learning_rate)
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        between("momentum", self.momentum, 0, 1)
        at_least("weight_decay", self.weight_decay, 0)
        at_least("batch_size", self.batch_size, 1)
        check_dropout(self.dropout)
        at_least("patience", self.patience, 1)
        check_seed(self.seed)

    def made(self) -> Any:
        """Make the Keras optimizer."""
        kinds = load_keras().optimizers
        match self.optimizer:
            case "sgd":
                return kinds.SGD(1.0, momentum=self.momentum)
            case "adamw":
                return kinds.AdamW(1.0, weight_decay=self.weight_decay)
        return kinds.Adam(1.0)

    def is_over(self, losses: list[float], epochs: int) -> bool:
        """Say whether a training of so many epochs is, with these losses on the choice images."""
        waited = len(losses) - 1 - int(np.argmin(losses)) if losses else 0
        if self.patience is not None and waited >= self.patience:
            return True
        return epochs >= self.policy.epochs


@dataclass
class _State:
    """What a training knows after an epoch.

    Attributes
    ----------
    rate : float
        The largest learning rate.
    weights, best, slots : list of ndarray
        The weights now, and after the best epoch; what the optimizer keeps.
    epochs : list of Epoch
    losses : list of float
        On the choice images, after each epoch.
    seconds : float
    """

    rate: float
    weights: Weights
    best: Weights
    slots: Weights
    epochs: list[Epoch] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


class Trainee:
    """A network's last layers and its dense layer, from maps to a score for each class.

    The layers before the dense one are called as they are at inference: batch normalization keeps
    its statistics, and learns its factors and offsets.

    Parameters
    ----------
    tail : keras.Model
        From maps to maps.
    head : keras.layers.Conv2D
        1 x 1, from averaged maps to scores; it is built.
    plan : Plan
    """

    def __init__(self, tail: "keras.Model", head: Any, plan: Plan) -> None:
        self.plan = plan
        self.weights = [*tail.weights, *head.weights]
        self.optimizer = plan.made()
        self._tail, self._head = tail, head
        self._trained = [*tail.trainable_variables, *head.trainable_variables]
        self.optimizer.build(self._trained)
        self._step, self._scores = self._functions()

    def _functions(self) -> tuple[Any, Any]:
        import tensorflow as tf

        maps = tf.TensorSpec((None, *self._tail.input_shape[1:]), tf.float32)
        labels, key = tf.TensorSpec((None,), tf.int64), tf.TensorSpec((2,), tf.int64)
        rate = self.plan.dropout

        def averaged(maps: Any) -> Any:
            return tf.reduce_mean(self._tail(maps, training=False), (1, 2), keepdims=True)

        @tf.function(input_signature=[maps, labels, key], autograph=False)
        def step(maps: Any, labels: Any, key: Any) -> Any:
            with tf.GradientTape() as tape:
                features = averaged(maps)
                if rate:
                    features = tf.nn.experimental.stateless_dropout(features, rate, key)
                scores = self._head(features)[:, 0, 0]
                each = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores)
                loss = tf.reduce_mean(each)
            gradients = tape.gradient(loss, self._trained)
            self.optimizer.apply(gradients, self._trained)
            right = tf.equal(tf.argmax(scores, 1), labels)
            return loss, tf.reduce_sum(tf.cast(right, tf.int64))

        @tf.function(input_signature=[maps], autograph=False)
        def scores(maps: Any) -> Any:
            return self._head(averaged(maps))[:, 0, 0]

        return step, scores

    def step(
        self, maps: NDArray[np.float32], labels: NDArray[np.int64], rate: float, key: list[int]
    ) -> tuple[float, int]:
        """Take a step; give the loss before it, and how many images were right."""
        self.optimizer.learning_rate.assign(rate)
        loss, right = self._step(maps, labels, np.array(key, np.int64))
        return float(loss), int(right)

    def judged(self, maps: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[float, float]:
        """Give the mean cross-entropy and the accuracy, without dropout."""
        chunks = [
            self._scores(maps[start : start + _CHUNK]).numpy()
            for start in range(0, len(maps), _CHUNK)
        ]
        scores = np.concatenate(chunks).astype(float)
        scores -= scores.max(axis=1, keepdims=True)
        shares = scores[np.arange(len(labels)), labels] - np.log(np.exp(scores).sum(axis=1))
        return float(-shares.mean()), float((scores.argmax(axis=1) == labels).mean())

    def values(self) -> tuple[Weights, Weights]:
        """Give the weights, and what the optimizer keeps."""
        slots = [each.numpy() for each in self.optimizer.variables]
        return [each.numpy() for each in self.weights], slots

    def set_values(self, weights: Weights, slots: Weights) -> None:
        """Put both back."""
        variables = [*self.weights, *self.optimizer.variables]
        for variable, value in zip(variables, [*weights, *slots], strict=True):
            variable.assign(value.reshape(variable.shape))


def fit(
    trainee: Trainee,
    maps: GiveMaps,
    labels: NDArray[np.int64],
    choice: tuple[NDArray[np.float32], NDArray[np.int64]] | None,
    path: Path,
    show: Show = silent,
) -> Trained:
    """Train a network, or go on where a training was killed.

    Parameters
    ----------
    trainee : Trainee
    maps : callable
    labels : ndarray of shape (n,), int64
    choice : (ndarray of shape (m, height, width, channels), ndarray of shape (m,)) or None
        Maps and labels of images that are not trained with: the weights with the smallest loss on
        them are kept. None: the last weights are.
    path : Path
        Where the state of the training is kept after each epoch. It stays there at the end.
    show : callable, optional

    Returns
    -------
    Trained

    Raises
    ------
    InputError
        Where the training diverges.
    """
    plan = trainee.plan
    state = _read(path, trainee)
    if state is None:
        start = time.perf_counter()
        rate = plan.learning_rate or _tested(trainee, maps, labels, show)
        weights, slots = trainee.values()
        state = _State(rate, weights, weights, slots, seconds=time.perf_counter() - start)
    else:
        log.info("Training goes on after epoch %d.", len(state.epochs))
        trainee.set_values(state.weights, state.slots)
    while not plan.is_over(state.losses, len(state.epochs)):
        start = time.perf_counter()
        state.epochs.append(_epoch(trainee, maps, labels, choice, state, show))
        state.weights, state.slots = trainee.values()
        if choice is not None:
            judged = trainee.judged(*choice)
            state.losses.append(judged[0])
            last = state.epochs[-1]
            state.epochs[-1] = Epoch(last.loss, last.accuracy, *judged)
        for loss in (state.epochs[-1].loss, *state.losses[-1:]):
            if not np.isfinite(loss):
                raise InputError(
                    f"learning_rate={state.rate:g} is too large, the training diverged: choose a "
                    "smaller one.",
                    "learning_rate",
                )
        if choice is None or state.losses[-1] == min(state.losses):
            state.best = state.weights
        state.seconds += time.perf_counter() - start
        _write(path, state)
    return Trained(state.best, state.seconds, tuple(state.epochs))


def _epoch(
    trainee: Trainee,
    maps: GiveMaps,
    labels: NDArray[np.int64],
    choice: tuple[NDArray[np.float32], NDArray[np.int64]] | None,
    state: _State,
    show: Show,
) -> Epoch:
    plan, epoch = trainee.plan, len(state.epochs)
    losses = state.losses or [each.loss for each in state.epochs]
    order = np.random.default_rng([plan.seed, _ORDER, epoch]).permutation(len(labels))
    steps = -(-len(labels) // plan.batch_size)
    total, right, seen = 0.0, 0, 0
    for number in range(steps):
        rows = order[number * plan.batch_size : (number + 1) * plan.batch_size]
        # In the middle of the step: neither the first rate of a warm-up nor the last is 0.
        factor = plan.policy.factor(epoch + (number + 0.5) / steps, losses)
        key = [plan.seed, (epoch * steps + number) * 3 + _DROPOUT]
        loss, n_right = trainee.step(maps(rows, epoch), labels[rows], state.rate * factor, key)
        total, right, seen = total + loss * len(rows), right + n_right, seen + len(rows)
        done = (epoch + (number + 1) / steps) / plan.policy.epochs
        text = f"epoch {epoch + 1} of {plan.policy.epochs}, loss {total / seen:.4f}"
        chosen = f", {state.losses[-1]:.4f} on choice images" if state.losses else ""
        show(done, f"{text}{chosen}, accuracy {right / seen:.1%}")
    return Epoch(total / seen, right / seen)


def _tested(trainee: Trainee, maps: GiveMaps, labels: NDArray[np.int64], show: Show) -> float:
    """Find a learning rate, and put all weights back."""
    plan, test = trainee.plan, RangeTest()
    before = trainee.values()
    rng = np.random.default_rng([plan.seed, _TEST])
    rows = np.empty(0, np.intp)
    for number, rate in enumerate(test.rates):
        while len(rows) < min(plan.batch_size, len(labels)):
            rows = np.concatenate([rows, rng.permutation(len(labels))])
        chosen, rows = rows[: plan.batch_size], rows[plan.batch_size :]
        show(0.0, f"trying the learning rate {rate:.1e}")
        key = [plan.seed, number * 3 + _TEST]
        loss, _ = trainee.step(maps(chosen, 0), labels[chosen], rate, key)
        if not test.add(loss):
            break
    trainee.set_values(*before)
    log.info("The range test proposes the learning rate %.2g.", test.proposed)
    return test.proposed


def _write(path: Path, state: _State) -> None:
    """Keep a state; where that is impossible, log a warning and go on."""
    settings = {
        "rate": state.rate,
        "epochs": [astuple(each) for each in state.epochs],
        "losses": state.losses,
        "seconds": state.seconds,
    }
    arrays = {
        f"{name} {number}": np.asarray(array)
        for name in ("weights", "best", "slots")
        for number, array in enumerate(getattr(state, name))
    }
    try:
        make_folder(path.parent)
        tensor_file.write(path, tensor_file.pack(_KIND, settings, arrays))
    except OSError as error:
        log.warning(
            "The state of the training cannot be kept (%s): one that is killed starts over.", error
        )


def _read(path: Path, trainee: Trainee) -> _State | None:
    """Read a state; None where there is none, or, with a warning in the log, no readable one."""
    if not path.exists():
        return None
    n_weights, n_slots = len(trainee.weights), len(trainee.optimizer.variables)
    try:
        settings, arrays = tensor_file.read(path, _KIND)
        weights, best, slots = (
            [arrays[f"{name} {number}"] for number in range(count)]
            for name, count in (("weights", n_weights), ("best", n_weights), ("slots", n_slots))
        )
        return _State(
            float(settings["rate"]),
            weights,
            best,
            slots,
            [Epoch(*each) for each in settings["epochs"]],
            [float(loss) for loss in settings["losses"]],
            float(settings["seconds"]),
        )
    except (InputError, LookupError, TypeError, ValueError) as error:
        log.warning("A training that was killed starts over: %s", error)
        return None
