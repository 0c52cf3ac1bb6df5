"""Run code that may take only so much memory."""

import os
import subprocess
import sys

from experiments.schema.docs import CONF

_LIMIT = """
import resource
resource.setrlimit(resource.RLIMIT_AS, ({bytes}, {bytes}))
"""


def run_limited(code, *arguments, megabytes):
    """Run code in a process of its own; ``sys.argv[1:]`` are the arguments."""
    return subprocess.run(
        [sys.executable, "-c", _LIMIT.format(bytes=megabytes * 2**20) + code, *map(str, arguments)],
        capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(CONF.parent), "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
