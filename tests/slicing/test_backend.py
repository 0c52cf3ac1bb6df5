import os
import subprocess
import sys


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
