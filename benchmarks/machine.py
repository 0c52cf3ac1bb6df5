"""The machine that a benchmark runs on: its name, its speed at products, its memory."""

import platform
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from experiments.environment import cores, versions

T = TypeVar("T")

LIBRARIES = (
    "knn-slicing", "numpy", "numba", "tensorflow", "keras", "scikit-learn", "jax", "faiss-cpu",
)  # fmt: skip
"""Those that the results of a benchmark depend on."""

# Rows, inner length (that of LeNet's features) and columns of the product.
_PRODUCT = (4096, 1600, 4096)
# The threads of BLAS and OpenMP spin for a while after a call and would slow what follows.
_REST = 0.3


def rest() -> None:
    """Wait until the threads of what ran before sleep."""
    time.sleep(_REST)


def timed(function: Callable[..., T], *arguments: Any) -> tuple[T, float]:
    """Call a function; return what it returns, and the seconds it took."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


class Sgemm:
    """NumPy's rate at float32 matrix products."""

    def __init__(self) -> None:
        rows, inner, columns = _PRODUCT
        rng = np.random.default_rng(0)
        self._left = rng.random((rows, inner), dtype=np.float32)
        self._right = rng.random((inner, columns), dtype=np.float32)
        self._out = np.empty((rows, columns), np.float32)
        self._seconds: list[float] = []

    @property
    def gflops(self) -> float:
        """Median over the products, in 10^9 operations a second."""
        return 2e-9 * float(np.prod(_PRODUCT)) / float(np.median(self._seconds))

    def measure(self) -> None:
        """Multiply once to warm up and twice for the record."""
        for recorded in (False, True, True):
            _, seconds = timed(np.matmul, self._left, self._right, self._out)
            if recorded:
                self._seconds.append(seconds)


def peak_memory() -> int:
    """Return the most memory that this process has held, in bytes."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    if found:
        return 1024 * int(found[1])
    import resource  # which only Unix has

    # Not the first choice: Linux lets a process inherit it from the one that started it.
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def describe() -> dict[str, str | int | list[str]]:
    """Name the processor, the cores that this process may use, and the vector extensions."""
    path = Path("/proc/cpuinfo")
    cpuinfo = path.read_text() if path.exists() else ""
    model = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    known = {"avx2": "avx2", "avx512f": "avx512", "asimd": "neon"}
    words = set(cpuinfo.split())
    return {
        "cpu": model[1] if model else platform.processor() or platform.machine(),
        "cores": cores(),
        "vector_extensions": [name for flag, name in known.items() if flag in words],
        "system": f"{platform.system()} {platform.machine()}",
    }


def origin(command: str) -> dict[str, Any]:
    """Return what results in a file begin with: the command, the machine and the versions."""
    return {"command": command, "machine": describe(), "versions": versions(LIBRARIES)}


def command_line(module: str, words: Sequence[str] | None = None) -> str:
    """Write the command line of a benchmark; the words are by default those of this process."""
    return shlex.join(["python", "-m", module, *(sys.argv[1:] if words is None else words)])
