"""Start TensorFlow quietly, and with a known number of threads. Nothing else starts it."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from slicing.checks import at_least
from slicing.errors import InputError
from slicing.threads import usable_processors

log = logging.getLogger(__name__)


def load_keras() -> Any:
    """Import Keras on TensorFlow without TensorFlow's start-up messages.

    Set ``TF_CPP_MIN_LOG_LEVEL=0`` to see them. Import Keras only through this function, and inside
    the function that needs it: it takes seconds, and TensorFlow does not survive a fork.

    What the user has set for all of Keras, in ``keras.json``, in variables or by calls, is set back
    to Keras' own defaults: the type of numbers, the order of axes, the smallest divisor, and limits
    on epochs and steps. Networks here do not depend on it.

    Returns
    -------
    module
        ``keras``.

    Raises
    ------
    InputError
        Where Keras is set to another backend than TensorFlow, or cannot read its settings.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        raise InputError(
            f"Keras is set to the backend {os.environ['KERAS_BACKEND']!r}, and the baselines need "
            "TensorFlow: set KERAS_BACKEND=tensorflow."
        )
    keras = _import_keras()
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_epsilon(1e-7)
    # Newer versions of Keras alone have limits.
    for limit in ("set_max_epochs", "set_max_steps_per_epoch"):
        if hasattr(keras.config, limit):
            getattr(keras.config, limit)(None)
    return keras


def _import_keras() -> Any:
    quiet = "tensorflow" not in sys.modules and os.environ["TF_CPP_MIN_LOG_LEVEL"] != "0"
    try:
        with withheld_stderr() if quiet else nullcontext():
            import keras
    except (AttributeError, OSError, TypeError, ValueError) as error:
        if "tensorflow" in sys.modules:
            raise
        # It reads keras.json before it imports TensorFlow.
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"Keras cannot start with your settings ({reason}): mend its keras.json, or set "
            "KERAS_HOME to an empty folder and no other variable KERAS_*."
        ) from error
    if quiet:
        # Its hints on speed, as at the third training in one process.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
    return keras


def configure_threads(threads: int | None = None) -> int:
    """Set how many threads TensorFlow computes with; trained weights depend on it.

    TensorFlow takes the number only before its first computation in a process. Later calls change
    nothing, and log a warning where they ask for another number.

    Parameters
    ----------
    threads : int or None, default=None
        Threads within one operation, and operations at a time; None leaves TensorFlow as it is.

    Returns
    -------
    int
        The number of threads within one operation that is in force.

    Raises
    ------
    InputError
        Where ``threads`` is below 1.
    """
    at_least("threads", threads, 1)
    load_keras()
    import tensorflow as tf

    if threads is not None:
        # RuntimeError: TensorFlow is already running.
        with suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    in_force = int(tf.config.threading.get_intra_op_parallelism_threads()) or usable_processors()
    if threads not in (None, in_force):
        log.warning(
            "TensorFlow already runs with %d threads in this process, and cannot change to %d: "
            "set the number before anything is computed.",
            in_force,
            threads,
        )
    return in_force


@contextmanager
def withheld_stderr() -> Iterator[None]:
    """Withhold the process's standard error; show it only on failure.

    TensorFlow's libraries log while they are loaded, before any log level takes effect, and when
    they convert.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as withheld:
        saved = os.dup(2)
        os.dup2(withheld.fileno(), 2)
        try:
            yield
        except InputError:  # which says it all
            raise
        except Exception:  # not Ctrl-C, of which it would show the traces
            os.dup2(saved, 2)
            withheld.seek(0)
            os.write(2, withheld.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
