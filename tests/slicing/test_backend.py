import json
import os
import subprocess
import sys

import pytest


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_what_failed_on_import_is_shown():
    code = (
        "import sys, os\n"
        "class Broken:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'keras':\n"
        "            os.write(2, b'said by a library'); raise ImportError('broken keras')\n"
        "sys.meta_path.insert(0, Broken())\n"
        "from slicing.backend import load_keras\n"
        "load_keras()\n"
    )
    done = run_python(code)
    assert done.returncode == 1
    assert done.stderr.startswith("said by a library")
    assert "broken keras" in done.stderr


def test_another_keras_backend_is_refused():
    code = "from slicing.backend import load_keras; load_keras()"
    done = run_python(code, KERAS_BACKEND="jax")
    assert "set KERAS_BACKEND=tensorflow" in done.stderr


THREADS = """
import logging
logging.basicConfig()
from slicing.backend import configure_threads, load_keras
print(configure_threads(3))
load_keras().ops.zeros(1)
import tensorflow as tf
print(tf.config.threading.get_inter_op_parallelism_threads())
print(configure_threads(), configure_threads(3), configure_threads(1))
"""
TRAIN = """
import hashlib, sys
import numpy as np
from slicing.backend import load_keras
from slicing.baselines import SavedCNN, TrainedCNN
from slicing.data.dataset import Images
images = np.random.default_rng(0).random((40, 8, 8, 1), dtype=np.float32)
labels = (images.mean(axis=(1, 2, 3)) > 0.5).astype(np.int64)
options = {"filters": (4,), "pooling": (True,), "units": 4, "batch_norm": True, "threads": 3}
builder = TrainedCNN(**options, epochs=2, batch_size=16, cache_dir=sys.argv[1])
baseline = builder.build(Images(images, labels), ("a", "b"))
assert not baseline.from_cache
weights = b"".join(weight.tobytes() for weight in baseline.model.get_weights())
print(hashlib.sha256(weights).hexdigest(), baseline.model.dtype, baseline.stack.feature_shape)
"""
HOSTILE = {
    "image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1, "backend": "jax",
}  # fmt: skip


def home_of(folder, settings):
    """A folder of Keras' settings."""
    folder.mkdir()
    (folder / "keras.json").write_text(json.dumps(settings))
    return folder


def trained(code, folder, **variables):
    done = run_python(f"import sys; sys.argv[1:] = [{str(folder)!r}]\n{code}", **variables)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A process that sets its threads and trains, where the user has set nothing for Keras."""
    folder = tmp_path_factory.mktemp("plain")
    home = home_of(folder / "home", {})
    return trained(THREADS + TRAIN, folder / "cache", KERAS_HOME=str(home))


def test_threads_are_set_before_tensorflow_starts_and_it_starts_quietly(plain):
    assert plain.stdout.split()[:5] == ["3", "3", "3", "3", "3"]
    assert plain.stderr == (
        "WARNING:slicing.backend:TensorFlow already runs with 3 threads in this process, and "
        "cannot change to 1: set the number before anything is computed.\n"
    )


@pytest.mark.parametrize("is_hostile", [True, False])
def test_settings_for_all_of_keras_change_nothing(is_hostile, plain, tmp_path):
    home = home_of(tmp_path / "home", HOSTILE)
    limits = {"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1"}
    # A folder that cannot be made, as in a home that is read-only.
    unwritable = {"KERAS_HOME": str(home / "keras.json" / "home")}
    variables = {"KERAS_HOME": str(home), **limits} if is_hostile else unwritable
    [line] = trained(TRAIN, tmp_path / "cache", **variables).stdout.splitlines()
    assert line == plain.stdout.splitlines()[-1]
    assert line.split()[1:] == ["float32", "(3,", "3,", "4)"]
    assert json.loads((home / "keras.json").read_text()) == HOSTILE


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ('{"floatx": "bfloat16"}', {}),
        ("[]", {}),
        (None, {}),
        ("{}", {"KERAS_MAX_EPOCHS": "many"}),
    ],
)
def test_settings_that_keras_cannot_read_are_one_clear_error(settings, variables, tmp_path):
    file = tmp_path / "keras.json"
    if settings is None:
        file.mkdir()
    else:
        file.write_text(settings)
    code = (
        "from slicing.backend import load_keras\n"
        "from slicing.errors import InputError\n"
        "try: load_keras()\n"
        "except InputError as error: print(error)\n"
    )
    done = run_python(code, KERAS_HOME=str(tmp_path), **variables)
    assert done.returncode == 0, done.stderr
    [sentence] = done.stdout.splitlines()
    assert sentence.startswith("Keras cannot start with your settings (")
    assert "KERAS_HOME" in sentence
    assert done.stderr == ""
