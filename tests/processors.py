"""Run the numeric tests as other processors would: ``python -m tests.processors [pytest's words]``.

OpenBLAS, which does NumPy's and SciPy's linear algebra, has a kernel for each kind of processor,
and each rounds in its own way. Here the tests meet two that are not this processor's own, one with
two threads and one with one thread. What the processor cannot execute is left out, and named.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

# What goes through a BLAS, a LAPACK or parallel loops; not TensorFlow, other runtimes, processes.
OPTIMIZERS = (
    "tests/evolve/optimizers",
    "--deselect=tests/evolve/optimizers/test_replay.py::test_replayed_in_another_process",
    "--deselect=tests/evolve/optimizers/test_randomness.py::test_logging_of_the_process_stays_as_it_was",
)
LOOPS = (
    "tests/evolve/fitness",
    "tests/evolve/test_prototypes.py",
    "tests/evolve/test_schedule.py",
    "tests/slicing/engine",
    "tests/slicing/neighbors",
    "tests/slicing/test_stack.py",
    "--ignore=tests/slicing/engine/test_backbone_engine.py",
    "--ignore=tests/slicing/engine/test_export.py",
    "--deselect=tests/slicing/engine/test_engine.py::test_a_large_file_of_another_kind_is_not_read",
    "--deselect=tests/slicing/engine/test_engine.py::test_an_engine_works_without_tensorflow",
)
# AVX2 (Zen's, too), SSE, AVX-512, AVX, SSE4: those that differ most come first.
KERNELS = ("Haswell", "Prescott", "SkylakeX", "Sandybridge", "Nehalem")
WANTED = 2  # and `make test` runs them with the processor's own

# Some of each level of a BLAS, and of LAPACK, by both libraries.
_TRY = """
import json, numpy, scipy.linalg, threadpoolctl
a = numpy.random.default_rng(0).normal(size=(70, 70))
b = a @ a.T + numpy.eye(70)
for library in (numpy.linalg, scipy.linalg):
    values, vectors = library.eigh(b)
    assert abs(vectors * values @ vectors.T - b).max() < 1e-6
    assert abs(b @ library.solve(b, a[0]) - a[0]).max() < 1e-6
blas = [each for each in threadpoolctl.threadpool_info() if each["internal_api"] == "openblas"]
print(json.dumps(sorted({each["architecture"] for each in blas})))
"""


def architecture(kernel: str | None) -> str | None:
    """What OpenBLAS computes with where it is asked for a kernel, or for its own choice.

    Returns
    -------
    str or None
        None where there is no OpenBLAS, where the libraries disagree, or where the processor cannot
        execute the kernel.
    """
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    if kernel is not None:
        environment["OPENBLAS_CORETYPE"] = kernel
    done = subprocess.run(
        [sys.executable, "-c", _TRY], env=environment, capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout) if done.returncode == 0 else []
    return found[0] if len(found) == 1 else None


def passed(kernel: str | None, threads: int, tests: Sequence[str]) -> bool:
    """Run some tests with a kernel, in one process, and print what it says."""
    if kernel is None:
        return True
    own = {"OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": str(threads)}
    # At least two, for tests that compare one thread with two; one that waits leaves its core to
    # other processes.
    own |= {"NUMBA_NUM_THREADS": "2", "TEST_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--quiet", *tests, *sys.argv[1:]],
        env=os.environ | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(f"\nOPENBLAS_CORETYPE={kernel}, threads: {threads}\n{done.stdout}", flush=True)
    return done.returncode == 0


def main() -> int:
    """Run the tests with two kernels, one after the other; 0 where all passed."""
    with ThreadPoolExecutor(2) as pool:
        own, *others = pool.map(architecture, (None, *KERNELS))
    print(f"This processor's own kernel is {own}.", flush=True)
    seen, chosen = {own}, []
    for kernel, found in zip(KERNELS, others, strict=True):
        if found is None:
            print(f"Left out: {kernel}, which this machine does not execute.", flush=True)
        elif found not in seen:
            seen.add(found)
            chosen.append(kernel)
    chosen = chosen[:WANTED]
    if len(chosen) < WANTED:
        print(f"Left out: all but {len(chosen)} of {WANTED} further kernels.", flush=True)
    [first, second] = (chosen + [None] * WANTED)[:WANTED]
    # The optimizers' linear algebra is theirs, on one thread whatever is allowed: once is enough.
    runs = [(second, 1, LOOPS), (first, 2, LOOPS), (second, 1, OPTIMIZERS)]
    results = [passed(*run) for run in runs]
    return int(not all(results))


if __name__ == "__main__":
    sys.exit(main())
