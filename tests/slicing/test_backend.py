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


def test_threads_are_set_before_tensorflow_starts_and_it_starts_quietly():
    done = run_python(
        "import logging; logging.basicConfig()\n"
        "from slicing.backend import configure_threads, load_keras\n"
        "print(configure_threads(3))\n"
        "load_keras().ops.zeros(1)\n"
        "import tensorflow as tf\n"
        "print(tf.config.threading.get_inter_op_parallelism_threads())\n"
        "print(configure_threads(), configure_threads(3), configure_threads(1))\n",
    )
    assert done.stdout.split() == ["3", "3", "3", "3", "3"]
    assert done.stderr == (
        "WARNING:slicing.backend:TensorFlow already runs with 3 threads in this process, and "
        "cannot change to 1: set the number before anything is computed.\n"
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


TRAIN = """
import hashlib, sys
import numpy as np
from slicing.backend import load_keras
from slicing.baselines import SavedCNN, TrainedCNN
from slicing.data.dataset import Images
images = np.random.default_rng(0).random((40, 8, 8, 1), dtype=np.float32)
labels = (images.mean(axis=(1, 2, 3)) > 0.5).astype(np.int64)
options = {"filters": (4,), "pooling": (True,), "units": 4, "batch_norm": True, "threads": 1}
builder = TrainedCNN(**options, epochs=2, batch_size=16, cache_dir=sys.argv[1])
baseline = builder.build(Images(images, labels), ("a", "b"))
assert not baseline.from_cache
weights = b"".join(weight.tobytes() for weight in baseline.model.get_weights())
print(hashlib.sha256(weights).hexdigest(), baseline.model.dtype, baseline.stack.feature_shape)
"""
HOSTILE = {
    "image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1, "backend": "jax",
}  # fmt: skip


def test_settings_for_all_of_keras_change_nothing(tmp_path):
    homes = tmp_path / "plain", tmp_path / "hostile"
    for home, settings in zip(homes, ({}, HOSTILE), strict=True):
        home.mkdir()
        (home / "keras.json").write_text(json.dumps(settings))
    limits = {"KERAS_MAX_EPOCHS": "1", "KERAS_MAX_STEPS_PER_EPOCH": "1"}
    # A folder that cannot be made, as in a home that is read-only.
    unwritable = {"KERAS_HOME": str(tmp_path / "plain" / "keras.json" / "home")}
    trained = []
    for number, variables in enumerate(
        ({"KERAS_HOME": str(homes[0])}, {"KERAS_HOME": str(homes[1]), **limits}, unwritable)
    ):
        code = f"import sys; sys.argv[1:] = [{str(tmp_path / str(number))!r}]\n{TRAIN}"
        done = run_python(code, **variables)
        assert done.returncode == 0, done.stderr
        trained.append(done.stdout)
    assert trained[0].split()[1:] == ["float32", "(3,", "3,", "4)"]
    assert trained == trained[:1] * 3
    assert json.loads((homes[1] / "keras.json").read_text()) == HOSTILE


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
