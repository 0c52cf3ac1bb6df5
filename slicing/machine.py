"""What the last bits of results depend on besides options and data: versions and the machine."""

import os
import platform
import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

TENSORFLOW = (
    *("ONEDNN_", "DNNL_", "TF_ONEDNN_", "TF_SET_ONEDNN_", "XLA_", "TF_XLA_", "TF_MLIR_"),
    *("TF_ENABLE_", "TF_DISABLE_", "TF_DETERMINISTIC_", "TF_NUM_", "TF_USE_", "TF_AUTO_MIXED_"),
    *("TF_CUDNN_", "TF_CUBLAS_", "TF_FP16_", "TF_CONV_", "NVIDIA_TF32_", "CUBLAS_", "CUDNN_"),
)
"""How the variables begin that change what TensorFlow computes.

Not all of ``TF_``: Terraform keeps secrets in such variables.
"""

LINEAR_ALGEBRA = (
    *("OPENBLAS_", "GOTO_", "MKL_", "BLIS_", "VECLIB_", "OMP_", "KMP_DET", "NPY_"),
    *("NUMBA_CPU_", "NUMBA_ENABLE_AVX", "NUMBA_NUM_", "NUMBA_OPT", "NUMBA_THREADING_"),
)
"""How the variables begin that change what numpy, scipy and numba compute."""


def switches(beginnings: Sequence[str]) -> dict[str, str]:
    """Return the environment variables whose names begin so, in the order of their names."""
    variables = sorted(os.environ.items())
    return {name: value for name, value in variables if name.startswith(tuple(beginnings))}


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages, of those that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Name the kind of processor: its model, and the vector instructions that it has.

    TensorFlow, numba and BLAS choose their code by both.
    """
    instructions = np.show_config(mode="dicts")["SIMD Extensions"]
    names = [*instructions.get("baseline", ()), *instructions.get("found", ())]
    return f"{_model()} ({' '.join(names)})"


def _model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", errors="replace")
    except OSError:  # not Linux
        text = ""
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.+)$", text, re.MULTILINE))
    # Of x86, then of ARM. Virtual machines have names that say little.
    wanted = ("model name", "cpu family", "model", "CPU implementer", "CPU part")
    found = [f"{name}: {fields[name]}" for name in wanted if name in fields]
    return ", ".join(found) or platform.processor() or platform.machine()
