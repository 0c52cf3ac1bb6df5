"""What the results of a run depend on besides its options: versions, the machine, threads."""

import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numba
from threadpoolctl import threadpool_info, threadpool_limits

from slicing.checks import between
from slicing.machine import LINEAR_ALGEBRA, TENSORFLOW, processor, switches
from slicing.machine import versions as installed

LIBRARIES = (
    *("knn-slicing", "numpy", "scipy", "numba", "tensorflow", "keras"),
    *("cma", "deap", "pyswarms", "onnx", "onnxruntime", "pillow", "scikit-learn"),
)
"""Those that the results of a run depend on."""


def versions(libraries: Sequence[str] = LIBRARIES) -> dict[str, str]:
    """Return the versions of Python and of the libraries, of those that are installed."""
    return {"python": platform.python_version(), **installed(libraries)}


def machine() -> dict[str, str]:
    """Return the processor, the linear algebra, and the variables that change what they compute."""
    libraries = sorted(
        {
            " ".join(str(each.get(key, "")) for key in ("internal_api", "version", "architecture"))
            for each in threadpool_info()
            if each["user_api"] == "blas"
        }
    )
    variables = switches((*TENSORFLOW, *LINEAR_ALGEBRA))
    return {"processor": processor(), "blas": ", ".join(libraries), **variables}


def commit() -> str | None:
    """Return the commit of this checkout, with ``-dirty`` where files differ; else None."""
    root = Path(__file__).resolve().parent
    words = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):  # no git, or not a checkout
        return None
    return found.stdout.strip()


def cores() -> int:
    """Return the number of cores that this process may use."""
    return int(numba.config.NUMBA_NUM_THREADS)


def set_threads(threads: int | None) -> int:
    """Set the number of threads of numba and BLAS; the baseline sets that of TensorFlow.

    Parameters
    ----------
    threads : int or None
        None is one a core.

    Returns
    -------
    int

    Raises
    ------
    InputError
        Where the machine has fewer cores.
    """
    threads = cores() if threads is None else threads
    between("threads", threads, 1, cores())
    numba.set_num_threads(threads)
    threadpool_limits(limits=threads, user_api="blas")
    return threads
