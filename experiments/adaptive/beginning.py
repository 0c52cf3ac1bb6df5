"""What a system takes until its first answer, in a process of its own that reads its file."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple


class Beginning(NamedTuple):
    """What it takes.

    Attributes
    ----------
    seconds : float
        From the first import to the first answer, with the compiled code at hand.
    peak_bytes : int or None
        The most memory that the process has held, the members included; None where the system does
        not say.
    """

    seconds: float
    peak_bytes: int | None


def beginning(system: Path) -> Beginning | None:
    """Measure it for the file of a system; None where the process did not come to its end."""
    command = [sys.executable, "-m", "experiments.adaptive.beginning", str(system)]
    found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return None if found.returncode else Beginning(*json.loads(found.stdout.splitlines()[-1]))


def _measured(path: str) -> Beginning:
    begun = time.perf_counter()
    import numpy as np

    from slicing.adaptive import System

    system = System.load(path)
    black = np.zeros((1, *system.input_shape), np.float32)
    system.predict_labels(black)
    seconds = time.perf_counter() - begun
    # The largest may not have been asked: it counts, too.
    system.engines[-1].predict_labels(black)
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    peaks = [1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return Beginning(seconds, peaks[0] if peaks else None)


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1])))
